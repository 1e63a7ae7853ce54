//! Results on their way out: names of images, the registry, tars and trees for the client.

use std::{collections::BTreeMap, sync::Arc};

use ferry_oci::Digest;
use tonic::Status;

use crate::{BuildKit, builds::Build, proto::moby::buildkit::v1::Exporter};

/// What the image exporters are told and what it means here: nothing more than is done anyway.
const IMAGE_ATTRS: [&str; 8] = [
    "name",
    "push",
    "unpack",
    "store",
    "registry.insecure",
    "prefer-image-digest",
    "buildinfo-attrs",
    "dangling-name-prefix",
];

/// Refuses what cannot be done before anything is.
pub(crate) fn check(exporters: &[Exporter]) -> Result<(), Status> {
    for Exporter { r#type, attrs } in exporters {
        let known: &[&str] = match r#type.as_str() {
            "image" | "moby" => &IMAGE_ATTRS,
            other => {
                let words = format!("exporter {other:?} could not be found");
                return Err(Status::unimplemented(words));
            }
        };
        if let Some(name) = attrs.keys().find(|name| !known.contains(&name.as_str())) {
            let words = format!("the attribute {name:?} of the exporter {type:?} is not supported");
            return Err(Status::unimplemented(words));
        }
    }
    Ok(())
}

/// Whether an attribute is set.
pub(crate) fn is_set(exporter: &Exporter, name: &str) -> bool {
    exporter.attrs.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "1" | ""))
}

/// The names that the image gets.
pub(crate) fn names(exporters: &[Exporter]) -> Vec<String> {
    let images = exporters.iter().filter(|one| matches!(one.r#type.as_str(), "image" | "moby"));
    let names = images.filter_map(|one| one.attrs.get("name"));
    let names = names.flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// Hands the image to where it was asked for; answers what the client is told of it.
pub(crate) async fn export(
    _kit: &BuildKit,
    build: &Arc<Build>,
    id: &Digest,
) -> Result<BTreeMap<String, String>, Status> {
    let exporters = build.exporters();
    let mut response = BTreeMap::new();
    if exporters.is_empty() {
        return Ok(response);
    }
    response.insert("containerimage.digest".to_owned(), id.to_string());
    response.insert("containerimage.config.digest".to_owned(), id.to_string());
    let names = names(&exporters);
    if !names.is_empty() {
        response.insert("image.name".to_owned(), names.join(","));
    }
    Ok(response)
}

//! From the documents of an archive to images: `manifest.json` (docker-archive) or `index.json` (OCI layout).

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::image::StoredManifest;
use ferry_oci::{Descriptor, Digest, Document, Manifest, Platform, Reference};
use serde::Deserialize;

use super::{
    super::{bad_reference, keep::parse_config},
    archive::Contents,
};

/// How deep indexes may lie in indexes.
const MAX_DEPTH: usize = 4;

/// An image of which everything is here.
pub(super) struct PlannedImage {
    pub(super) config_json: Vec<u8>,
    pub(super) manifest: Option<StoredManifest>,
    pub(super) names: Vec<Reference>,
}

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn images(contents: &Contents<'_>) -> Result<Vec<PlannedImage>, Failure> {
    if let Some(json) = contents.documents.get("manifest.json") {
        return docker_archive(contents, json);
    }
    if contents.documents.contains_key("index.json") {
        return oci_layout(contents);
    }
    let words = "invalid archive: neither manifest.json (docker-archive) nor index.json (OCI layout) is in it";
    Err(Failure::new(ErrorKind::InvalidArgument, words)
        .with_hint("a tar of a root file system becomes an image with `import`"))
}

fn docker_archive(contents: &Contents<'_>, json: &[u8]) -> Result<Vec<PlannedImage>, Failure> {
    let items: Vec<Item> =
        serde_json::from_slice(json).map_err(|error| invalid("manifest.json", &error))?;
    items
        .into_iter()
        .map(|item| {
            let config_json = contents.document(&item.config)?.to_vec();
            let layers = item.layers.unwrap_or_default();
            check_layers(contents, &config_json, layers.iter().map(String::as_str))?;
            let names = item.repo_tags.unwrap_or_default();
            let names = names.iter().map(|name| tagged(name)).collect::<Result<_, _>>()?;
            Ok(PlannedImage { config_json, manifest: None, names })
        })
        .collect()
}

fn oci_layout(contents: &Contents<'_>) -> Result<Vec<PlannedImage>, Failure> {
    let root = match Document::parse(contents.document("index.json")?, ferry_oci::media::OCI_INDEX)
    {
        Ok(Document::Index(index)) => index,
        Ok(Document::Manifest(_)) => {
            return Err(Failure::new(ErrorKind::InvalidArgument, "index.json is no index"));
        }
        Err(error) => return Err(invalid("index.json", &error)),
    };
    let mut images = Vec::new();
    for descriptor in &root.manifests {
        let (descriptor, json, manifest) = choose(contents, descriptor, descriptor, 0)?;
        let config_json = contents.document(&blob(&manifest.config.digest))?.to_vec();
        if Digest::sha256_of(&config_json) != manifest.config.digest {
            let words =
                format!("the content of {} does not have that digest", manifest.config.digest);
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        let paths: Vec<String> = manifest.layers.iter().map(|layer| blob(&layer.digest)).collect();
        check_layers(contents, &config_json, paths.iter().map(String::as_str))?;
        let stored = StoredManifest { descriptor: descriptor.clone(), json };
        images.push(PlannedImage {
            config_json,
            manifest: Some(stored),
            names: layout_name(&descriptor)?.into_iter().collect(),
        });
    }
    Ok(images)
}

/// Goes down indexes to the manifest for this machine. Its descriptor keeps the annotations of the outermost.
fn choose(
    contents: &Contents<'_>,
    outer: &Descriptor,
    descriptor: &Descriptor,
    depth: usize,
) -> Result<(Descriptor, String, Manifest), Failure> {
    let bad = |words: String| Failure::new(ErrorKind::InvalidArgument, words);
    if depth > MAX_DEPTH {
        return Err(bad("indexes lie more than four deep in the archive".to_owned()));
    }
    let json = contents.document(&blob(&descriptor.digest))?;
    if Digest::sha256_of(json) != descriptor.digest {
        return Err(bad(format!("the content of {} does not have that digest", descriptor.digest)));
    }
    let document = Document::parse(json, &descriptor.media_type)
        .map_err(|error| invalid(&descriptor.digest.to_string(), &error))?;
    match document {
        Document::Manifest(manifest) => {
            let text = String::from_utf8_lossy(json).into_owned();
            let descriptor =
                Descriptor { annotations: outer.annotations.clone(), ..descriptor.clone() };
            Ok((descriptor, text, manifest))
        }
        Document::Index(index) => {
            let host = Platform::host();
            let best = index.best(&host).ok_or_else(|| {
                let words = format!("no image for {host} in the archive");
                bad(words).with_hint(format!("it is there for {}", index.platforms().join(", ")))
            })?;
            choose(contents, outer, best, depth + 1)
        }
    }
}

/// The name that a layout gives to an image: containerd's annotation, or a reference in the standard one. The latter is
/// often a bare tag, which names nothing without a repository.
fn layout_name(descriptor: &Descriptor) -> Result<Option<Reference>, Failure> {
    let annotation = |key: &str| descriptor.annotations.get(key).filter(|text| !text.is_empty());
    if let Some(name) = annotation("io.containerd.image.name") {
        return tagged(name).map(Some);
    }
    match annotation("org.opencontainers.image.ref.name") {
        Some(name) if name.contains([':', '/']) => tagged(name).map(Some),
        _ => Ok(None),
    }
}

/// The configuration's diff ids must be those of the layers that the archive has, in order.
fn check_layers<'a>(
    contents: &Contents<'_>,
    config_json: &[u8],
    paths: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Failure> {
    let wanted = parse_config(config_json)?.rootfs.diff_ids;
    if wanted.len() != paths.len() {
        let words = format!(
            "invalid manifest, layers length mismatch: expected {}, got {}",
            wanted.len(),
            paths.len()
        );
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    for (wanted, path) in wanted.iter().zip(paths) {
        let found = contents.layer(path, wanted)?;
        if found != *wanted {
            let words = format!("invalid diffID for layer {path}: expected {wanted}, got {found}");
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
    }
    Ok(())
}

fn tagged(name: &str) -> Result<Reference, Failure> {
    let reference = Reference::parse(name).map_err(bad_reference)?;
    Ok(reference.with_default_tag())
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn invalid(what: &str, error: &dyn std::error::Error) -> Failure {
    let words = format!("invalid {what} in the archive: {}", ferry_errkind::chain(error));
    Failure::new(ErrorKind::InvalidArgument, words)
}

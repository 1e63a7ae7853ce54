//! An image with what is said of it: an index of its manifest and of one for the statements, as BuildKit writes it.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Attestation;
use ferry_oci::{Descriptor, Digest, Index, Manifest, Platform, media};
use serde_json::{Value, json};

use super::{super::package_url, Saved, descriptor, json as written};

/// A statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";

/// What is to be written besides the image itself.
pub(super) struct Documents {
    /// All of it: statements, their configuration, their manifest, the index.
    pub(super) blobs: Vec<Vec<u8>>,
    /// The index.
    pub(super) index: Descriptor,
}

/// The documents of an image with that manifest.
pub(super) fn documents(
    image: &Saved,
    manifest: Descriptor,
    said: &[Attestation],
) -> Result<Documents, Failure> {
    let config = &image.entry.config;
    let platform = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        ..Platform::host()
    };
    let mut blobs = Vec::new();
    let mut layers = Vec::new();
    for one in said {
        let statement = written(&statement(image, &platform, &manifest, one)?)?;
        let mut layer = blob(IN_TOTO, &statement);
        let kind = ("in-toto.io/predicate-type".to_owned(), one.predicate_type.clone());
        layer.annotations = BTreeMap::from([kind]);
        layers.push(layer);
        blobs.push(statement);
    }
    let digests: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    let config = written(&json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": digests },
    }))?;
    let statements = written(&Manifest {
        schema_version: 2,
        media_type: media::OCI_MANIFEST.to_owned(),
        config: blob(media::OCI_CONFIG, &config),
        layers,
        annotations: BTreeMap::new(),
    })?;
    let unknown = || "unknown".to_owned();
    let mut of_statements = blob(media::OCI_MANIFEST, &statements);
    of_statements.annotations = BTreeMap::from([
        ("vnd.docker.reference.digest".to_owned(), manifest.digest.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    of_statements.platform = Some(Platform {
        os: unknown(),
        architecture: unknown(),
        variant: None,
        ..Platform::host()
    });
    let index = written(&Index {
        schema_version: 2,
        media_type: media::OCI_INDEX.to_owned(),
        manifests: vec![Descriptor { platform: Some(platform), ..manifest }, of_statements],
        annotations: BTreeMap::new(),
    })?;
    let of_index = blob(media::OCI_INDEX, &index);
    blobs.extend([config, statements, index]);
    Ok(Documents { blobs, index: of_index })
}

fn statement(
    image: &Saved,
    platform: &Platform,
    manifest: &Descriptor,
    one: &Attestation,
) -> Result<Value, Failure> {
    let predicate: Value = serde_json::from_str(&one.predicate).map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("an attestation does not read: {error}"))
    })?;
    let digest = json!({ manifest.digest.algorithm(): manifest.digest.hex() });
    let platform = platform.to_string();
    let subjects = image
        .names
        .iter()
        .map(|name| json!({ "name": package_url(name, &platform), "digest": digest }));
    let mut subjects: Vec<Value> = subjects.collect();
    if subjects.is_empty() {
        subjects.push(json!({ "name": "_", "digest": digest }));
    }
    Ok(json!({
        "_type": STATEMENT,
        "predicateType": one.predicate_type,
        "subject": subjects,
        "predicate": predicate,
    }))
}

fn blob(media_type: &str, content: &[u8]) -> Descriptor {
    descriptor(media_type, Digest::sha256_of(content), content.len() as u64)
}

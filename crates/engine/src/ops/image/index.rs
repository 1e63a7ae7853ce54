//! Images of several platforms, and what is said of them, as one: an index of their manifests and of one for the statements about each, as
//! BuildKit writes it.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::{Attestation, Entry};
use ferry_oci::{Descriptor, Digest, Index, Manifest, Platform, Reference, media};
use serde_json::{Value, json};

use super::package_url;

/// A statement.
const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Begins every statement.
pub(crate) const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";

/// One of the images.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) entry: &'a Entry,
    /// What describes its manifest.
    pub(super) manifest: Descriptor,
    /// What is said of it.
    pub(super) said: Vec<Attestation>,
}

/// What is to be written or sent besides the images themselves.
#[derive(Debug, Default)]
pub(super) struct Documents {
    /// Statements and their configurations.
    pub(super) blobs: Vec<Vec<u8>>,
    /// The manifests of statements.
    pub(super) manifests: Vec<Vec<u8>>,
    /// The index.
    pub(super) index: Vec<u8>,
}

/// The documents of these images, which have these names.
pub(super) fn documents(parts: Vec<Part<'_>>, names: &[Reference]) -> Result<Documents, Failure> {
    let mut documents = Documents::default();
    let (mut images, mut said) = (Vec::new(), Vec::new());
    for part in parts {
        let platform = platform(part.entry);
        said.extend(statements(&mut documents, &part, &platform, names)?);
        images.push(Descriptor { platform: Some(platform), ..part.manifest });
    }
    images.extend(said);
    documents.index = written(&Index {
        schema_version: 2,
        media_type: media::OCI_INDEX.to_owned(),
        manifests: images,
        annotations: BTreeMap::new(),
    })?;
    Ok(documents)
}

impl Documents {
    /// What describes the index.
    pub(super) fn described(&self) -> Descriptor {
        described(media::OCI_INDEX, &self.index)
    }
}

fn platform(entry: &Entry) -> Platform {
    let config = &entry.config;
    Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        ..Platform::host()
    }
}

/// Adds what is said of an image; answers what describes its manifest, if there is something.
fn statements(
    documents: &mut Documents,
    part: &Part<'_>,
    platform: &Platform,
    names: &[Reference],
) -> Result<Option<Descriptor>, Failure> {
    if part.said.is_empty() {
        return Ok(None);
    }
    let mut layers = Vec::new();
    for one in &part.said {
        let statement = written(&statement(&part.manifest, platform, names, one)?)?;
        let mut layer = described(IN_TOTO, &statement);
        let kind = ("in-toto.io/predicate-type".to_owned(), one.predicate_type.clone());
        layer.annotations = BTreeMap::from([kind]);
        layers.push(layer);
        documents.blobs.push(statement);
    }
    let digests: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    let config = written(&json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": digests },
    }))?;
    let manifest = written(&Manifest {
        schema_version: 2,
        media_type: media::OCI_MANIFEST.to_owned(),
        config: described(media::OCI_CONFIG, &config),
        layers,
        annotations: BTreeMap::new(),
    })?;
    let unknown = || "unknown".to_owned();
    let annotations = BTreeMap::from([
        ("vnd.docker.reference.digest".to_owned(), part.manifest.digest.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ]);
    let nowhere =
        Platform { os: unknown(), architecture: unknown(), variant: None, ..Platform::host() };
    let platform = Some(nowhere);
    let of = Descriptor { annotations, platform, ..described(media::OCI_MANIFEST, &manifest) };
    documents.blobs.push(config);
    documents.manifests.push(manifest);
    Ok(Some(of))
}

fn statement(
    manifest: &Descriptor,
    platform: &Platform,
    names: &[Reference],
    one: &Attestation,
) -> Result<Value, Failure> {
    let predicate: Value = serde_json::from_str(&one.predicate).map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("an attestation does not read: {error}"))
    })?;
    let digest = json!({ manifest.digest.algorithm(): manifest.digest.hex() });
    let platform = platform.to_string();
    let subjects =
        names.iter().map(|name| json!({ "name": package_url(name, &platform), "digest": digest }));
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

fn written(value: &impl serde::Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(value).map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

fn described(media_type: &str, content: &[u8]) -> Descriptor {
    super::save::descriptor(media_type, Digest::sha256_of(content), content.len() as u64)
}

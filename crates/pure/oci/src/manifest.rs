//! Manifests and indexes (image-spec `manifest.md`, `image-index.md`; Docker's schema 2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Platform};

/// Largest manifest or index that is read, as in the distribution specification.
pub const MAX_MANIFEST: usize = 4 << 20;
/// Most layers in one image, and platforms in one index.
const MAX_ENTRIES: usize = 4096;

/// Media types.
pub mod media {
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image configuration.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer, uncompressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// An OCI layer, gzip.
    pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// An OCI layer, zstd.
    pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// Docker's index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's image configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer, gzip.
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// Docker's layer, uncompressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's manifest, schema 1, signed: not supported by anyone any more.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Layers that may not be distributed (Windows).
    pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
}

/// A manifest, index or configuration that is none. Words after Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Larger than [`MAX_MANIFEST`].
    #[error("document of {0} bytes is larger than the limit of {MAX_MANIFEST}")]
    TooLarge(usize),
    /// No JSON, or the wrong fields.
    #[error("document does not parse")]
    Json(#[from] serde_json::Error),
    /// More entries than anyone has.
    #[error("document lists {0} entries, more than the limit of {MAX_ENTRIES}")]
    TooMany(usize),
    /// A kind that Ferry does not run.
    #[error("unsupported media type \"{0}\"")]
    MediaType(String),
    /// Docker's schema 1.
    #[error(
        "Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed: ask the image's author for OCI or schema 2"
    )]
    Schema1,
}

/// Points at a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where else it can be had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Kind of artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The configuration.
    pub config: Descriptor,
    /// Layers, bottom first.
    pub layers: Vec<Descriptor>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The images.
    pub manifests: Vec<Descriptor>,
    /// Metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What a registry answers for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one a pull, and it is taken apart at once")]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index. `media_type` is what the registry called it; what the document says of itself counts
    /// more, and its fields count where neither says anything.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8], media_type: &str) -> Result<Document, ParseError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ParseError::TooLarge(bytes.len()));
        }
        let probe: Probe = serde_json::from_slice(bytes)?;
        if probe.schema_version == Some(1) || media_type == media::DOCKER_SCHEMA1 {
            return Err(ParseError::Schema1);
        }
        let own = probe.media_type.as_deref().filter(|own| !own.is_empty());
        let named = own.unwrap_or_else(|| media_type.split(';').next().unwrap_or("").trim());
        match named {
            media::OCI_INDEX | media::DOCKER_INDEX => Document::index(bytes),
            media::OCI_MANIFEST | media::DOCKER_MANIFEST => Document::manifest(bytes),
            "" | "application/json" | "text/plain" | "application/octet-stream" => {
                if probe.manifests.is_some() {
                    Document::index(bytes)
                } else {
                    Document::manifest(bytes)
                }
            }
            other => Err(ParseError::MediaType(other.to_owned())),
        }
    }

    fn manifest(bytes: &[u8]) -> Result<Document, ParseError> {
        let manifest: Manifest = serde_json::from_slice(bytes)?;
        limit(manifest.layers.len())?;
        Ok(Document::Manifest(manifest))
    }

    fn index(bytes: &[u8]) -> Result<Document, ParseError> {
        let index: Index = serde_json::from_slice(bytes)?;
        limit(index.manifests.len())?;
        Ok(Document::Index(index))
    }
}

impl Index {
    /// The entry that fits `wanted` best. Attestations and other artifacts, whose platform is `unknown`, never fit.
    pub fn best(&self, wanted: &Platform) -> Option<&Descriptor> {
        let fitness = |entry: &Descriptor| match &entry.platform {
            Some(platform) => platform.fitness(wanted),
            None => 0,
        };
        // The first of the best, as containerd has it.
        self.manifests
            .iter()
            .filter(|entry| fitness(entry) > 0)
            .rev()
            .max_by_key(|entry| fitness(entry))
    }

    /// The platforms that there are, for an error.
    pub fn platforms(&self) -> Vec<String> {
        self.manifests
            .iter()
            .filter_map(|entry| entry.platform.as_ref())
            .filter(|platform| platform.os != "unknown")
            .map(ToString::to_string)
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

fn limit(entries: usize) -> Result<(), ParseError> {
    if entries > MAX_ENTRIES { Err(ParseError::TooMany(entries)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn index(platforms: &[&str]) -> Index {
        let entries: Vec<_> = platforms
            .iter()
            .map(|platform| {
                let parts: Vec<&str> = platform.split('/').collect();
                serde_json::json!({"mediaType": media::OCI_MANIFEST, "digest": DIGEST, "size": 1,
                    "platform": {"os": parts[0], "architecture": parts[1]}})
            })
            .collect();
        let json = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
        match Document::parse(json.as_bytes(), "").unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("an index was read as a manifest"),
        }
    }

    #[test]
    fn the_entry_for_this_machine() {
        let index = index(&["linux/arm64", "linux/amd64", "unknown/unknown"]);
        let best = index.best(&"linux/amd64".parse().unwrap()).unwrap();
        assert_eq!(best.platform.as_ref().unwrap().architecture, "amd64");
        assert_eq!(index.best(&"linux/s390x".parse().unwrap()), None);
        assert_eq!(index.platforms(), ["linux/arm64", "linux/amd64"]);
    }

    #[test]
    fn what_is_no_manifest() {
        assert!(matches!(Document::parse(br#"{"schemaVersion":1}"#, ""), Err(ParseError::Schema1)));
        assert!(matches!(Document::parse(b"nonsense", ""), Err(ParseError::Json(_))));
        assert!(matches!(
            Document::parse(br#"{"schemaVersion":2,"mediaType":"text/x"}"#, ""),
            Err(ParseError::MediaType(_))
        ));
        let large = vec![b' '; MAX_MANIFEST + 1];
        assert!(matches!(Document::parse(&large, ""), Err(ParseError::TooLarge(_))));
    }
}

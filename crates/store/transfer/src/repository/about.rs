//! What is about a manifest, at registries that have no referrers of their own.

use bytes::Bytes;
use ferry_oci::{Digest, media};
use serde_json::{Value, json};

use super::{RawManifest, Repository, RepositoryError, fallback_tag};

/// What a manifest is about.
pub(super) fn subject(manifest: &RawManifest) -> Option<Digest> {
    let value: Value = serde_json::from_slice(&manifest.json).ok()?;
    value["subject"]["digest"].as_str()?.parse().ok()
}

/// Adds a manifest to the tag under which a registry without referrers of its own lists what is about another one.
pub(super) async fn list(
    repository: &Repository,
    subject: &Digest,
    manifest: &RawManifest,
) -> Result<(), RepositoryError> {
    let tag = fallback_tag(subject);
    let known = repository.manifest(&tag).await?;
    let mut index: Value = match &known {
        Some(known) => serde_json::from_slice(&known.json).unwrap_or_default(),
        None => json!({ "schemaVersion": 2, "mediaType": media::OCI_INDEX, "manifests": [] }),
    };
    let Some(entries) = index["manifests"].as_array_mut() else {
        return Err(RepositoryError::Answer("referrers"));
    };
    let digest = manifest.digest.to_string();
    if entries.iter().any(|entry| entry["digest"] == digest.as_str()) {
        return Ok(());
    }
    let text: Value = serde_json::from_slice(&manifest.json).unwrap_or_default();
    let kind = text["artifactType"].as_str().or(text["config"]["mediaType"].as_str());
    let mut entry = json!({
        "mediaType": manifest.media_type,
        "digest": digest,
        "size": manifest.json.len(),
        "artifactType": kind.unwrap_or_default(),
    });
    if text["annotations"].is_object() {
        entry["annotations"] = text["annotations"].clone();
    }
    entries.push(entry);
    let json = Bytes::from(index.to_string());
    let digest = Digest::sha256_of(&json);
    let media_type = media::OCI_INDEX.to_owned();
    repository.put_manifest(&tag, &RawManifest { media_type, json, digest }).await?;
    Ok(())
}

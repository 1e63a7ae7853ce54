//! What is kept in the database: tables and how their keys are made.
//!
//! A key is words with a space between them. A space sorts before everything that a repository's name, a digest or a tag has, so
//! all keys that begin with the same word stand together.

use std::collections::BTreeMap;

use ferry_db::Table;
use ferry_oci::Digest;
use serde::{Deserialize, Serialize};

/// A repository that something was pushed to: `<repository>`.
pub(crate) const REPOSITORIES: Table<RepositoryRecord> = Table::new("registry-repository");
/// A blob that a repository has: `<repository> <hex>`.
pub(crate) const LINKS: Table<LinkRecord> = Table::new("registry-link");
/// The same the other way round: `<hex> <repository>`.
pub(crate) const HOLDERS: Table<()> = Table::new("registry-holder");
/// `<repository> <hex>`.
pub(crate) const MANIFESTS: Table<ManifestRecord> = Table::new("registry-manifest");
/// `<repository> <tag>`.
pub(crate) const TAGS: Table<TagRecord> = Table::new("registry-tag");
/// `<repository> <hex of the subject> <hex>`.
pub(crate) const REFERRERS: Table<Referrer> = Table::new("registry-referrer");

/// When a repository was first pushed to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RepositoryRecord {
    pub(crate) created: u64,
}

/// When a blob came into a repository.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LinkRecord {
    pub(crate) at: u64,
}

/// Where a tag points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRecord {
    /// The manifest.
    pub digest: Digest,
    /// Seconds since 1970 of the push that set it.
    pub at: u64,
}

/// A manifest or an index, and what it refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRecord {
    /// As it was pushed.
    pub media_type: String,
    /// Its length.
    pub size: u64,
    /// Seconds since 1970 of its push.
    pub at: u64,
    /// Configuration and layers, foreign ones left out.
    #[serde(default)]
    pub blobs: Vec<Digest>,
    /// Manifests of an index.
    #[serde(default)]
    pub manifests: Vec<Digest>,
    /// What it is about, perhaps not here.
    #[serde(default)]
    pub subject: Option<Digest>,
    /// Sum of the sizes of configuration and layers, as it says.
    #[serde(default)]
    pub content_size: u64,
    /// It is a copy of an upstream's: what it refers to comes when somebody asks for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
}

/// A manifest that is about another one, as the referrers API lists it: a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// Its media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
    /// `artifactType`, or else the media type of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// `first second`.
pub(crate) fn key(first: &str, second: &str) -> String {
    format!("{first} {second}")
}

/// What lies between all keys that begin with this word.
pub(crate) fn below(word: &str) -> (String, String) {
    // '!' is what follows a space.
    (format!("{word} "), format!("{word}!"))
}

/// The last word of a key.
pub(crate) fn last(key: &str) -> &str {
    key.rsplit(' ').next().unwrap_or(key)
}

/// The digest that a key ends with.
pub(crate) fn digest_of(key: &str) -> Option<Digest> {
    format!("sha256:{}", last(key)).parse().ok()
}

//! What our own command line and daemon say to each other about builds, beyond what Docker's classic `/build` has: a question in front of
//! the context, and BuildKit's `SolveStatus` as progress.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::handed::Handed;

/// The content type of a body that begins with a [`BuildAsk`]: its length as four bytes, little end first, its JSON, then the context.
pub const BUILD_ASK: &str = "application/vnd.ferry.build";

/// The `id` of the message that holds the image of what a step had written when it failed.
pub const KEPT_ID: &str = "ferry.build.kept";

/// The `id` of messages that hold a [`SolveStatus`].
pub const STATUS_ID: &str = "ferry.build.status";

/// The `id` of the message that holds the [`Place`] of an error.
pub const PLACE_ID: &str = "ferry.build.place";

/// The `id` of the message that holds what `--call` asked for.
pub const CALL_ID: &str = "ferry.build.call";

/// The `id` of the message that holds a [`Verified`].
pub const VERIFIED_ID: &str = "ferry.build.verified";

/// The `id` of the last message, if the files of the result follow as a tar.
pub const FILES_ID: &str = "ferry.build.files";

/// What a build is asked for that no query of Docker's says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildAsk {
    /// The Dockerfile, in base64, if it is not in the context.
    pub dockerfile: Option<String>,
    /// The context is a directory that the client has open.
    pub directory: Option<Handed>,
    /// The context is at a URL.
    pub remote: Option<String>,
    /// `--build-context`.
    pub contexts: BTreeMap<String, AskedContext>,
    /// `--secret`: contents in base64.
    pub secrets: BTreeMap<String, String>,
    /// `--ssh`: sockets of agents.
    pub agents: BTreeMap<String, String>,
    /// `--no-cache-filter`.
    pub no_cache_filter: Vec<String>,
    /// `--allow`.
    pub entitlements: Vec<String>,
    /// `--cache-from`: images.
    pub cache_from: Vec<String>,
    /// `--cache-to type=inline`.
    pub inline_cache: bool,
    /// `--cache-to`: the name of an image to record for it.
    pub cache_image: Option<String>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<i64>,
    /// `--call`: `check`, `outline` or `targets` instead of a build.
    pub call: String,
    /// `--on-error=shell`: keep what a step that fails has written.
    pub keep_failed: bool,
    /// `--provenance`.
    pub provenance: Option<AskedProvenance>,
    /// `--sbom`.
    pub sbom: bool,
    /// `--explain`: say of every step that is done why it was not in the cache.
    pub explain: bool,
    /// `--verify`: the image that is expected to come of it.
    pub verify: String,
    /// What is to become of the result: an image (empty), `files`, `image and files`, or `nothing`.
    pub result: String,
    /// How those files are laid out.
    pub layout: AskedLayout,
}

/// How files of a result are laid out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AskedLayout {
    /// `platform-split`.
    pub split: Option<bool>,
    /// `attestation-prefix`.
    pub prefix: String,
}

/// How much is to be said of how an image was made, and in which version's words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedProvenance {
    /// `mode=max`.
    pub max: bool,
    /// `version=v1`.
    pub v1: bool,
}

/// How an image and what was built to verify it compare.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// The image's id.
    pub image: String,
    /// The id of what was built.
    pub built: String,
    /// The first thing that is not the same.
    pub difference: Option<String>,
    /// Whether times counted.
    pub times: bool,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AskedContext {
    /// An image.
    Image(String),
    /// A directory.
    Directory(Handed),
    /// A repository or archive at a URL.
    Remote(String),
}

/// BuildKit's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SolveStatus {
    /// Vertices that changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vertexes: Vec<SolveVertex>,
    /// How far they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statuses: Vec<VertexStatus>,
    /// What they wrote.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<VertexLog>,
    /// What could be better.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<VertexWarning>,
}

/// A vertex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SolveVertex {
    /// Its identity.
    pub digest: String,
    /// What it stands on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// Its name.
    pub name: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    /// Taken from the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cached: bool,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Beyond BuildKit: why it was not taken from the cache, with `--explain`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<String>,
}

/// How far something inside a vertex is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexStatus {
    /// What.
    pub id: String,
    /// In which vertex.
    pub vertex: String,
    /// Bytes that are there.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Bytes that there are.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
    /// RFC 3339.
    pub timestamp: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
}

/// Output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexLog {
    /// Whose.
    pub vertex: String,
    /// 1 or 2.
    pub stream: i32,
    /// In base64.
    pub data: String,
    /// RFC 3339.
    pub timestamp: String,
}

/// A warning. Texts are in base64, as Go writes bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VertexWarning {
    /// About which vertex.
    pub vertex: String,
    /// How bad: 1 is a lint rule.
    pub level: i32,
    /// One line.
    pub short: String,
    /// More lines.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Where it is explained.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// The file.
    #[serde(rename = "file", skip_serializing_if = "String::is_empty")]
    pub file: String,
    /// Its first and last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<(usize, usize)>,
}

/// Where in a Dockerfile an error is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// First line at fault.
    pub first: usize,
    /// Last line at fault.
    pub last: usize,
    /// Lines around, with their numbers.
    pub lines: Vec<(usize, String)>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

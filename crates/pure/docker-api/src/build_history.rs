//! The builds that a daemon remembers: `GET /build/history` and `GET /build/history/{id}`. Docker has these in BuildKit's gRPC only.

use serde::{Deserialize, Serialize};

use crate::solve::{Place, SolveStatus};

/// A build in a line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BuildLine {
    /// Its id.
    pub id: String,
    /// What the image is called.
    pub tags: Vec<String>,
    /// The Dockerfile's name.
    pub dockerfile: String,
    /// The stage that was asked for.
    pub target: String,
    /// `running`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// RFC 3339.
    pub started: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The image's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Instructions of the Dockerfile that were to be done.
    pub steps: usize,
    /// Those of them that were taken from the cache.
    pub cached: usize,
    /// Those of them that are done.
    pub completed: usize,
    /// What could be better.
    pub warnings: usize,
}

/// A build in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct BuildHistory {
    /// Its line.
    #[serde(flatten)]
    pub line: BuildLine,
    /// Steps, output and warnings, as BuildKit tells them on the way.
    pub status: SolveStatus,
    /// Lines of the Dockerfile at which it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The middle of the output was too much.
    pub cut: bool,
}

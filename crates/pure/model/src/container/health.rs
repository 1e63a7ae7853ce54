//! How healthy a container is: what its probes said.

use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The label that says what happens to a container that becomes unhealthy. A label and not a field of `HostConfig`,
/// because every client can set one: Docker's own command line, compose files, images.
pub const ON_FAILURE_LABEL: &str = "ferry.health-on-failure";

/// The label that says which of its names on networks lead to a container only while it is healthy; with commas between them.
pub const HEALTHY_NAMES_LABEL: &str = "ferry.names-while-healthy";

/// The label that says which of its names on networks never lead to a container, since they are another one's; with commas between them.
pub const OTHERS_NAMES_LABEL: &str = "ferry.names-of-others";

/// Docker's three words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// No probe has succeeded yet.
    #[default]
    Starting,
    /// The last probe that counted succeeded.
    Healthy,
    /// Too many failed in a row, or nobody probes any more.
    Unhealthy,
}

impl HealthStatus {
    /// `starting`, `healthy`, `unhealthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            HealthStatus::Starting => "starting",
            HealthStatus::Healthy => "healthy",
            HealthStatus::Unhealthy => "unhealthy",
        }
    }
}

/// What is known of a container's health.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The verdict.
    pub status: HealthStatus,
    /// Failures in a row that counted.
    pub failing_streak: i64,
    /// The last probes, oldest first.
    pub log: Vec<HealthResult>,
}

/// What one probe said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthResult {
    /// When it was started.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// 0 is healthy; -1 when it did not run or not end.
    pub exit_code: i32,
    /// The beginning of what it printed, or why it did not run.
    pub output: String,
}

/// What to do when a container becomes unhealthy (podman's `--health-on-failure`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HealthAction {
    /// Only say so.
    #[default]
    None,
    /// As `restart` does.
    Restart,
    /// As `stop` does: restart policies do not bring it back.
    Stop,
    /// SIGKILL, as if it had crashed: restart policies bring it back.
    Kill,
}

impl HealthAction {
    /// Reads `none`, `restart`, `stop` or `kill`.
    pub fn parse(word: &str) -> Option<HealthAction> {
        Some(match word {
            "" | "none" => HealthAction::None,
            "restart" => HealthAction::Restart,
            "stop" => HealthAction::Stop,
            "kill" => HealthAction::Kill,
            _ => return None,
        })
    }
}

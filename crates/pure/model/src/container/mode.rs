//! Closed choices inside a container's settings.

use serde::{Deserialize, Serialize};

/// `--network` as far as it selects a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// The default bridge (`default` and `bridge` in Docker's words; which of them was said is kept).
    #[default]
    Default,
    /// `bridge`, said by name.
    Bridge,
    /// A network namespace with nothing but loopback.
    None,
    /// The host's network namespace.
    Host,
    /// Another container's network namespace.
    Container(String),
    /// A user-defined network, by name or id.
    Named(String),
}

/// `--ipc`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IpcMode {
    /// Own namespace, nobody may join (`private`).
    #[default]
    Private,
    /// Own namespace, others may join.
    Shareable,
    /// Own namespace without `/dev/shm`.
    None,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// `--pid`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PidMode {
    /// Own namespace.
    #[default]
    Private,
    /// The host's.
    Host,
    /// Another container's.
    Container(String),
}

/// `--userns`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UsernsMode {
    /// As the daemon was told by `--userns-remap`; without it, the host's.
    #[default]
    Default,
    /// The host's.
    Host,
    /// One of its own, with ids that no other container has (podman's word for it).
    Auto,
}

/// `--cgroupns`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CgroupnsMode {
    /// Docker's default: private on v2, host on v1.
    #[default]
    Default,
    /// Own namespace.
    Private,
    /// The host's.
    Host,
}

/// `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartPolicy {
    /// Never. The flag tells whether the word `no` was said (Docker shows it again as it was given).
    #[default]
    Never,
    /// After any end, also when the daemon starts.
    Always,
    /// As `always`, unless the user stopped it.
    UnlessStopped,
    /// After a failure, at most so many times; 0 is without limit.
    OnFailure {
        /// Limit of attempts.
        max_retries: u32,
    },
}

/// Kind of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
    /// The files of an image, read-only.
    Image,
}

/// `bind-recursive`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BindRecursion {
    /// Submounts come along, read-only too if the kernel can (`enabled`).
    #[default]
    Enabled,
    /// Submounts do not come along.
    Disabled,
    /// Submounts come along and stay writable.
    Writable,
    /// Submounts come along and must be read-only.
    Readonly,
}

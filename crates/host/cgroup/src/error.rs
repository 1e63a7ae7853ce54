//! What can go wrong, by what was attempted.

use std::path::PathBuf;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_sys::Errno;

use crate::SystemdError;

/// An operation on a group's files.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is nothing that looks like cgroups.
    #[error("no cgroup controllers found in {}", .0.display())]
    NoControllers(PathBuf),
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A value could not be written.
    #[error("cannot write {value:?} to {}", .path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: Errno,
    },
    /// A directory could not be made.
    #[error("cannot create cgroup {}", .path.display())]
    Make {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A directory could not be removed.
    #[error("cannot remove cgroup {}", .path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// The freezer did not get there.
    #[error("cgroup {} did not become {wanted}", .path.display())]
    Freeze {
        /// Which.
        path: PathBuf,
        /// `FROZEN` or `THAWED`.
        wanted: &'static str,
    },
    /// Processes were still there after killing them for a while.
    #[error("processes in cgroup {} do not die", .0.display())]
    Immortal(PathBuf),
    /// The machine has no freezer.
    #[error("this machine has no cgroup freezer")]
    NoFreezer,
}

/// Making a group.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Empty, or with `..`.
    #[error("invalid cgroup path {0:?}")]
    Path(String),
    /// Not systemd's names.
    #[error(
        "invalid cgroup scope {0:?}: expected slice:prefix:name with a slice like \"system.slice\""
    )]
    Scope(String),
    /// systemd.
    #[error("cannot make the cgroup's scope")]
    Systemd(#[from] SystemdError),
    /// Its directories.
    #[error("cannot make the cgroup")]
    Make(#[from] CgroupError),
    /// Its limits.
    #[error("cannot set the limits of the cgroup")]
    Apply(#[source] ApplyError),
}

/// Setting limits.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The kernel refused a value, or the machine has no such limit and Docker fails for it, too.
    #[error("failed to write {value:?} to {}", .path.display())]
    Set {
        /// Where.
        path: PathBuf,
        /// What.
        value: String,
        /// Why.
        source: Errno,
    },
    /// More is in use than the limit allows.
    #[error("unable to set memory limit to {limit} (current usage: {usage})")]
    MemoryInUse {
        /// What was asked for.
        limit: i64,
        /// What is used.
        usage: u64,
    },
    /// Version 2 limits swap alone.
    #[error("unable to set swap limit without memory limit")]
    SwapWithoutMemory,
    /// `memory.swap` counts both.
    #[error("memory+swap limit should be >= memory limit")]
    SwapBelowMemory,
    /// A device rule that says nothing sensible.
    #[error("invalid device rule {0:?}")]
    DeviceRule(String),
    /// A file name in `unified` that would lead elsewhere.
    #[error("invalid cgroup file name {0:?}")]
    FileName(String),
    /// systemd was not told.
    #[error("cannot set the limits of the cgroup's scope")]
    Systemd(#[source] SystemdError),
    /// The device program.
    #[error("cannot {step} the device program of cgroup {}", .path.display())]
    DeviceProgram {
        /// load, attach.
        step: &'static str,
        /// Whose.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

impl Kinded for CgroupError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Kinded for CreateError {
    fn kind(&self) -> ErrorKind {
        match self {
            CreateError::Path(_) | CreateError::Scope(_) => ErrorKind::InvalidArgument,
            CreateError::Make(_) => ErrorKind::Internal,
            CreateError::Systemd(error) => error.kind(),
            CreateError::Apply(error) => error.kind(),
        }
    }
}

impl Kinded for ApplyError {
    fn kind(&self) -> ErrorKind {
        match self {
            ApplyError::DeviceProgram { .. } | ApplyError::Systemd(_) => ErrorKind::Internal,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

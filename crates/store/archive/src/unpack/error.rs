//! Why a tar cannot be unpacked.

use std::io;

use ferry_errkind::{ErrorKind, Kinded};
use rustix::io::Errno;

use crate::parse::ParseError;
use crate::path::{PathError, show};

/// Why a tar cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The stream of tar bytes failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// Not a tar, or one outside the limits.
    #[error("invalid tar header before byte {offset}")]
    Parse {
        /// Where in the uncompressed tar.
        offset: u64,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The archive ends inside an entry.
    #[error("archive is truncated at byte {offset}")]
    Truncated {
        /// Where in the uncompressed tar.
        offset: u64,
    },
    /// A name, or the target of a hard link, that is no path below the root.
    #[error("invalid name {name:?} in the archive")]
    Name {
        /// As written.
        name: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// The target of a hard link that is no path below the root.
    #[error("invalid hard link to {name:?} in the archive")]
    LinkTarget {
        /// As written.
        name: String,
        /// What is wrong with it.
        source: PathError,
    },
    /// Something of another type is in an entry's place, and types are to stay.
    #[error(
        "cannot overwrite {} {path:?} with a {}", if *is_directory { "directory" } else { "file" },
        if *is_directory { "file" } else { "directory" }
    )]
    OtherType {
        /// Path below the root.
        path: String,
        /// Whether a directory is there.
        is_directory: bool,
    },
    /// The root of the archive as something else than a directory.
    #[error("archive makes its root something else than a directory")]
    RootNotDirectory,
    /// `.wh.` with nothing, `.` or `..` behind it.
    #[error("invalid whiteout {name:?} in the archive")]
    Whiteout {
        /// As written.
        name: String,
    },
    /// A system call failed.
    #[error("cannot {attempt} {path:?}")]
    Kernel {
        /// What was tried.
        attempt: Attempt,
        /// Path below the root.
        path: String,
        /// Why not.
        source: Errno,
    },
    /// The recipe could not be written.
    #[error("cannot record the layer's recipe")]
    Record(#[source] io::Error),
}

/// What was tried on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are the words of the message")]
pub enum Attempt {
    OpenDirectory,
    MakeDirectory,
    MakeFile,
    WriteFile,
    MakeLink,
    MakeSymlink,
    MakeDevice,
    MakeFifo,
    MakeWhiteout,
    Replace,
    SetOwner,
    SetMode,
    SetTimes,
    SetXattr,
}

impl std::fmt::Display for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Attempt::OpenDirectory => "open directory",
            Attempt::MakeDirectory => "make directory",
            Attempt::MakeFile => "make file",
            Attempt::WriteFile => "write file",
            Attempt::MakeLink => "make hard link",
            Attempt::MakeSymlink => "make symlink",
            Attempt::MakeDevice => "make device",
            Attempt::MakeFifo => "make fifo",
            Attempt::MakeWhiteout => "make whiteout",
            Attempt::Replace => "replace",
            Attempt::SetOwner => "set owner of",
            Attempt::SetMode => "set mode of",
            Attempt::SetTimes => "set times of",
            Attempt::SetXattr => "set extended attribute of",
        })
    }
}

impl Attempt {
    /// For `map_err`.
    pub(crate) fn on(self, path: &[u8]) -> impl FnOnce(Errno) -> UnpackError {
        move |source| UnpackError::Kernel { attempt: self, path: show(path), source }
    }
}

impl UnpackError {
    /// The name was a link's target.
    pub(super) fn of_link(self) -> Self {
        match self {
            UnpackError::Name { name, source } => UnpackError::LinkTarget { name, source },
            other => other,
        }
    }
}

impl Kinded for UnpackError {
    fn kind(&self) -> ErrorKind {
        match self {
            UnpackError::Parse { .. }
            | UnpackError::Truncated { .. }
            | UnpackError::Name { .. }
            | UnpackError::LinkTarget { .. }
            | UnpackError::OtherType { .. }
            | UnpackError::RootNotDirectory
            | UnpackError::Whiteout { .. } => ErrorKind::InvalidArgument,
            UnpackError::Read(_) | UnpackError::Kernel { .. } | UnpackError::Record(_) => {
                ErrorKind::Internal
            }
        }
    }
}

use std::{io, path::PathBuf};

use ferry_db::DbError;
use ferry_errkind::{ErrorKind, Kinded};

/// A volume could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// There is none of that name. Docker's words.
    #[error("get {0}: no such volume")]
    NotFound(String),
    /// The name has characters that it may not have. Docker's words.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Name(String),
    /// A driver option that there is not, or one that is missing. Docker's words.
    #[error("create {name}: {why}")]
    Option {
        /// The volume.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Its directory cannot be made.
    #[error("cannot make volume directory {}", path.display())]
    MakeDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its directory cannot be removed.
    #[error("cannot remove volume directory {}", path.display())]
    RemoveDirectory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its record cannot be read or written.
    #[error("cannot keep the record of a volume")]
    Record {
        /// Why.
        source: DbError,
    },
}

impl Kinded for VolumeError {
    fn kind(&self) -> ErrorKind {
        match self {
            VolumeError::NotFound(_) => ErrorKind::NotFound,
            VolumeError::Name(_) | VolumeError::Option { .. } => ErrorKind::InvalidArgument,
            VolumeError::MakeDirectory { .. }
            | VolumeError::RemoveDirectory { .. }
            | VolumeError::Record { .. } => ErrorKind::Internal,
        }
    }
}

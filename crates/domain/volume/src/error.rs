use std::{io, path::PathBuf};

use ferry_db::DbError;
use ferry_errkind::{ErrorKind, Kinded};

use crate::CopyError;

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
    /// The name is a single character. Docker's words.
    #[error(
        "create {0}: volume name is too short, names should be at least two alphanumeric characters"
    )]
    ShortName(String),
    /// A driver option that there is not, or one that is missing. Docker's words.
    #[error("create {name}: {why}")]
    Option {
        /// The volume.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Somebody copies, exchanges, renames or removes it right now.
    #[error(
        "volume {0} is busy: somebody copies, restores, renames or removes it, or a container that uses it starts"
    )]
    Busy(String),
    /// There is one of that name.
    #[error("volume {0} already exists")]
    Exists(String),
    /// Its content is not below the data root.
    #[error(
        "the content of volume {0} is not Ferry's own: it is mounted with the driver's options"
    )]
    Elsewhere(String),
    /// A volume has no snapshot of that name.
    #[error("volume {0} has no snapshot {1:?}")]
    NoSnapshot(String, String),
    /// A volume has a snapshot of that name.
    #[error("volume {0} has a snapshot {1:?} already")]
    SnapshotExists(String, String),
    /// A snapshot's name has characters that it may not have.
    #[error(
        "invalid snapshot name {0:?}: only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, at least two of them"
    )]
    SnapshotName(String),
    /// Content cannot be copied.
    #[error("cannot copy the volume")]
    Copy {
        /// Why.
        source: CopyError,
    },
    /// A directory cannot be opened or synced.
    #[error("cannot open volume directory {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory cannot get its name.
    #[error("cannot rename volume directory {}", path.display())]
    Rename {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What a crash left cannot be finished or taken away.
    #[error("cannot mend volumes below {}", path.display())]
    Mend {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
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
    /// Its quota cannot be set.
    #[error("cannot limit what a volume below {} holds", path.display())]
    Quota {
        /// Where volumes are.
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
            VolumeError::NotFound(_) | VolumeError::NoSnapshot(..) => ErrorKind::NotFound,
            VolumeError::Name(_)
            | VolumeError::ShortName(_)
            | VolumeError::Option { .. }
            | VolumeError::Elsewhere(_)
            | VolumeError::SnapshotName(_) => ErrorKind::InvalidArgument,
            VolumeError::Busy(_) | VolumeError::Exists(_) | VolumeError::SnapshotExists(..) => {
                ErrorKind::Conflict
            }
            VolumeError::MakeDirectory { .. }
            | VolumeError::Copy { .. }
            | VolumeError::Open { .. }
            | VolumeError::Rename { .. }
            | VolumeError::Mend { .. }
            | VolumeError::RemoveDirectory { .. }
            | VolumeError::Quota { .. }
            | VolumeError::Record { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        let unsupported =
            matches!(self, VolumeError::Option { why, .. } if why.ends_with("no quota support"));
        unsupported.then(|| {
            "the data root's file system must be ext4 or xfs, mounted with prjquota".to_owned()
        })
    }
}

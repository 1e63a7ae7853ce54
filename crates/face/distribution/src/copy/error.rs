//! Why a copy fails.

use std::{io, path::PathBuf};

use ferry_archive::ReadTarError;
use ferry_client::ClientError;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::{Digest, ParseError};
use ferry_transfer::{PushError, RepositoryError};

/// An image could not be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// A registry did not give or take something.
    #[error(transparent)]
    Registry(#[from] RepositoryError),
    /// The daemon did not.
    #[error("the daemon has failed")]
    Daemon(#[from] ClientError),
    /// The daemon says why it does not take an image.
    #[error("the daemon does not take the image: {0}")]
    Load(String),
    /// The daemon refuses the request that brings it the image.
    #[error("the daemon does not take the image")]
    Refused(#[source] ClientError),
    /// A file failed.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What is to be an archive is none.
    #[error("cannot read archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: ReadTarError,
    },
    /// Something is not in the source.
    #[error("{place} has no {what}")]
    Missing {
        /// Where it should be.
        place: String,
        /// What.
        what: String,
    },
    /// Something in the source is not what it should be.
    #[error("{place}: {what}")]
    Wrong {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// A blob is not that of its name.
    #[error("blob {0} has another digest than its name says")]
    Digest(Digest),
    /// A manifest does not read.
    #[error("manifest {digest} does not read")]
    Manifest {
        /// Which.
        digest: Digest,
        /// Why not.
        source: ParseError,
    },
    /// A manifest could not be written.
    #[error("cannot write a manifest")]
    Compose(#[source] PushError),
}

impl CopyError {
    /// Whether the daemon that was to have an image got it and did not want it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, CopyError::Load(_) | CopyError::Refused(_))
    }

    pub(super) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> CopyError {
        let path = path.into();
        move |source| CopyError::File { doing, path, source }
    }
}

impl Kinded for CopyError {
    fn kind(&self) -> ErrorKind {
        match self {
            CopyError::Registry(error) => error.kind(),
            CopyError::Missing { .. } => ErrorKind::NotFound,
            CopyError::Wrong { .. } | CopyError::Archive { .. } | CopyError::Manifest { .. } => {
                ErrorKind::InvalidArgument
            }
            _ => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            CopyError::Registry(error) => error.hint(),
            CopyError::Daemon(error) | CopyError::Refused(error) => error.hint(),
            _ => None,
        }
    }
}

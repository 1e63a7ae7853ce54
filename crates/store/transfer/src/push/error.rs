//! Why a push fails, in Docker's words where it has some.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_layers::OpenTarError;
use ferry_oci::Digest;

use crate::source::{LOGIN, SourceError};

/// An image cannot be pushed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The registry's name is none.
    #[error("invalid registry \"{0}\"")]
    Domain(String),
    /// It wants a name and a password, and there are none.
    #[error("no basic auth credentials")]
    NoCredentials,
    /// The registry does not take it.
    #[error(transparent)]
    Source(SourceError),
    /// It does not say where an upload goes.
    #[error("the registry gave no place to upload to")]
    NoLocation,
    /// The place is one that must not be used.
    #[error("refused to upload to \"{0}\"")]
    Location(String),
    /// The layer is not here any more.
    #[error("cannot read layer {diff_id}")]
    Open {
        /// The layer.
        diff_id: Digest,
        /// Why not.
        source: OpenTarError,
    },
    /// The layer's files are not what they were.
    #[error("cannot read layer {diff_id}")]
    Read {
        /// The layer.
        diff_id: Digest,
        /// Why not.
        source: std::io::Error,
    },
    /// Other bytes came out than for the attempt that this one goes on with.
    #[error("layer {0} did not compress to the same bytes twice")]
    Unsteady(Digest),
    /// A bug, or the daemon ends.
    #[error("the upload of layer {0} was abandoned")]
    Abandoned(Digest),
    /// The manifest has no JSON form.
    #[error("cannot write the manifest")]
    Compose(#[source] serde_json::Error),
}

impl PushError {
    /// Trying again may help.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, PushError::Source(error) if error.is_passing())
    }
}

impl From<SourceError> for PushError {
    fn from(error: SourceError) -> PushError {
        match error {
            SourceError::NoCredentials { .. } => PushError::NoCredentials,
            error => PushError::Source(error),
        }
    }
}

impl Kinded for PushError {
    fn kind(&self) -> ErrorKind {
        match self {
            PushError::Domain(_) => ErrorKind::InvalidArgument,
            PushError::Source(error) => error.kind(),
            PushError::Open { source, .. } => source.kind(),
            PushError::NoCredentials
            | PushError::NoLocation
            | PushError::Location(_)
            | PushError::Read { .. }
            | PushError::Unsteady(_)
            | PushError::Abandoned(_)
            | PushError::Compose(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            PushError::NoCredentials => Some(LOGIN.to_owned()),
            PushError::Source(error) => error.hint(),
            _ => None,
        }
    }
}

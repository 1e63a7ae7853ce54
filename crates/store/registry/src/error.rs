//! What can go wrong with a registry's content.

use std::{io, path::PathBuf};

use ferry_db::DbError;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Digest;
use ferry_transfer::BucketError;

/// What was asked for cannot be, by the rules of the registry. The words go to the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The repository has no such blob.
    #[error("blob unknown to registry")]
    BlobUnknown(Digest),
    /// A manifest refers to this blob, so it cannot be deleted.
    #[error("blob is in use by manifest {1}")]
    BlobInUse(Digest, Digest),
    /// The repository has no such manifest.
    #[error("manifest unknown")]
    ManifestUnknown(String),
    /// A manifest refers to what the repository does not have.
    #[error("blob unknown to registry")]
    ManifestBlobUnknown(Vec<Digest>),
    /// The manifest does not read.
    #[error("manifest invalid: {0}")]
    ManifestInvalid(String),
    /// The content has another digest.
    #[error("provided digest did not match uploaded content")]
    DigestMismatch {
        /// What was said.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// There is no such upload in the repository.
    #[error("blob upload unknown to registry")]
    UploadUnknown(String),
    /// Somebody else is sending to this upload.
    #[error("blob upload is busy: another request is sending to it")]
    UploadBusy(String),
    /// More than the registry takes.
    #[error("content is larger than {0} bytes, the most that this registry takes")]
    TooLarge(u64),
    /// More uploads than the registry keeps, and somebody was at each of them not long ago.
    #[error("too many uploads are under way: {0}, the most that this registry keeps")]
    TooManyUploads(usize),
    /// The disk is full.
    #[error("no space is left in the registry")]
    NoSpace,
    /// The repository is not known.
    #[error("repository name not known to registry")]
    RepositoryUnknown(String),
    /// The tag must stay as it is.
    #[error("tag {0} is immutable")]
    TagImmutable(String),
}

/// An operation on a registry's content failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The file system failed.
    #[error("cannot {doing} {}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has the directory.
    #[error("{} is in use by another registry", .0.display())]
    InUse(PathBuf),
    /// The records failed.
    #[error("cannot use the registry's records")]
    Records(#[from] DbError),
    /// The bucket failed.
    #[error("cannot use the registry's bucket")]
    Bucket(#[from] BucketError),
    /// The bucket is not what it should be.
    #[error("{0}")]
    Storage(String),
    /// The machine gives no random numbers.
    #[error("cannot make a random id")]
    Random,
}

impl StoreError {
    /// A failure of `doing` something to `path`; a full disk is a refusal of its own.
    pub(crate) fn file(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.into();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Refusal::NoSpace.into(),
            _ => StoreError::File { doing, path, source },
        }
    }
}

impl Kinded for StoreError {
    fn kind(&self) -> ErrorKind {
        match self {
            StoreError::Refused(refusal) => refusal.kind(),
            StoreError::InUse(_) => ErrorKind::Conflict,
            StoreError::Records(error) => error.kind(),
            StoreError::Bucket(error) => error.kind(),
            StoreError::Storage(_) => ErrorKind::Conflict,
            StoreError::File { .. } | StoreError::Random => ErrorKind::Internal,
        }
    }
}

impl Kinded for Refusal {
    fn kind(&self) -> ErrorKind {
        match self {
            Refusal::BlobUnknown(_)
            | Refusal::ManifestUnknown(_)
            | Refusal::RepositoryUnknown(_)
            | Refusal::UploadUnknown(_) => ErrorKind::NotFound,
            Refusal::ManifestBlobUnknown(_)
            | Refusal::ManifestInvalid(_)
            | Refusal::DigestMismatch { .. } => ErrorKind::InvalidArgument,
            Refusal::UploadBusy(_) | Refusal::BlobInUse(..) | Refusal::TagImmutable(_) => {
                ErrorKind::Conflict
            }
            Refusal::TooLarge(_) => ErrorKind::TooLarge,
            Refusal::NoSpace | Refusal::TooManyUploads(_) => ErrorKind::Unavailable,
        }
    }
}

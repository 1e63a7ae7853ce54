//! What can go wrong, one error per operation.

use std::io;
use std::path::PathBuf;

use ferry_archive::{ApplyError, OpenRecipeError};
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Digest;

/// No such layer in the store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("layer {diff_id} is not in the store")]
pub struct UnknownLayer {
    /// Which one.
    pub diff_id: Digest,
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStoreError {
    /// Its directory cannot be made, read or cleaned.
    #[error("cannot open the layer store {path:?}")]
    Open {
        /// The store's directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not tell its boot id.
    #[error("cannot read the kernel's boot id")]
    BootId(#[source] io::Error),
}

/// Why a stream does not become a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// No place to unpack to.
    #[error("cannot prepare a place for the layer")]
    Prepare(#[source] io::Error),
    /// The stream or the unpacking failed.
    #[error("cannot ingest the layer")]
    Apply(#[from] ApplyError),
    /// The tar is a whole one, but another.
    #[error("layer has diff id {actual}, expected {expected}")]
    Mismatch {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The finished layer cannot be put in its place.
    #[error("cannot commit the layer")]
    Commit(#[source] io::Error),
}

/// Why a layer's tar cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenTarError {
    /// No such layer.
    #[error(transparent)]
    Unknown(#[from] UnknownLayer),
    /// Its directory cannot be opened.
    #[error("cannot open layer {diff_id}")]
    OpenLayer {
        /// Which layer.
        diff_id: Digest,
        /// Why not.
        source: io::Error,
    },
    /// Its recipe cannot be opened.
    #[error("cannot open the recipe of layer {diff_id}")]
    OpenRecipe {
        /// Which layer.
        diff_id: Digest,
        /// Why not.
        source: OpenRecipeError,
    },
}

/// Why a layer is not known to be whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It cannot even be opened.
    #[error(transparent)]
    Open(#[from] OpenTarError),
    /// It does not make its tar any more.
    #[error("layer {diff_id} is damaged")]
    Damaged {
        /// Which layer.
        diff_id: Digest,
        /// What was found.
        source: io::Error,
    },
}

/// Why layers may not survive a power cut.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The file system could not write everything.
    #[error("cannot sync the layer store")]
    Flush(#[source] io::Error),
    /// It did, but a layer could not be marked.
    #[error("cannot mark layer {diff_id} as synced")]
    Mark {
        /// Which layer.
        diff_id: Digest,
        /// Why not.
        source: io::Error,
    },
}

/// Why a layer cannot be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// No such layer.
    #[error(transparent)]
    Unknown(#[from] UnknownLayer),
    /// Somebody has just made it, or reads it.
    #[error("layer {diff_id} is in use")]
    InUse {
        /// Which layer.
        diff_id: Digest,
    },
    /// It is out of the store, but not all of its files are gone; the next sweep tries again.
    #[error("cannot remove layer {diff_id}")]
    Remove {
        /// Which layer.
        diff_id: Digest,
        /// Why not.
        source: io::Error,
    },
}

impl Kinded for UnknownLayer {
    fn kind(&self) -> ErrorKind {
        ErrorKind::NotFound
    }
}

impl Kinded for OpenStoreError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Kinded for IngestError {
    fn kind(&self) -> ErrorKind {
        match self {
            IngestError::Apply(error) => error.kind(),
            IngestError::Mismatch { .. } => ErrorKind::InvalidArgument,
            IngestError::Prepare(_) | IngestError::Commit(_) => ErrorKind::Internal,
        }
    }
}

impl Kinded for OpenTarError {
    fn kind(&self) -> ErrorKind {
        match self {
            OpenTarError::Unknown(error) => error.kind(),
            OpenTarError::OpenLayer { .. } | OpenTarError::OpenRecipe { .. } => ErrorKind::Internal,
        }
    }
}

impl Kinded for VerifyError {
    fn kind(&self) -> ErrorKind {
        match self {
            VerifyError::Open(error) => error.kind(),
            VerifyError::Damaged { .. } => ErrorKind::Internal,
        }
    }
}

impl Kinded for SyncError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Kinded for RemoveError {
    fn kind(&self) -> ErrorKind {
        match self {
            RemoveError::Unknown(error) => error.kind(),
            RemoveError::InUse { .. } => ErrorKind::Conflict,
            RemoveError::Remove { .. } => ErrorKind::Internal,
        }
    }
}

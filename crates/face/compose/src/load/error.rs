//! Why a project cannot be loaded.

use ferry_errkind::{ErrorKind, Kinded};

/// A project cannot be loaded. The words are Compose's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoadError {
    /// There is no Compose file in the directory or above.
    #[error("no configuration file provided: not found")]
    NoFile,
    /// A file cannot be read.
    #[error("open {path}: {why}")]
    Open { path: String, why: String },
    /// A file is larger than what is read.
    #[error("{path}: file is larger than {limit} bytes")]
    TooLarge { path: String, limit: u64 },
    /// Mistakes in files, each on a line of its own.
    #[error("{0}")]
    Invalid(String),
    /// The pieces do not fit, each on a line of its own.
    #[error("{0}")]
    Inconsistent(String),
    /// A name that no project may have.
    #[error(
        "invalid project name {0:?}: must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
    )]
    ProjectName(String),
    /// No name is left of the directory's.
    #[error("project name must not be empty")]
    NoProjectName,
    /// What the specification has and this program does not.
    #[error("not supported yet: {0}")]
    NotSupported(String),
    /// What lies elsewhere cannot be had.
    #[error("cannot load {what}: {why}")]
    Remote { what: String, why: String },
}

impl LoadError {
    /// Says where that is named which cannot be opened.
    pub(super) fn named_at(self, place: &str) -> LoadError {
        match self {
            LoadError::Open { path, why } => {
                LoadError::Open { path, why: format!("{why} (named at {place})") }
            }
            other => other,
        }
    }
}

impl Kinded for LoadError {
    fn kind(&self) -> ErrorKind {
        match self {
            LoadError::NoFile | LoadError::Open { .. } => ErrorKind::NotFound,
            LoadError::Remote { .. } => ErrorKind::Unavailable,
            LoadError::NotSupported(_) => ErrorKind::NotImplemented,
            _ => ErrorKind::InvalidArgument,
        }
    }
}

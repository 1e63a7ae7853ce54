//! What a Dockerfile can ask for that cannot be.

use ferry_dockerfile::ExpandError;
use ferry_errkind::{ErrorKind, Kinded};

/// Why a Dockerfile cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Variables in an instruction.
    #[error("failed to process {word:?}")]
    Expand {
        /// What they are in.
        word: String,
        /// Why not.
        source: ExpandError,
    },
    /// `--target` names nothing.
    #[error("target stage \"{0}\" could not be found")]
    NoTarget(String),
    /// Something before `FROM`.
    #[error("no build stage in current context")]
    NoStage,
    /// Only `ARG`s.
    #[error("dockerfile contains no stages to build")]
    NoStages,
    /// The image's name is empty once variables are replaced.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// `EXPOSE` of what is no port.
    #[error("Invalid containerPort: {0}")]
    Port(String),
    /// An instruction's value.
    #[error("{0}")]
    Value(String),
}

impl Kinded for BuildError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

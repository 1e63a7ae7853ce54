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
    #[error("target stage \"{name}\" could not be found{near}")]
    NoTarget {
        /// What it says.
        name: String,
        /// What it may have meant.
        near: String,
    },
    /// An instruction takes from a stage that it cannot take from.
    #[error("{words}")]
    From {
        /// The instruction's first line, from 1, and its last.
        lines: (usize, usize),
        /// Why not.
        words: String,
    },
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
    #[error("invalid containerPort: {0}")]
    Port(String),
    /// An instruction's value.
    #[error("{0}")]
    Value(String),
}

impl BuildError {
    /// The lines of the Dockerfile at fault, where only they are known.
    pub fn lines(&self) -> Option<(usize, usize)> {
        match self {
            BuildError::From { lines, .. } => Some(*lines),
            _ => None,
        }
    }
}

impl Kinded for BuildError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

//! What can be wrong with a Dockerfile, in Docker's words.

use ferry_errkind::{ErrorKind, Kinded};

/// Why a Dockerfile does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// It is too long.
    #[error("the Dockerfile is longer than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
    /// It is not text.
    #[error("the Dockerfile is not UTF-8")]
    NotText,
    /// There is no instruction in it.
    #[error("file with no instructions")]
    Empty,
    /// Something in a line.
    #[error("dockerfile parse error on line {line}: {words}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What.
        words: String,
    },
}

impl Kinded for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Why the variables in a word cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A quote is not closed.
    #[error("unexpected end of statement while looking for matching {0}-quote")]
    Quote(&'static str),
    /// A brace is not closed, or nothing is in it.
    #[error("syntax error: {0}")]
    Syntax(&'static str),
    /// `${name@…}`.
    #[error("unsupported modifier ({0}) in substitution")]
    Modifier(String),
    /// `${name:?why}` of a variable that is not set.
    #[error("{name}: {why}")]
    Required {
        /// The variable.
        name: String,
        /// The words after the question mark.
        why: String,
    },
    /// The result is too long.
    #[error("a value is longer than {limit} bytes")]
    TooLong {
        /// Most bytes.
        limit: usize,
    },
}

impl Kinded for ExpandError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

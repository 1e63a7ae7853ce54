//! Refusals: what a client asked for and cannot have.

use ferry_errkind::{ErrorKind, Failure};

/// 400: the request is wrong.
pub(crate) fn invalid(words: impl Into<String>) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

/// 501: Docker has it, Ferry not yet. Never ignored, always named.
pub(crate) fn unsupported(what: &str) -> Failure {
    Failure::new(ErrorKind::NotImplemented, format!("Ferry does not support {what} yet"))
}

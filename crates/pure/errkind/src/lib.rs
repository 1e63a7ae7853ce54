//! Error kinds, chain reports, hints: what a face needs to know of an error without knowing the error.
//!
//! Knows: nothing but kinds and text. Does not know: HTTP bodies, gRPC, exit codes of commands (faces map kinds to those).
//! Start with [`ErrorKind`], [`Kinded`], [`Failure`].

use std::{error::Error, fmt};

/// What sort of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request itself is wrong.
    InvalidArgument,
    /// Who asks is not known.
    Unauthorized,
    /// Who asks may not.
    Forbidden,
    /// What is asked for is not there.
    NotFound,
    /// It is so already.
    NotModified,
    /// The present state does not allow it.
    Conflict,
    /// More than a limit allows.
    TooLarge,
    /// Something needed is not there for the moment.
    Unavailable,
    /// Ferry does not do this.
    NotImplemented,
    /// Ours, the machine's or the kernel's fault.
    Internal,
}

impl ErrorKind {
    /// The HTTP status that Docker answers for this kind.
    pub fn http_status(self) -> u16 {
        match self {
            ErrorKind::InvalidArgument => 400,
            ErrorKind::Unauthorized => 401,
            ErrorKind::Forbidden => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::NotModified => 304,
            ErrorKind::Conflict => 409,
            ErrorKind::TooLarge => 413,
            ErrorKind::Unavailable => 503,
            ErrorKind::NotImplemented => 501,
            ErrorKind::Internal => 500,
        }
    }
}

/// An error that knows its kind, and perhaps what to do about it.
pub trait Kinded: Error {
    /// The kind.
    fn kind(&self) -> ErrorKind;

    /// What the user can do, as a sentence without "hint:".
    fn hint(&self) -> Option<String> {
        None
    }
}

/// The messages of an error and its sources, `a: b: c`. A source that only repeats what was said is left out.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !message.is_empty() && !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

/// An error at the waist: kind, words for the user, a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with words of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hint: None }
    }

    /// A failure with the kind, the whole chain of messages and the hint of `error`.
    pub fn of(error: impl Kinded) -> Self {
        Failure { kind: error.kind(), message: chain(&error), hint: error.hint() }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts words and a colon before the message.
    #[must_use]
    pub fn context(mut self, words: impl fmt::Display) -> Self {
        self.message = format!("{words}: {}", self.message);
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The words for the user, without the hint.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl<E: Kinded> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::of(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot open x")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    impl Kinded for Outer {
        fn kind(&self) -> ErrorKind {
            ErrorKind::NotFound
        }
    }

    #[test]
    fn a_failure_tells_the_whole_chain() {
        let failure = Failure::from(Outer(std::io::Error::other("no disk"))).context("starting");
        assert_eq!(failure.to_string(), "starting: cannot open x: no disk");
        assert_eq!(failure.kind().http_status(), 404);
    }
}

//! Why something of a repository could not be read or written.

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Digest;

use crate::{PushError, Refusal, TokenError, http::RequestError, source::SourceError};

/// Something of a repository could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// The registry does not take or give it.
    #[error(transparent)]
    Push(#[from] PushError),
    /// An answer broke off.
    #[error(transparent)]
    Request(RequestError),
    /// It is not what it was asked for by.
    #[error("what the registry gives as {0} has another digest")]
    Digest(Digest),
    /// An answer is not what it should be.
    #[error("the registry's answer to {0} does not read")]
    Answer(&'static str),
}

impl Kinded for RepositoryError {
    fn kind(&self) -> ErrorKind {
        match self {
            RepositoryError::Push(error) => error.kind(),
            RepositoryError::Request(error) => error.kind(),
            RepositoryError::Digest(_) | RepositoryError::Answer(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            RepositoryError::Push(error) => error.hint(),
            RepositoryError::Request(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<SourceError> for RepositoryError {
    fn from(error: SourceError) -> RepositoryError {
        RepositoryError::Push(error.into())
    }
}

impl RepositoryError {
    /// What the registry, or its token server, answered instead.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            RepositoryError::Push(PushError::Source(error)) => error.refusal(),
            _ => None,
        }
    }

    /// Whether the registry wants to know who asks, or does not let them.
    pub fn is_denied(&self) -> bool {
        let wanted = matches!(self, RepositoryError::Push(PushError::NoCredentials))
            || matches!(
                self,
                RepositoryError::Push(PushError::Source(SourceError::NoCredentials { .. }))
            );
        wanted || self.refusal().is_some_and(|refusal| matches!(refusal.status, 401 | 403))
    }

    /// Whether no whole answer came: nobody there, a connection that broke, nothing for a long time.
    pub fn is_broken(&self) -> bool {
        match self {
            RepositoryError::Request(error) => error.is_broken(),
            RepositoryError::Push(PushError::Source(SourceError::Request(error))) => {
                error.is_broken()
            }
            RepositoryError::Push(PushError::Source(SourceError::Token { source, .. })) => {
                matches!(&**source, TokenError::Request(error) if error.is_broken())
            }
            _ => false,
        }
    }
}

//! Why a request failed.

use ferry_errkind::{ErrorKind, Kinded};

use crate::{Endpoint, tls::TlsError};

/// A request failed. Where docker's command line has words for it, these are the words.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing listens there.
    #[error(
        "Cannot connect to the {product} daemon at {endpoint}. Is the {} daemon running?",
        product.to_lowercase()
    )]
    Connect {
        /// `Docker` or `Ferry`.
        product: &'static str,
        /// Where.
        endpoint: Endpoint,
        /// What the kernel said; docker does not show it.
        reason: std::io::Error,
    },
    /// The socket is there, but not for this user.
    #[error(
        "permission denied while trying to connect to the {product} daemon socket at {endpoint}: dial {}: connect: permission denied",
        endpoint.to_string().replacen("://", " ", 1)
    )]
    Denied {
        /// `Docker` or `Ferry`.
        product: &'static str,
        /// Where.
        endpoint: Endpoint,
        /// What the kernel said; the words have it already.
        reason: std::io::Error,
    },
    /// The name of the host is unknown, or the connection failed in a way of its own.
    #[error("error during connect: dial {endpoint}")]
    Dial {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        source: std::io::Error,
    },
    /// TLS could not be set up.
    #[error("unable to resolve docker endpoint")]
    Tls(#[from] TlsError),
    /// The daemon answered with an error.
    #[error("Error response from daemon: {message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// The daemon's words.
        message: String,
        /// What to do about it, from our own daemon.
        hint: Option<String>,
    },
    /// The request could not be made: a name in it is no HTTP.
    #[error("cannot make the request \"{path}\"")]
    Build {
        /// What was asked for.
        path: String,
        /// Why.
        source: http::Error,
    },
    /// The body could not be written as JSON.
    #[error("cannot write the request's body as JSON")]
    Encode {
        /// Why.
        source: serde_json::Error,
    },
    /// The connection broke before the answer came.
    #[error("error during connect: the daemon at {endpoint} did not answer \"{path}\"")]
    Send {
        /// Where.
        endpoint: Endpoint,
        /// What was asked for.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection broke within the answer.
    #[error("cannot read the daemon's answer to \"{path}\"")]
    Receive {
        /// What was asked for.
        path: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The answer is larger than anything sensible.
    #[error("the daemon's answer to \"{path}\" is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        path: String,
        /// How much is read.
        limit: usize,
    },
    /// The answer is not what the API says.
    #[error("cannot understand the daemon's answer to \"{path}\"")]
    Decode {
        /// What was asked for.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// The daemon does not answer in HTTP.
    #[error("the daemon's answer to \"{path}\" is not HTTP")]
    NotHttp {
        /// What was asked for.
        path: String,
    },
}

impl ClientError {
    /// The HTTP status, when the daemon answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Api { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// The daemon says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The daemon's words, without what stands before them; everything for other failures.
    pub fn message(&self) -> String {
        match self {
            ClientError::Api { message, .. } => message.clone(),
            other => ferry_errkind::chain(other),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Kinded::hint(self)
    }
}

impl Kinded for ClientError {
    fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Connect { .. } | ClientError::Dial { .. } => ErrorKind::Unavailable,
            ClientError::Denied { .. } => ErrorKind::Forbidden,
            ClientError::Tls(_) | ClientError::Build { .. } | ClientError::Encode { .. } => {
                ErrorKind::InvalidArgument
            }
            ClientError::Api { status, .. } => kind_of(*status),
            ClientError::Send { .. }
            | ClientError::Receive { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Decode { .. }
            | ClientError::NotHttp { .. } => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ClientError::Api { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}

fn kind_of(status: u16) -> ErrorKind {
    match status {
        304 => ErrorKind::NotModified,
        400 => ErrorKind::InvalidArgument,
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        501 => ErrorKind::NotImplemented,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

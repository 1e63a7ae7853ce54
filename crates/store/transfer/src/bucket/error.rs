//! Why a bucket does not do what it is asked.

use std::path::PathBuf;

use ferry_errkind::{ErrorKind, Kinded};

use super::address::InvalidAddress;
use crate::http::RequestError;

/// A bucket did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// Nobody says who we are.
    #[error(
        "no credentials for the bucket: neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor a file with them"
    )]
    NoCredentials,
    /// The file with the credentials is of no use.
    #[error("cannot read credentials from {}: {why}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The address leads nowhere.
    #[error(transparent)]
    Address(#[from] InvalidAddress),
    /// No whole answer came.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// It refuses.
    #[error("the bucket answered {status} {code} to {doing} {object}: {message}")]
    Refused {
        /// What was asked.
        doing: &'static str,
        /// About which object.
        object: String,
        /// HTTP's status.
        status: u16,
        /// S3's code: `AccessDenied`, `NoSuchBucket`, …
        code: String,
        /// Its words.
        message: String,
    },
    /// What it says cannot be.
    #[error("the bucket's answer to {doing} {object} cannot be: {why}")]
    Answer {
        /// What was asked.
        doing: &'static str,
        /// About which object.
        object: String,
        /// What is wrong.
        why: String,
    },
    /// What is to be sent cannot be read.
    #[error("cannot read what is sent to the bucket")]
    Read(#[source] std::io::Error),
}

impl BucketError {
    /// Trying again may help.
    pub fn is_passing(&self) -> bool {
        match self {
            BucketError::Request(error) => error.fault.is_passing(),
            BucketError::Refused { status, .. } => matches!(status, 408 | 429 | 500 | 502..=599),
            _ => false,
        }
    }
}

impl Kinded for BucketError {
    fn kind(&self) -> ErrorKind {
        match self {
            BucketError::Address(_) => ErrorKind::InvalidArgument,
            error if error.is_passing() => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BucketError::Request(error) => error.hint(),
            BucketError::NoCredentials => Some(
                "set the two variables, or write credentials=FILE into the storage's address"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

use ferry_db::DbError;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Digest;

/// An image could not be found, kept or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is none of that name. Docker's words.
    #[error("No such image: {0}")]
    NotFound(String),
    /// It is not even a name. Docker's words.
    #[error(transparent)]
    Name(ferry_oci::ReferenceError),
    /// Several ids begin so.
    #[error("Multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// Docker would refuse, too.
    #[error("{0}")]
    Conflict(String),
    /// A configuration is none.
    #[error("image {id} has a broken configuration")]
    Config {
        /// The image.
        id: Digest,
        /// Why.
        source: ferry_oci::ParseError,
    },
    /// Its record cannot be read or written.
    #[error("cannot keep the record of an image")]
    Record {
        /// Why.
        source: DbError,
    },
}

impl Kinded for ImageError {
    fn kind(&self) -> ErrorKind {
        match self {
            ImageError::NotFound(_) => ErrorKind::NotFound,
            ImageError::Name(_) | ImageError::Ambiguous(_) | ImageError::Config { .. } => {
                ErrorKind::InvalidArgument
            }
            ImageError::Conflict(_) => ErrorKind::Conflict,
            ImageError::Record { .. } => ErrorKind::Internal,
        }
    }
}

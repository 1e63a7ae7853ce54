//! The engine's failures as gRPC's statuses.

use ferry_errkind::{ErrorKind, Failure};
use tonic::{Code, Status};

/// What a call answers.
pub(crate) type Answer<T> = Result<tonic::Response<T>, Status>;

/// The status for a failure: code by kind, the failure's words.
pub(crate) fn refused(failure: Failure) -> Status {
    Status::new(code(failure.kind()), failure.message())
}

/// A request that is wrong in itself.
pub(crate) fn invalid(words: impl Into<String>) -> Status {
    Status::invalid_argument(words)
}

/// The answer to a call that has none but that it was done.
pub(crate) fn done<T>(message: T) -> Answer<T> {
    Ok(tonic::Response::new(message))
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::Unauthorized => Code::Unauthenticated,
        ErrorKind::Forbidden => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::NotModified => Code::AlreadyExists,
        ErrorKind::Conflict => Code::FailedPrecondition,
        ErrorKind::TooLarge => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::NotImplemented => Code::Unimplemented,
        // As containerd, whose kubelet-side readers look for it.
        ErrorKind::Internal => Code::Unknown,
    }
}

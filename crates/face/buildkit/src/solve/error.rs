//! Errors as gRPC's, and back: with the lines of the Dockerfile, which BuildKit's clients show.

use base64::{Engine, engine::general_purpose::STANDARD};
use ferry_engine::ops::build::BuildError;
use ferry_errkind::{ErrorKind, Failure};
use prost::Message;
use serde_json::json;
use tonic::{Code, Status};

use crate::proto::google::rpc;

/// The name under which Go's clients know `errdefs.Source`; its value is JSON, as everything in BuildKit's details.
const SOURCE: &str = "github.com/moby/buildkit/errdefs.Source+json";

/// A failure as clients of BuildKit see it.
pub(crate) fn failed(failure: &Failure) -> Status {
    let mut words = words(failure.message());
    if let Some(hint) = failure.hint() {
        words.push_str(&format!(" (hint: {hint})"));
    }
    // Clients put any other code before the words.
    Status::new(Code::Unknown, words)
}

/// A failed build, with its place in the Dockerfile.
pub(super) fn of_build(error: &BuildError, file: &str, text: &str) -> Status {
    let plain = failed(&error.failure);
    let Some(excerpt) = &error.excerpt else { return plain };
    let line = |number: usize| json!({ "line": number });
    let source = json!({
        "info": { "filename": file, "data": STANDARD.encode(text), "language": "Dockerfile" },
        "ranges": [{ "start": line(excerpt.first), "end": line(excerpt.last) }],
    });
    let detail =
        prost_types::Any { type_url: SOURCE.to_owned(), value: source.to_string().into_bytes() };
    let details = rpc::Status {
        code: plain.code().into(),
        message: plain.message().to_owned(),
        details: vec![detail],
    };
    Status::with_details(plain.code(), plain.message(), details.encode_to_vec().into())
}

/// A status as message.
pub(crate) fn to_proto(status: &Status) -> rpc::Status {
    let whole = rpc::Status::decode(status.details()).ok().filter(|whole| whole.code != 0);
    whole.unwrap_or_else(|| rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// A status from a message.
pub(crate) fn of_proto(status: &rpc::Status) -> Status {
    Status::with_details(Code::from(status.code), &status.message, status.encode_to_vec().into())
}

/// What a client answered to a call of ours.
pub(crate) fn of_status(status: &Status) -> Failure {
    let kind = match status.code() {
        Code::NotFound => ErrorKind::NotFound,
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::Unimplemented => ErrorKind::NotImplemented,
        _ => ErrorKind::Unavailable,
    };
    Failure::new(kind, status.message())
}

/// BuildKit's words for a process that failed; the engine has the classic builder's.
pub(super) fn words(message: &str) -> String {
    let classic = || {
        let rest = message.strip_prefix("The command '")?;
        let (command, code) = rest.rsplit_once("' returned a non-zero code: ")?;
        Some(format!("process {command:?} did not complete successfully: exit code: {code}"))
    };
    classic().unwrap_or_else(|| message.to_owned())
}

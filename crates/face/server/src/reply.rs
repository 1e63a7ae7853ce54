//! Answers.

use bytes::Bytes;
use ferry_docker_api::ErrorResponse;
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use serde::Serialize;

use crate::body::Body;

/// What a handler answers.
pub(crate) type Reply = Response<Body>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// 200 with JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<Reply, Failure> {
    json_status(StatusCode::OK, value)
}

/// 201 with JSON.
pub(crate) fn created<T: Serialize>(value: &T) -> Result<Reply, Failure> {
    json_status(StatusCode::CREATED, value)
}

/// 204, which carries no body.
pub(crate) fn no_content() -> Reply {
    status(StatusCode::NO_CONTENT)
}

/// A status without a body.
pub(crate) fn status(status: StatusCode) -> Reply {
    let mut reply = Reply::new(Body::empty());
    *reply.status_mut() = status;
    reply
}

/// 200 with a body of some type.
pub(crate) fn content(kind: &'static str, body: Body) -> Reply {
    let mut reply = Reply::new(body);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// 200 with JSON values one after another.
pub(crate) fn json_stream(body: Body) -> Reply {
    content("application/json", body)
}

/// A failure as Docker tells it: a status and `{"message": …}`.
pub(crate) fn failure(failure: &Failure) -> Reply {
    let kind = failure.kind();
    if kind == ErrorKind::NotModified {
        return status(StatusCode::NOT_MODIFIED);
    }
    let error = ErrorResponse {
        message: failure.message().to_owned(),
        hint: failure.hint().unwrap_or_default().to_owned(),
    };
    let status =
        StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_status(status, &error).unwrap_or_else(|_| self::status(status))
}

fn json_status<T: Serialize>(status: StatusCode, value: &T) -> Result<Reply, Failure> {
    let mut text = serde_json::to_vec(value).map_err(|error| {
        Failure::new(ErrorKind::Internal, format!("cannot write the answer as JSON: {error}"))
    })?;
    text.push(b'\n');
    let mut reply = Reply::new(Body::Full(Some(Bytes::from(text))));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, JSON);
    Ok(reply)
}

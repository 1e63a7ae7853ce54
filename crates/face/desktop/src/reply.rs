//! Answers, and the headers that all of them carry.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Frame};
use serde_json::json;
use tokio::sync::mpsc::Receiver;

/// The body of an answer.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, std::io::Error>;
/// An answer.
pub(crate) type Reply = Response<ReplyBody>;

/// Nothing that is answered may be framed, guessed to be a page, kept by caches, or read by other sites.
const COMMON: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What an answer that is no page may do.
pub(crate) const INERT: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// An answer with this body.
pub(crate) fn reply(status: StatusCode, kind: &str, body: impl Into<Bytes>) -> Reply {
    let full = Full::new(body.into()).map_err(|never: Infallible| match never {});
    with_body(status, kind, full.boxed_unsync())
}

/// An answer with a body that comes piece by piece.
pub(crate) fn with_body(status: StatusCode, kind: &str, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    for (name, value) in COMMON {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    set(&mut reply, header::CONTENT_TYPE, kind);
    set(&mut reply, header::CONTENT_SECURITY_POLICY, INERT);
    set(&mut reply, header::CACHE_CONTROL, "no-store");
    reply
}

/// Sets a header; a value that cannot stand in one is left out.
pub(crate) fn set(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// A failure in the Engine API's form.
pub(crate) fn failure(status: u16, message: &str, hint: Option<&str>) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut body = json!({ "message": message });
    if let Some(hint) = hint {
        body["hint"] = hint.into();
    }
    reply(status, "application/json", body.to_string())
}

/// A body whose pieces another task sends.
#[derive(Debug)]
pub(crate) struct Pieces(pub(crate) Receiver<Result<Bytes, std::io::Error>>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

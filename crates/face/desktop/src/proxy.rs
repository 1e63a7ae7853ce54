//! Requests of the page that go on to the daemon.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use ferry_client::{Answer, Call, ClientError};
use http::{HeaderMap, HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use tokio::{
    io::{AsyncRead, ReadBuf},
    sync::mpsc,
};

use crate::{
    reply::{Pieces, Reply, failure, set, with_body},
    server::Shared,
};

/// JSON of the page: the settings of a container are a few kilobytes.
const JSON_LIMIT: usize = 4 << 20;
/// Pieces of an answer that may be on their way to a slow browser.
const AHEAD: usize = 8;

/// Headers of the page's requests that mean something to the daemon.
const PASSED_ON: [HeaderName; 1] = [HeaderName::from_static("x-registry-auth")];
/// Headers of the daemon's answers that mean something to the page.
const PASSED_BACK: [&str; 3] = ["x-docker-container-path-stat", "api-version", "server"];

/// Sends a request on and its answer back.
pub(crate) async fn forward(shared: &Arc<Shared>, path: &str, request: Request<Incoming>) -> Reply {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let (parts, body) = request.into_parts();
    let mut call = shared.client.request(parts.method.clone(), target);
    if !parts.headers.contains_key(&PASSED_ON[0])
        && let Some(auth) = shared.login_for(&parts.method, path, parts.uri.query()).await
    {
        call = call.header(PASSED_ON[0].as_str(), auth);
    }
    let call = match with_payload(
        pass_on(call, &parts.headers),
        &parts.method,
        &parts.headers,
        body,
    )
    .await
    {
        Ok(call) => call,
        Err(reply) => return *reply,
    };
    match call.send().await {
        Ok(answer) => back(answer, &parts.method, path),
        Err(error) => refused(&error),
    }
}

fn pass_on(mut call: Call, headers: &HeaderMap) -> Call {
    for name in &PASSED_ON {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            call = call.header(name.as_str(), value);
        }
    }
    call
}

async fn with_payload(
    call: Call,
    method: &Method,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Call, Box<Reply>> {
    if !matches!(*method, Method::POST | Method::PUT) || body.is_end_stream() {
        return Ok(call);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if kind == Some("application/x-tar") {
        let length = body.size_hint().exact();
        return Ok(call.upload("application/x-tar", Upload { body, left: Bytes::new() }, length));
    }
    match Limited::new(body, JSON_LIMIT).collect().await {
        Ok(bytes) => Ok(call.bytes_body("application/json", bytes.to_bytes())),
        Err(_) => Err(Box::new(failure(413, "the request is too large", None))),
    }
}

/// The daemon's answer. Whatever it is, it is shown as data: text of containers never becomes a page.
fn back(mut answer: Answer, method: &Method, path: &str) -> Reply {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    let json =
        answer.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let kind = if json { "application/json" } else { "application/octet-stream" };
    let passed: Vec<(&str, String)> = PASSED_BACK
        .iter()
        .filter_map(|name| Some((*name, answer.header(name)?.to_owned())))
        .collect();
    let (sender, receiver) = mpsc::channel(AHEAD);
    let head_only = *method == Method::HEAD;
    let sending = async move {
        loop {
            let piece = tokio::select! {
                piece = answer.chunk() => piece,
                // The browser has gone; the daemon is to know it.
                () = sender.closed() => return,
            };
            let piece = match piece {
                Ok(Some(piece)) => Ok(piece),
                Ok(None) => return,
                Err(error) => Err(std::io::Error::other(error)),
            };
            let broken = piece.is_err();
            if sender.send(piece).await.is_err() || broken {
                return;
            }
        }
    };
    if !head_only {
        tokio::spawn(sending);
    }
    let mut reply = with_body(status, kind, Pieces(receiver).boxed_unsync());
    for (name, value) in passed {
        set(&mut reply, HeaderName::from_static(name), &value);
    }
    if !json {
        let name = if path.contains("/archive") || path.ends_with("/get") {
            "files.tar"
        } else {
            "log.txt"
        };
        set(&mut reply, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    reply
}

/// A failure in the daemon's own words.
pub(crate) fn refused(error: &ClientError) -> Reply {
    let (status, message, hint) = words(error);
    failure(status, &message, hint.as_deref())
}

/// Status, message and hint of a failure.
pub(crate) fn words(error: &ClientError) -> (u16, String, Option<String>) {
    match error {
        ClientError::Api { status, message, hint } => (*status, message.clone(), hint.clone()),
        other => (502, ferry_errkind::chain(other), other.hint()),
    }
}

/// A body of the page as something to read from.
#[derive(Debug)]
struct Upload {
    body: Incoming,
    left: Bytes,
}

impl AsyncRead for Upload {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        while self.left.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.left = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(std::io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let count = self.left.len().min(into.remaining());
        into.put_slice(&self.left[..count]);
        self.left.advance(count);
        Poll::Ready(Ok(()))
    }
}

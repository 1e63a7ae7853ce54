//! What the proxy says itself.

use bytes::Bytes;
use ferry_engine::ops::names::HostName;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

/// A container's answer, or ours.
pub(crate) type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// An answer of words.
pub(crate) fn words(status: StatusCode, text: String) -> Answer {
    let mut answer = Response::new(Either::Right(Full::new(Bytes::from(text))));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    // Names of containers are what users wrote: never a page.
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// No such name; `known` are those that there are, in order.
pub(crate) fn unknown(host: &str, known: &[HostName], scheme: &str, port: u16) -> Answer {
    let mut text = format!("no container answers as {host}\n");
    let usual = if scheme == "https" { 443 } else { 80 };
    let port = if port == usual { String::new() } else { format!(":{port}") };
    let mut last = None;
    for one in known {
        if last == Some(&one.name) {
            continue;
        }
        let heading = if last.is_none() { "\nThese names lead to containers:\n" } else { "" };
        let state = one.target.as_ref().err().map(|why| format!(" ({why})")).unwrap_or_default();
        text.push_str(&format!("{heading}  {scheme}://{}.localhost{port}/{state}\n", one.name));
        last = Some(&one.name);
    }
    if last.is_none() {
        text.push_str("\nThere are no containers.\n");
    }
    words(StatusCode::NOT_FOUND, text)
}

//! Connections that leave HTTP: attach and exec. Spoken without hyper, because what follows the head belongs to the container, also
//! when the daemon answers `200` instead of `101`.

use std::fmt::Write;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{Call, ClientError, Stream, answer::api_error, body::Payload, call::api_version};

/// The head of an answer is never larger.
const HEAD_LIMIT: usize = 64 << 10;
const ERROR_LIMIT: usize = 1 << 20;

/// A connection that is a container's streams now.
#[derive(Debug)]
pub struct Hijacked {
    /// The connection.
    pub stream: Stream,
    /// What arrived together with the head: comes before everything that is read from `stream`.
    pub early: Bytes,
}

/// Sends the request on a connection of its own.
pub(crate) async fn hijack(call: &Call) -> Result<Hijacked, ClientError> {
    let target = call.target();
    let request = head(call, &target);
    let mut stream = call.client.dial().await?;
    stream.write_all(&request).await.map_err(|error| call.client.unanswered(&target, error))?;
    let mut buffer = BytesMut::with_capacity(4096);
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > HEAD_LIMIT {
            return Err(ClientError::TooLarge { path: target, limit: HEAD_LIMIT });
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return Err(call.client.unanswered(&target, "the connection was closed")),
            Ok(_) => {}
            Err(error) => return Err(call.client.unanswered(&target, error)),
        }
    };
    let head = buffer.split_to(end);
    let (status, headers) =
        parse_head(&head).ok_or_else(|| ClientError::NotHttp { path: target.clone() })?;
    if status.is_client_error() || status.is_server_error() {
        let body = error_body(&mut stream, buffer, &headers).await;
        return Err(api_error(status, &body, &target));
    }
    if let Some(version) = api_version(&headers) {
        call.client.heard(version);
    }
    Ok(Hijacked { stream, early: buffer.freeze() })
}

fn head(call: &Call, target: &str) -> Vec<u8> {
    let config = call.client.config();
    let mut text = format!(
        "{} {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n",
        call.method,
        call.client.host_header(),
        config.user_agent,
    );
    for (name, value) in config.headers.iter().chain(&call.headers) {
        // A line break would end the head before its end.
        if HeaderName::from_bytes(name.as_bytes()).is_ok() && HeaderValue::from_str(value).is_ok() {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let body: &[u8] = match &call.body {
        Payload::Full(bytes) => bytes,
        _ => &[],
    };
    let _ = write!(text, "Content-Length: {}\r\n\r\n", body.len());
    let mut request = text.into_bytes();
    request.extend_from_slice(body);
    request
}

fn parse_head(head: &[u8]) -> Option<(StatusCode, HeaderMap)> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.splitn(3, ' ');
    first.next()?.strip_prefix("HTTP/1.")?;
    let status = StatusCode::from_bytes(first.next()?.as_bytes()).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_str(value.trim()).ok()?);
    }
    Some((status, headers))
}

/// The body of an error; what cannot be read of it is missing from the message, nothing else.
async fn error_body(stream: &mut Stream, mut buffer: BytesMut, headers: &HeaderMap) -> Vec<u8> {
    let length: Option<usize> =
        headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    let chunked =
        headers.get("transfer-encoding").is_some_and(|coding| coding.as_bytes() == b"chunked");
    let complete = |buffer: &[u8]| match length {
        Some(length) => buffer.len() >= length,
        None => chunked && buffer.ends_with(b"0\r\n\r\n"),
    };
    while !complete(&buffer) && buffer.len() < ERROR_LIMIT {
        if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
            break;
        }
    }
    if chunked { unchunk(buffer) } else { buffer.to_vec() }
}

fn unchunk(mut buffer: BytesMut) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = buffer.windows(2).position(|window| window == b"\r\n") {
        let size = buffer.split_to(end);
        buffer.advance(2);
        let size = std::str::from_utf8(&size).ok().and_then(|text| {
            usize::from_str_radix(text.split(';').next().unwrap_or(text).trim(), 16).ok()
        });
        let Some(size @ 1..) = size else { break };
        let take = size.min(buffer.len());
        body.extend_from_slice(&buffer.split_to(take));
        buffer.advance(buffer.len().min(2));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let (status, headers) = parse_head(
            b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\n\r\n",
        )
        .unwrap();
        assert_eq!(status, 101);
        assert_eq!(headers["content-type"], "application/vnd.docker.raw-stream");
        assert!(parse_head(b"SSH-2.0-x\r\n\r\n").is_none());
    }

    #[test]
    fn chunks() {
        assert_eq!(unchunk(BytesMut::from("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")), b"abcde");
        assert_eq!(unchunk(BytesMut::from("ffff\r\nabc")), b"abc");
        assert_eq!(unchunk(BytesMut::from("zz\r\nabc")), b"");
    }
}

//! The Engine API without a client in between: one request a connection.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A daemon's socket.
#[derive(Debug, Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// Speaks to this socket.
    pub fn new(socket: &Path) -> Api {
        Api { socket: socket.to_owned() }
    }

    /// Status and body of a request. `path` has no version.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string);
        let (status, body) =
            self.raw(method, path, "application/json", body.as_deref().map(str::as_bytes));
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// As [`Api::call`] with any bytes.
    #[track_caller]
    pub fn raw(&self, method: &str, path: &str, kind: &str, body: Option<&[u8]>) -> (u16, Vec<u8>) {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        let body = body.unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: ferry\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The daemon may answer and close before it has read everything.
        drop(stream.write_all(body));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        parse(&answer)
    }

    /// Whether a daemon answers.
    pub fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok() && self.call("GET", "/_ping", None).0 == 200
    }
}

fn parse(answer: &[u8]) -> (u16, Vec<u8>) {
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..split]).into_owned();
    let body = answer.get(split + 4..).unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return (status, unchunk(body));
    }
    (status, body.to_vec())
}

fn unchunk(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..end]), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
    }
    whole
}

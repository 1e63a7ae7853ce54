//! A server that says what a test wants it to say.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// What was asked.
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) body: Vec<u8>,
}

/// Answers requests by status and JSON, for as long as the test runs; where it listens.
pub(super) fn serve(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || one(stream, &*answer));
        }
    });
    address
}

fn one(stream: TcpStream, answer: &dyn Fn(&Asked) -> (u16, String)) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() || !line.contains(" HTTP/1.") {
        // Who speaks TLS is told that nobody does here.
        let refused = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        return reader.get_mut().write_all(refused).ok();
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut chunked) = (0, false);
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let lower = line.trim().to_lowercase();
        match lower.split_once(": ") {
            Some(("content-length", text)) => length = text.parse().ok()?,
            Some(("transfer-encoding", "chunked")) => chunked = true,
            _ => {}
        }
        if lower.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    while chunked {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).ok()?;
        body.extend_from_slice(&chunk[..size]);
        chunked = size > 0;
    }
    let (status, json) = answer(&Asked { path, body });
    let length = json.len();
    let head = "Content-Type: application/json\r\nApi-Version: 1.51\r\nConnection: close";
    let text = format!("HTTP/1.1 {status} X\r\n{head}\r\nContent-Length: {length}\r\n\r\n{json}");
    reader.get_mut().write_all(text.as_bytes()).ok()
}

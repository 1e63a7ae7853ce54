//! An HTTP client that keeps its connection and does no more than it must.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// Of all manifests here.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A client of one registry.
pub(super) struct Client {
    host: String,
    stream: Option<BufReader<TcpStream>>,
}

/// The head of an answer.
struct Head {
    status: u16,
    length: Option<usize>,
    location: String,
    link: String,
}

fn failed(error: std::io::Error) -> String {
    format!("the connection broke: {error}")
}

impl Client {
    pub(super) fn new(host: &str) -> Client {
        Client { host: host.to_owned(), stream: None }
    }

    fn stream(&mut self) -> Result<&mut BufReader<TcpStream>, String> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.host).map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            self.stream = Some(BufReader::with_capacity(256 << 10, stream));
        }
        self.stream.as_mut().ok_or_else(|| "no connection".to_owned())
    }

    fn send(&mut self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<Head, String> {
        // Locations may be complete.
        let path = match path.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => path,
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: {MANIFEST}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        let stream = self.stream()?;
        stream.get_mut().write_all(head.as_bytes()).map_err(failed)?;
        stream.get_mut().write_all(body).map_err(failed)?;
        self.head()
    }

    fn head(&mut self) -> Result<Head, String> {
        let stream = self.stream()?;
        let mut line = String::new();
        stream.read_line(&mut line).map_err(failed)?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| format!("no answer: {line:?}"))?;
        let mut head = Head { status, length: None, location: String::new(), link: String::new() };
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).map_err(failed)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { return Ok(head) };
            match name.to_lowercase().as_str() {
                "content-length" => head.length = value.parse().ok(),
                "location" => head.location = value.to_owned(),
                "link" => head.link = value.to_owned(),
                _ => {}
            }
        }
    }

    /// Reads so many bytes of a body; nobody needs them.
    fn skip(&mut self, length: usize) -> Result<(), String> {
        let stream = self.stream()?;
        let mut left = length;
        while left > 0 {
            let have = stream.fill_buf().map_err(failed)?.len().min(left);
            if have == 0 {
                return Err("the body broke off".to_owned());
            }
            stream.consume(have);
            left -= have;
        }
        Ok(())
    }

    /// A body without a length is in chunks.
    fn body(&mut self, head: &Head) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        if let Some(length) = head.length {
            body.resize(length, 0);
            self.stream()?.read_exact(&mut body).map_err(failed)?;
            return Ok(body);
        }
        if head.status == 204 {
            return Ok(body);
        }
        loop {
            let stream = self.stream()?;
            let mut line = String::new();
            stream.read_line(&mut line).map_err(failed)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(|_| "no chunk")?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).map_err(failed)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }

    fn expect(&mut self, head: Head, status: u16) -> Result<Head, String> {
        let body = self.body(&head)?;
        if head.status == status {
            return Ok(head);
        }
        Err(format!("{} instead of {status}: {}", head.status, String::from_utf8_lossy(&body)))
    }

    pub(super) fn push_blob(
        &mut self,
        name: &str,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(), String> {
        let kind = "application/octet-stream";
        let begun = self.send("POST", &format!("/v2/{name}/blobs/uploads/"), kind, b"")?;
        let at = self.expect(begun, 202)?.location;
        let sent = self.send("PATCH", &at, kind, bytes)?;
        let at = self.expect(sent, 202)?.location;
        let sign = if at.contains('?') { '&' } else { '?' };
        let ended = self.send("PUT", &format!("{at}{sign}digest={digest}"), kind, b"")?;
        self.expect(ended, 201).map(drop)
    }

    pub(super) fn put_manifest(&mut self, name: &str, tag: &str, text: &str) -> Result<(), String> {
        let path = format!("/v2/{name}/manifests/{tag}");
        let put = self.send("PUT", &path, MANIFEST, text.as_bytes())?;
        self.expect(put, 201).map(drop)
    }

    /// Reads something and says how long it is.
    pub(super) fn get(&mut self, path: &str) -> Result<usize, String> {
        let head = self.send("GET", path, "", b"")?;
        match (head.status, head.length) {
            (200, Some(length)) => self.skip(length).map(|()| length),
            (status, _) => Err(format!("{status} for {path}")),
        }
    }

    /// Reads the first bytes of something.
    pub(super) fn get_some(&mut self, path: &str, some: usize) -> Result<(), String> {
        let head = self.send("GET", path, "", b"")?;
        if head.status != 200 {
            return Err(format!("{} for {path}", head.status));
        }
        self.skip(some)
    }

    /// A text, and where it goes on.
    pub(super) fn text(&mut self, path: &str) -> Result<(String, Option<String>), String> {
        let head = self.send("GET", path, "", b"")?;
        let body = self.body(&head)?;
        if head.status != 200 {
            return Err(format!("{} for {path}", head.status));
        }
        let next = head.link.strip_prefix('<').and_then(|link| link.split_once('>'));
        Ok((String::from_utf8_lossy(&body).into_owned(), next.map(|(at, _)| at.to_owned())))
    }
}

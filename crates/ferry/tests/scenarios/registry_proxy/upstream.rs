//! A registry that behaves as badly as it is told. A connection has one request.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Honest,
    /// Other bytes, as many.
    Lies,
    /// Half of it, then the connection breaks; a request for the rest is answered.
    Dies,
    /// Half of it, and no more.
    Stalls,
    /// Half of it, and the rest when it is honest again.
    Waits,
}

/// How a TLS connection begins.
const TLS: u8 = 0x16;

/// Digest and bytes.
pub(super) type Content = (String, Vec<u8>);

pub(super) struct Upstream {
    port: u16,
    state: Arc<State>,
    pub(super) small: Content,
    pub(super) large: Content,
    pub(super) manifest: Content,
}

struct State {
    mode: Mutex<Mode>,
    changed: Condvar,
    /// `GET /v2/…`.
    asked: Mutex<Vec<String>>,
    all: Vec<Content>,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let sum =
        ferry_testkit::run_with_input(std::process::Command::new("sha256sum").arg("-"), bytes);
    sum.stdout.split(' ').next().unwrap().to_owned()
}

fn content(bytes: Vec<u8>) -> Content {
    (format!("sha256:{}", hex(&bytes)), bytes)
}

impl Upstream {
    pub(super) fn start() -> Upstream {
        let small = content(b"{\"architecture\":\"amd64\",\"os\":\"linux\"}".to_vec());
        let large =
            content((0..3 << 20).map(|at: u32| (at / 7).to_le_bytes()[at as usize % 4]).collect());
        let text = format!(
            "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{}\",\"size\":{}}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"{}\",\"size\":{}}}]}}",
            small.0,
            small.1.len(),
            large.0,
            large.1.len()
        );
        let manifest = content(text.into_bytes());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State {
            mode: Mutex::new(Mode::Honest),
            changed: Condvar::new(),
            asked: Mutex::default(),
            all: vec![small.clone(), large.clone(), manifest.clone()],
        });
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || drop(state.serve(stream)));
            }
        });
        Upstream { port, state, small, large, manifest }
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
        self.state.changed.notify_all();
    }

    /// How often it was asked for something.
    pub(super) fn asked(&self, method: &str, what: &str) -> usize {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|line| line.starts_with(method) && line.contains(what)).count()
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut first = [0];
        if stream.peek(&mut first)? == 1 && first[0] == TLS {
            self.asked.lock().unwrap().push("TLS".to_owned());
            // As servers of plain HTTP answer.
            return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS here\n");
        }
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut from = 0;
        for line in lines {
            let line = line?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim_end_matches('-').parse().unwrap();
            }
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        self.asked.lock().unwrap().push(format!("{method} {path}"));
        let wanted = path.rsplit('/').next().unwrap_or_default();
        let found = match path.contains("/manifests/") && !wanted.contains(':') {
            true => self.all.last(),
            false => self.all.iter().find(|(digest, _)| digest == wanted),
        };
        match found {
            None if path == "/v2/" => self.answer(stream, "200 OK", "", &[], method),
            None => self.answer(stream, "404 Not Found", "", &[], method),
            Some((digest, bytes)) => {
                let kind = match path.contains("/manifests/") {
                    true => "application/vnd.oci.image.manifest.v1+json",
                    false => "application/octet-stream",
                };
                let mut head = format!(
                    "Content-Type: {kind}\r\nRateLimit-Limit: 100;w=21600\r\nRateLimit-Remaining: 76;w=21600\r\n"
                );
                if *self.mode.lock().unwrap() != Mode::Lies || method == "GET" {
                    head += &format!("Docker-Content-Digest: {digest}\r\n");
                }
                let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
                if from > 0 {
                    head += &format!(
                        "Content-Range: bytes {from}-{}/{}\r\n",
                        bytes.len() - 1,
                        bytes.len()
                    );
                }
                self.answer(stream, status, &head, &bytes[from..], method)
            }
        }
    }

    fn answer(
        &self,
        mut stream: TcpStream,
        status: &str,
        head: &str,
        bytes: &[u8],
        method: &str,
    ) -> std::io::Result<()> {
        let length = bytes.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{head}\r\n"
        )?;
        if method == "HEAD" || length == 0 {
            return Ok(());
        }
        let (first, second) = bytes.split_at(length / 2);
        let mode = *self.mode.lock().unwrap();
        match mode {
            Mode::Honest => stream.write_all(bytes),
            Mode::Lies => stream.write_all(&vec![b'!'; length]),
            Mode::Dies if head.contains("Content-Range") => stream.write_all(bytes),
            Mode::Dies => stream.write_all(first),
            Mode::Stalls | Mode::Waits => {
                stream.write_all(first)?;
                let honest = self.changed.wait_timeout_while(
                    self.mode.lock().unwrap(),
                    Duration::from_secs(60),
                    |now| *now != Mode::Honest,
                );
                drop(honest);
                if mode == Mode::Stalls { Ok(()) } else { stream.write_all(second) }
            }
        }
    }
}

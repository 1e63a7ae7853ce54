//! `ferry registry serve` on loopback, and a client for any registry that does no more than it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::{command::Run, run, sandbox::binary};

/// A registry of ours; ends with the test.
#[derive(Debug)]
pub struct FerryRegistry {
    child: Child,
    root: PathBuf,
    host: String,
    lines: Vec<String>,
}

impl FerryRegistry {
    /// Serves `root` with further flags.
    #[track_caller]
    pub fn start(root: &Path, flags: &[&str]) -> FerryRegistry {
        FerryRegistry::started(Command::new(binary()), root, flags)
    }

    /// Serves `root` with further flags and the credentials of another directory.
    #[track_caller]
    pub fn start_with_config(config: &Path, root: &Path, flags: &[&str]) -> FerryRegistry {
        let mut command = Command::new(binary());
        command.env("DOCKER_CONFIG", config).env("XDG_DATA_HOME", config.join("share"));
        FerryRegistry::started(command, root, flags)
    }

    /// Serves what the daemon at this address has.
    #[track_caller]
    pub fn from_engine(daemon: &str, root: &Path, flags: &[&str]) -> FerryRegistry {
        let mut command = Command::new(binary());
        command.env("DOCKER_HOST", daemon).env_remove("DOCKER_CONTEXT");
        FerryRegistry::started(command, root, &[&["--from-engine"], flags].concat())
    }

    #[track_caller]
    fn started(mut command: Command, root: &Path, flags: &[&str]) -> FerryRegistry {
        std::fs::create_dir_all(root).unwrap();
        let log = root.with_extension("log");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let mut child = command
            .args(["registry", "serve", "--addr", "127.0.0.1:0", "--root"])
            .arg(root)
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let log = || std::fs::read_to_string(root.with_extension("log")).unwrap_or_default();
        let (_, host) = line.trim().rsplit_once("://").unwrap_or_else(|| panic!("{line}{}", log()));
        let host = host.to_owned();
        let mut lines = vec![line.clone()];
        if line.contains("https://") {
            let mut print = String::new();
            output.read_line(&mut print).unwrap();
            lines.push(print);
        }
        FerryRegistry { child, root: root.to_owned(), host, lines }
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What it said when it began.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.with_extension("log")).unwrap_or_default()
    }

    /// Kills it as a crash does.
    pub fn kill(mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Tells it to end, and waits until it has.
    #[track_caller]
    pub fn end(mut self) {
        run(Command::new("kill").arg(self.pid().to_string())).ok();
        self.child.wait().unwrap();
    }

    /// `ferry registry ARGS --root <its directory>`.
    #[track_caller]
    pub fn command(root: &Path, args: &[&str]) -> Run {
        run(Command::new(binary()).arg("registry").args(args).arg("--root").arg(root))
    }

    /// A client that says what it is told.
    pub fn http(&self) -> Http {
        Http::new(&self.host)
    }
}

impl Drop for FerryRegistry {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends requests as they are written.
#[derive(Debug, Clone)]
pub struct Http {
    host: String,
    headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The code of the first error.
    pub fn code(&self) -> String {
        let json: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts the status.
    #[track_caller]
    pub fn is(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }
}

impl Http {
    /// Of `host:port`.
    pub fn new(host: &str) -> Http {
        Http { host: host.to_owned(), headers: Vec::new() }
    }

    /// With a header in every request.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Http {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A request without headers of its own and without a body.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, &[], b"")
    }

    /// A request.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, headers, body.len() as u64);
        // A server may answer, and hang up, before it has read everything.
        drop(stream.write_all(body));
        Http::answer(stream, method)
    }

    /// Sends a request's head, and what is to follow by the caller.
    #[track_caller]
    pub fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: u64,
    ) -> TcpStream {
        // Locations may be complete.
        let path =
            path.split_once("://").map_or(path, |(_, rest)| &rest[rest.find('/').unwrap()..]);
        let mut stream = TcpStream::connect(&self.host).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.host);
        let own = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in own.chain(headers.iter().copied()) {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream
    }

    /// Reads the answer to a request that was sent.
    #[track_caller]
    pub fn answer(stream: TcpStream, method: &str) -> Answer {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {line:?}"));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" {
            read_body(&mut reader, &mut answer);
        }
        answer
    }
}

fn read_body(reader: &mut BufReader<TcpStream>, answer: &mut Answer) {
    if answer.header("transfer-encoding") != "chunked" {
        // Not beyond its length: a server that has not read all of the request resets the connection behind its answer.
        let length = answer.header("content-length").parse().unwrap_or(u64::MAX);
        reader.take(length).read_to_end(&mut answer.body).unwrap();
        return;
    }
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let size = usize::from_str_radix(line.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        reader.read_exact(&mut chunk).unwrap();
        answer.body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return;
        }
    }
}

//! The client against a daemon that follows a script: what it reads, and what it answers, byte for byte.

#![expect(clippy::unwrap_used, reason = "a test fails where something is not as it should be")]

use std::{path::PathBuf, sync::Arc};

use ferry_client::{Client, ClientError, Config, Endpoint};
use ferry_docker_api::{ApiVersion, JsonMessage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Mutex,
};

/// A daemon: for each connection, the answers to its requests in order; afterwards it hangs up.
struct Daemon {
    directory: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    fn start(name: &str, script: Vec<Vec<&'static str>>) -> Daemon {
        let directory =
            std::env::temp_dir().join(format!("ferry-client-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let listener = UnixListener::bind(directory.join("d.sock")).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for answers in script {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                tokio::spawn(serve(stream, answers, seen));
            }
        });
        Daemon { directory, requests }
    }

    fn client(&self) -> Client {
        Client::new(Config {
            endpoint: Endpoint::Unix(self.directory.join("d.sock")),
            tls: None,
            version: None,
            user_agent: "test".to_owned(),
            headers: vec![("X-Mine".to_owned(), "yes".to_owned())],
            product: "Docker",
        })
    }

    /// The request lines so far.
    async fn lines(&self) -> Vec<String> {
        let first = |request: &String| request.lines().next().unwrap_or_default().to_owned();
        self.requests.lock().await.iter().map(first).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

async fn serve(mut stream: UnixStream, answers: Vec<&'static str>, seen: Arc<Mutex<Vec<String>>>) {
    for answer in answers {
        let Some(request) = read_request(&mut stream).await else { return };
        seen.lock().await.push(request);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// A head, and a body of the length that it tells; chunks until the last.
async fn read_request(stream: &mut UnixStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok())
                .unwrap_or(0);
            let chunked = head.contains("transfer-encoding: chunked");
            let body = text.len() - end - 4;
            if (chunked && text.ends_with("0\r\n\r\n")) || (!chunked && body >= length) {
                return Some(text);
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(len @ 1..) => bytes.extend_from_slice(&buffer[..len]),
            _ => return None,
        }
    }
}

const OK: &str =
    "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Length: 13\r\n\r\n{\"status\":\"a\"";
const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\nApi-Version: 1.51\r\n\r\n";
const TOO_NEW: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 101\r\n\r\n{\"message\":\"client version 1.51 is too new. Maximum supported API version is 1.43\"}                  ";

fn answer(status: &str, body: &str) -> &'static str {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).leak()
}

#[tokio::test]
async fn one_connection_serves_requests_in_turn() {
    let daemon =
        Daemon::start("reuse", vec![vec![NO_CONTENT, answer("200 OK", "[1,2]"), NO_CONTENT]]);
    let client = daemon.client();
    client.post("/a").query("t", "x y/ü").query_if(false, "no", 1).done().await.unwrap();
    let list: Vec<u8> = client.get("/b").json().await.unwrap();
    assert_eq!(list, [1, 2]);
    client.delete("/c").done().await.unwrap();
    assert_eq!(
        daemon.lines().await,
        [
            "POST /v1.51/a?t=x%20y%2F%C3%BC HTTP/1.1",
            "GET /v1.51/b HTTP/1.1",
            "DELETE /v1.51/c HTTP/1.1"
        ]
    );
    assert!(daemon.requests.lock().await[0].contains("x-mine: yes"));
}

#[tokio::test]
async fn a_connection_that_was_closed_is_replaced() {
    let daemon = Daemon::start("stale", vec![vec![NO_CONTENT], vec![NO_CONTENT]]);
    let client = daemon.client();
    client.post("/a").done().await.unwrap();
    // The daemon has hung up after its answer.
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    client.post("/b").done().await.unwrap();
    assert_eq!(daemon.lines().await, ["POST /v1.51/a HTTP/1.1", "POST /v1.51/b HTTP/1.1"]);
}

#[tokio::test]
async fn an_older_daemon_is_asked_in_its_own_version() {
    let daemon = Daemon::start("older", vec![vec![TOO_NEW, NO_CONTENT, NO_CONTENT]]);
    let client = daemon.client();
    client.post("/a").json_body(&1).done().await.unwrap();
    client.post("/b").done().await.unwrap();
    assert_eq!(client.version(), ApiVersion::new(1, 43));
    assert_eq!(
        daemon.lines().await,
        ["POST /v1.51/a HTTP/1.1", "POST /v1.43/a HTTP/1.1", "POST /v1.43/b HTTP/1.1"]
    );
}

#[tokio::test]
async fn errors_carry_the_daemons_words_and_hint() {
    let daemon = Daemon::start(
        "errors",
        vec![vec![
            answer("404 Not Found", r#"{"message":"No such container: x","hint":"list them"}"#),
            answer("500 Internal Server Error", "plain words\n"),
            answer("500 Internal Server Error", ""),
        ]],
    );
    let client = daemon.client();
    let error = client.get("/a").done().await.unwrap_err();
    assert_eq!(error.to_string(), "Error response from daemon: No such container: x");
    assert_eq!(error.hint().as_deref(), Some("list them"));
    assert!(error.is_not_found());
    let error = client.get("/b").done().await.unwrap_err();
    assert_eq!(error.to_string(), "Error response from daemon: plain words");
    let error = client.get("/c").done().await.unwrap_err();
    assert!(error.message().starts_with("request returned 500 Internal Server Error"), "{error}");
}

#[tokio::test]
async fn values_come_one_after_another() {
    let daemon = Daemon::start(
        "lines",
        vec![vec![
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"status\":\"one\"}\r\n9\r\n\r\n{\"statu\r\nb\r\ns\":\"two\"}\r\n\r\n0\r\n\r\n",
        ]],
    );
    let mut lines = daemon.client().post("/images/create").lines::<JsonMessage>().await.unwrap();
    assert_eq!(lines.next().await.unwrap().unwrap().status, "one");
    assert_eq!(lines.next().await.unwrap().unwrap().status, "two");
    assert!(lines.next().await.unwrap().is_none());
}

#[tokio::test]
async fn half_a_value_is_an_error() {
    let daemon = Daemon::start("half", vec![vec![OK]]);
    let error = daemon.client().get("/a").json::<JsonMessage>().await.unwrap_err();
    assert!(matches!(error, ClientError::Decode { .. }), "{error}");
}

#[tokio::test]
async fn uploads_ask_for_the_version_first() {
    let daemon = Daemon::start(
        "upload",
        vec![vec!["HTTP/1.1 200 OK\r\nApi-Version: 1.44\r\n\r\n", NO_CONTENT, NO_CONTENT]],
    );
    let client = daemon.client();
    let body = std::io::Cursor::new(b"hello".to_vec());
    client.post("/images/load").upload("application/x-tar", body, Some(5)).done().await.unwrap();
    let body = std::io::Cursor::new(b"world".to_vec());
    client.post("/images/load").upload("application/x-tar", body, None).done().await.unwrap();
    let requests = daemon.requests.lock().await;
    assert!(requests[0].starts_with("HEAD /_ping HTTP/1.1"));
    assert!(requests[1].starts_with("POST /v1.44/images/load HTTP/1.1"));
    assert!(requests[1].contains("content-length: 5") && requests[1].ends_with("hello"));
    assert!(requests[2].contains("5\r\nworld\r\n0\r\n"));
}

#[tokio::test]
async fn a_connection_becomes_a_stream() {
    for head in [
        "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly",
        "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\nearly",
    ] {
        let daemon = Daemon::start("hijack", vec![vec![head]]);
        let hijacked =
            daemon.client().post("/containers/x/attach").query("stream", 1).hijack().await.unwrap();
        let mut all = hijacked.early.to_vec();
        let mut stream = hijacked.stream;
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"early");
        let request = daemon.requests.lock().await[0].clone();
        assert!(request.starts_with("POST /v1.51/containers/x/attach?stream=1 HTTP/1.1\r\n"));
        assert!(request.contains("Connection: Upgrade\r\nUpgrade: tcp\r\n"));
    }
}

#[tokio::test]
async fn a_refused_stream_is_an_error_and_an_older_daemon_is_asked_again() {
    let refused = "HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n{\"message\":\"paused\"\r\n1\r\n}\r\n0\r\n\r\n";
    let daemon = Daemon::start("refused", vec![vec![TOO_NEW], vec![refused]]);
    let error = daemon.client().post("/a").hijack().await.unwrap_err();
    assert_eq!(error.to_string(), "Error response from daemon: paused");
    assert_eq!(daemon.lines().await, ["POST /v1.51/a HTTP/1.1", "POST /v1.43/a HTTP/1.1"]);
}

#[tokio::test]
async fn nobody_there() {
    let client = Client::new(Config {
        endpoint: "unix:///nonexistent/d.sock".parse().unwrap(),
        tls: None,
        version: None,
        user_agent: String::new(),
        headers: Vec::new(),
        product: "Docker",
    });
    let error = client.get("/a").done().await.unwrap_err();
    assert_eq!(
        ferry_errkind::chain(&error),
        "Cannot connect to the Docker daemon at unix:///nonexistent/d.sock. Is the docker daemon running?"
    );
}

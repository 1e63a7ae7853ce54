//! `desktop`: who is let in and who is not, and that what the page asks for reaches the daemon.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, images, programs};
use serde_json::Value;

use crate::with_busybox;

/// A running `ferry desktop`, and the cookie of a browser that is logged in.
struct Desktop {
    child: Child,
    port: u16,
    token: String,
    cookie: String,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Desktop {
    fn start(sandbox: &Sandbox) -> Desktop {
        let mut child = sandbox
            .command(&["desktop", "--no-open", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines.map_while(Result::ok).find(|line| line.starts_with("http://")).unwrap();
        let (address, token) = url.split_once("/?token=").unwrap();
        let port = address.strip_prefix("http://127.0.0.1:").unwrap().parse().unwrap();
        let mut desktop = Desktop { child, port, token: token.to_owned(), cookie: String::new() };
        let page = desktop.send("GET", &format!("/?token={token}"), &[], b"");
        assert_eq!(page.status, 200, "{}", page.head);
        let cookie = page.header("set-cookie").unwrap();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
        desktop.cookie = cookie.split(';').next().unwrap().to_owned();
        desktop
    }

    /// Sends a request with these headers besides `Host`, and a `Host` of ours if there is none among them.
    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.request(method, path, headers, body);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: 127.0.0.1:{}\r\n", self.port);
        }
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            head += "Connection: close\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// As the page sends it.
    fn page(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        let origin = self.origin();
        let headers = [
            ("Cookie", self.cookie.as_str()),
            ("Origin", &origin),
            ("Sec-Fetch-Site", "same-origin"),
            ("Content-Type", "application/json"),
        ];
        self.send(method, path, &headers, body)
    }

    /// The status of a WebSocket's handshake, and the connection.
    fn stream(&self, headers: &[(&str, &str)]) -> (u16, BufReader<TcpStream>) {
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend_from_slice(headers);
        let mut reader = BufReader::new(self.request("GET", "/stream", &all, b""));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        // The example of RFC 6455.
        assert_eq!(status == 101, head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        (status, reader)
    }

    /// A tunnel, as the page opens it.
    fn tunnel(&self, wanted: &str) -> BufReader<TcpStream> {
        let origin = self.origin();
        let (status, mut reader) = self.stream(&[("Cookie", &self.cookie), ("Origin", &origin)]);
        assert_eq!(status, 101);
        write_frame(reader.get_mut(), 1, wanted.as_bytes());
        reader
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A frame of a browser; the mask is zero.
fn write_frame(stream: &mut TcpStream, kind: u8, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let head = [0x80 | kind, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
    stream.write_all(&[&head, bytes].concat()).unwrap();
}

/// A frame of the server: its kind (1 text, 2 binary, 8 the end) and its bytes.
fn read_frame(reader: &mut impl Read) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    reader.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut long = [0; 2];
            reader.read_exact(&mut long).unwrap();
            usize::from(u16::from_be_bytes(long))
        }
        127 => {
            let mut long = [0; 8];
            reader.read_exact(&mut long).unwrap();
            usize::try_from(u64::from_be_bytes(long)).unwrap()
        }
        short => usize::from(short),
    };
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).unwrap();
    (head[0] & 15, bytes)
}

fn message(frame: &(u8, Vec<u8>)) -> Value {
    assert_eq!(frame.0, 1);
    serde_json::from_slice(&frame.1).unwrap()
}

#[test]
fn only_the_bearer_of_the_address_is_let_in() {
    let sandbox = Sandbox::start();
    let desktop = Desktop::start(&sandbox);
    let again = desktop.send("GET", &format!("/?token={}", desktop.token), &[], b"");
    assert_eq!(again.status, 401, "a token works once");
    assert!(again.header("content-type").unwrap().starts_with("text/plain"));
    for path in ["/", "/app.js", "/api/containers/json", "/stream"] {
        assert_eq!(desktop.send("GET", path, &[], b"").status, 401, "{path}");
    }
    let guess = [("Cookie", format!("ferry-desktop-{}=guess", desktop.port))];
    let guess = guess.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(desktop.send("GET", "/api/info", &guess, b"").status, 401);
    let cookie = [("Cookie", desktop.cookie.as_str())];
    let page = desktop.send("GET", "/", &cookie, b"");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy").unwrap();
    for words in [
        "default-src 'none'",
        "script-src 'self'",
        "trusted-types 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(words), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let script = desktop.send("GET", "/app.js", &cookie, b"");
    assert_eq!((script.status, script.header("content-encoding")), (200, Some("gzip")));
    let tag = script.header("etag").unwrap();
    let known = desktop.send("GET", "/app.js", &[cookie[0], ("If-None-Match", tag)], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
}

#[test]
fn what_other_sites_cause_is_refused() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "victim", "busybox", "sleep", "1000"]);
    let desktop = Desktop::start(&sandbox);
    let (cookie, own) = (("Cookie", desktop.cookie.as_str()), desktop.origin());
    // A name that somebody else lets point to loopback: DNS rebinding.
    for host in ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1"] {
        let answer = desktop.send("GET", "/api/info", &[cookie, ("Host", host)], b"");
        assert_eq!(answer.status, 403, "{host}");
        let token = desktop.send("GET", "/?token=x", &[("Host", host)], b"");
        assert_eq!(token.status, 403, "{host}");
    }
    let stop = "/api/containers/victim/stop?t=0";
    for headers in [
        vec![cookie],
        vec![cookie, ("Origin", "http://evil.example")],
        vec![cookie, ("Origin", "null")],
        vec![cookie, ("Origin", &own), ("Sec-Fetch-Site", "cross-site")],
    ] {
        assert_eq!(desktop.send("POST", stop, &headers, b"").status, 403, "{headers:?}");
    }
    assert_eq!(
        desktop.send("GET", "/api/info", &[cookie, ("Sec-Fetch-Site", "cross-site")], b"").status,
        403
    );
    assert_eq!(desktop.stream(&[cookie]).0, 403);
    assert_eq!(desktop.stream(&[cookie, ("Origin", "http://evil.example")]).0, 403);
    assert_eq!(desktop.stream(&[("Origin", &own)]).0, 401);
    let rebound = [cookie, ("Host", "evil.example"), ("Origin", "http://evil.example")];
    assert_eq!(desktop.stream(&rebound).0, 403);
    assert_eq!(desktop.stream(&[cookie, ("Origin", &own)]).0, 101, "the page's own");
    assert_eq!(sandbox.inspect("victim", "{{.State.Running}}"), "true");
    let outside = sandbox.run(&["desktop", "--listen", "0.0.0.0:0"]);
    outside.fails(1).says("only loopback addresses");
}

#[test]
fn requests_and_streams_reach_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    let script = "echo '<b>out</b>'; exec sleep 1000";
    sandbox.ok(&["run", "-d", "--name", "web", "busybox", "sh", "-c", script]);
    let desktop = Desktop::start(&sandbox);
    let list: Value =
        serde_json::from_str(&unchunked(&desktop.page("GET", "/api/containers/json", b"")))
            .unwrap();
    assert_eq!(list[0]["Names"][0], "/web");
    let mut events = desktop.tunnel("{\"method\":\"GET\",\"path\":\"/events\"}");
    assert_eq!(message(&read_frame(&mut events))["status"], 200);
    assert_eq!(desktop.page("POST", "/api/containers/web/pause", b"").status, 204);
    let (kind, event) = read_frame(&mut events);
    let event: Value = serde_json::from_slice(&event).unwrap();
    assert_eq!((kind, &event["Action"]), (2, &"pause".into()));
    assert_eq!(desktop.page("POST", "/api/containers/web/unpause", b"").status, 204);
    let logs = eventually("its output is in the log", || {
        let logs = desktop.page("GET", "/api/containers/web/logs?stdout=1", b"");
        logs.text().contains("<b>out</b>").then_some(logs)
    });
    assert_eq!(logs.header("content-type"), Some("application/octet-stream"), "never a page");
    let missing = desktop.page("POST", "/api/containers/nosuch/start", b"");
    assert_eq!(missing.status, 404);
    assert!(missing.text().contains("No such container: nosuch"), "{}", missing.text());
    let mut wrong =
        desktop.tunnel("{\"method\":\"GET\",\"path\":\"/containers/nosuch/logs?stdout=1\"}");
    assert_eq!(message(&read_frame(&mut wrong))["message"], "No such container: nosuch");
    let mut wrong = desktop.tunnel("{\"method\":\"DELETE\",\"path\":\"/containers/web\"}");
    assert_eq!(message(&read_frame(&mut wrong))["status"], 400);
    a_terminal(&desktop);
    files(&desktop);
    usage(&sandbox, &desktop);
    drop(events);
    eventually("the desktop ends", || {
        let pid = rustix::process::Pid::from_child(&desktop.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).ok()
    });
}

/// Keys go in, what they cause comes out, and the end is told.
fn a_terminal(desktop: &Desktop) {
    let exec = desktop.page(
        "POST",
        "/api/containers/web/exec",
        br#"{"Cmd":["sh"],"Tty":true,"AttachStdin":true,"AttachStdout":true,"AttachStderr":true}"#,
    );
    let exec: Value = serde_json::from_str(&unchunked(&exec)).unwrap();
    let id = exec["Id"].as_str().unwrap();
    let wanted = format!(
        r#"{{"method":"POST","path":"/exec/{id}/start","hijack":true,"body":{{"Tty":true,"Detach":false}}}}"#
    );
    let mut terminal = desktop.tunnel(&wanted);
    assert_eq!(message(&read_frame(&mut terminal))["status"], 101);
    assert!(desktop.page("POST", &format!("/api/exec/{id}/resize?h=33&w=77"), b"").status < 300);
    write_frame(terminal.get_mut(), 2, b"echo $((6 * 7))-is-it; stty size; exit\n");
    let mut shown = String::new();
    loop {
        let (kind, bytes) = read_frame(&mut terminal);
        if kind == 8 {
            break;
        }
        shown.push_str(&String::from_utf8_lossy(&bytes));
    }
    assert!(shown.contains("42-is-it") && shown.contains("33 77"), "{shown}");
}

/// Directories are listed and files read, out of the daemon's archives.
fn files(desktop: &Desktop) {
    let list = |path: &str| {
        let answer = desktop.page("GET", &format!("/files/list?container=web&path={path}"), b"");
        let listing: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
        (answer.status, listing)
    };
    let (status, root) = list("/");
    assert_eq!((status, &root["kind"]), (200, &"directory".into()));
    let named = |listing: &Value, name: &str| {
        let entries = listing["entries"].as_array().unwrap();
        entries.iter().find(|entry| entry["name"] == name).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(named(&root, "bin")["kind"], "directory");
    assert!(named(&root, "bin")["size"].as_u64() > Some(100_000), "of all files below: {root}");
    let (_, etc) = list("%2Fetc");
    assert_eq!(named(&etc, "hosts")["kind"], "file", "{etc}");
    assert_eq!(list("%2Fnosuch").0, 404);
    let read = "/files/read?container=web&path=%2Fetc%2Fhostname";
    let file = desktop.page("GET", read, b"");
    assert_eq!(file.status, 200);
    assert!(file.header("content-disposition").unwrap().contains("hostname"));
    assert_eq!(unchunked(&file).trim().len(), 12, "{}", file.text());
    assert_eq!(desktop.page("GET", "/files/read?container=web&path=%2Fetc", b"").status, 400);
}

/// What a layer brought, and what the next one wastes of it.
#[test]
fn layers_are_looked_into() {
    let sandbox = with_busybox(Client::Ferry);
    let dockerfile = "FROM busybox\nRUN dd if=/dev/zero of=/big bs=1000 count=500\nRUN rm /big && echo x > /small\n";
    sandbox.with_input(&["build", "-t", "layered", "-"], dockerfile.as_bytes()).ok();
    let desktop = Desktop::start(&sandbox);
    let answer = desktop.page("GET", "/files/layers?image=layered", b"");
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    let layers = told["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3, "{told}");
    assert_eq!(
        (&layers[1]["largest"][0]["path"], &layers[1]["size"]),
        (&"big".into(), &500_000.into())
    );
    assert_eq!((&layers[2]["deleted"], &layers[2]["wasted"]), (&1.into(), &500_000.into()));
    assert_eq!(desktop.page("GET", "/files/layers?image=nosuch", b"").status, 404);
}

/// The engine remembers builds with their steps, their output, and where they failed.
#[test]
fn builds_are_remembered() {
    let sandbox = with_busybox(Client::Ferry);
    let desktop = Desktop::start(&sandbox);
    let get = |path: &str| -> Value {
        serde_json::from_str(&unchunked(&desktop.page("GET", path, b""))).unwrap()
    };
    assert_eq!(get("/api/build/history"), serde_json::json!([]));
    let good = b"FROM busybox\nRUN echo said by a step\n";
    for tag in ["good:1", "good:2"] {
        sandbox.with_input(&["build", "-t", tag, "-"], good).ok();
    }
    sandbox.with_input(&["build", "-"], b"FROM busybox\nRUN echo nearly; exit 5\n").fails(1);
    let all = get("/api/build/history");
    let states: Vec<_> = (0..3).map(|at| all[at]["State"].as_str().unwrap()).collect();
    assert_eq!(states, ["failed", "done", "done"], "newest first: {all}");
    assert_eq!(
        (&all[1]["Tags"][0], &all[1]["Cached"], &all[1]["Steps"]),
        (&"good:2".into(), &2.into(), &2.into())
    );
    let failed = get(&format!("/api/build/history/{}", all[0]["Id"].as_str().unwrap()));
    assert_eq!(
        (&failed["Place"]["first"], &failed["Place"]["file"]),
        (&2.into(), &"Dockerfile".into())
    );
    let first = get(&format!("/api/build/history/{}", all[2]["Id"].as_str().unwrap()));
    // `said by a step` in base64.
    assert!(first["Status"]["logs"].to_string().contains("c2FpZCBieSBhIHN0ZXA"), "{first}");
    assert_eq!(desktop.page("GET", "/api/build/history/nosuch", b"").status, 404);
    // The next daemon remembers them, too.
    let written = || std::fs::read_dir(sandbox.data().join("build-history")).into_iter().flatten();
    eventually("the records are on disk", || {
        let is_record = |entry: &std::io::Result<std::fs::DirEntry>| {
            entry.as_ref().is_ok_and(|entry| entry.path().extension() == Some("json".as_ref()))
        };
        (written().filter(is_record).count() == 3).then_some(())
    });
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    let again = get("/api/build/history");
    assert_eq!((&again[0]["Error"], &again[2]["Id"]), (&all[0]["Error"], &all[2]["Id"]));
    let first_again = get(&format!("/api/build/history/{}", all[2]["Id"].as_str().unwrap()));
    assert_eq!(first_again["Status"]["logs"], first["Status"]["logs"]);
}

/// What the page may have our own commands do, and what not.
#[test]
fn errands() {
    let sandbox = with_busybox(Client::Ferry);
    let desktop = Desktop::start(&sandbox);
    let file = sandbox.dir().join("compose.yaml");
    let text = "name: bay\nservices:\n  boat:\n    image: busybox\n    command: sleep 1000\n";
    std::fs::write(&file, text).unwrap();
    let shown = desktop.page("GET", &format!("/files/compose?files={}", file.display()), b"");
    assert!(shown.text().contains("sleep 1000"), "{}", shown.text());
    for wrong in ["/etc/passwd", "compose.yaml"] {
        let answer = desktop.page("GET", &format!("/files/compose?files={wrong}"), b"");
        assert_eq!(answer.status, 400, "{wrong}");
    }
    assert_eq!(desktop.page("GET", "/files/compose?files=/nosuch.yaml", b"").status, 404);
    let errand = |verb: &str| {
        let body = serde_json::json!({ "verb": verb, "files": [file], "project": "bay" });
        let wanted = serde_json::json!({ "method": "GET", "path": "/compose", "body": body });
        let mut stream = desktop.tunnel(&wanted.to_string());
        let mut said = String::new();
        loop {
            let (kind, bytes) = read_frame(&mut stream);
            if kind == 8 {
                return said;
            }
            said.push_str(&String::from_utf8_lossy(&bytes));
        }
    };
    assert!(errand("exec").contains("there is no errand"));
    assert!(errand("diff").contains("bay-boat-1"));
    assert!(errand("up").contains("bay-boat-1"));
    assert_eq!(sandbox.inspect("bay-boat-1", "{{.State.Running}}"), "true");
    errand("down");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    // Whoever has no cookie has no errands, either.
    assert_eq!(desktop.send("GET", "/logins", &[], b"").status, 401);
    assert_eq!(desktop.page("POST", "/logins", b"{\"registry\":\"-x\"}").status, 400);
}

/// Every flow of the page in Chromium (`desktop/tests/flows.mjs`), with axe and a daemon that goes away.
#[test]
fn in_a_browser() {
    let Some(node) = browser() else { return };
    let sandbox = with_busybox(Client::Ferry);
    drive(&sandbox, node, "flows.mjs");
}

/// nginx, PostgreSQL and redis are run, asked, watched and moved in Chromium (`desktop/tests/services.mjs`).
#[test]
fn services_in_a_browser() {
    let (Some(node), Some(tar)) = (browser(), images::debian_tar()) else { return };
    let sandbox = Sandbox::start();
    sandbox.ok(&["import", tar.to_str().unwrap(), "services"]);
    drive(&sandbox, node, "services.mjs");
}

/// Several at once, all options, terminals, files, layers, networks and what the kernel says of them (`desktop/tests/depth.mjs`).
#[test]
fn depth_in_a_browser() {
    let Some(node) = browser() else { return };
    drive(&with_busybox(Client::Ferry), node, "depth.mjs");
}

/// Every view in Korean, in narrow windows and by keyboard alone, and what other pages cannot do (`desktop/tests/views.mjs`).
fn every_view(client: Client) {
    let Some(node) = browser() else { return };
    drive(&with_busybox(client), node, "views.mjs");
}

#[test]
fn every_view_in_a_browser() {
    every_view(Client::Ferry);
}

against_docker!(every_view);

fn pages() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../desktop")
}

/// Node.js, where a browser and what drives it are there, too.
fn browser() -> Option<PathBuf> {
    let [node, _] = programs::all(["node", "chromium"])?;
    if pages().join("node_modules/playwright-core").exists() {
        return Some(node);
    }
    programs::may_be_missing("desktop");
    eprintln!("SKIPPED: desktop/node_modules is missing (npm ci; scripts/test.sh does it)");
    None
}

/// Runs a script of `desktop/tests`; the daemon goes away for a while when it asks for that.
fn drive(sandbox: &Sandbox, node: PathBuf, script: &str) {
    let shot = format!("/tmp/ferry-{script}-failed.png");
    let mut child = Command::new(node)
        .arg(pages().join("tests").join(script))
        .env("FERRY", sandbox.command(&[]).get_program())
        .env("DOCKER_HOST", sandbox.host())
        .env("DOCKER_CONFIG", sandbox.dir().join("config"))
        .env("XDG_DATA_HOME", sandbox.dir().join("config/share"))
        .env("FERRY_TEST_RESTART", "1")
        .env("FAILED_SHOT", &shot)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        eprintln!("{line}");
        if line == "RESTART THE DAEMON" {
            sandbox.stop_daemon();
            std::thread::sleep(Duration::from_secs(2));
            sandbox.start_daemon(None);
        }
    }
    assert!(child.wait().unwrap().success(), "see {shot}");
}

/// What all containers use comes sample by sample.
fn usage(sandbox: &Sandbox, desktop: &Desktop) {
    let id = sandbox.inspect("web", "{{.Id}}");
    let mut stream = desktop.tunnel("{\"method\":\"GET\",\"path\":\"/usage\"}");
    assert_eq!(message(&read_frame(&mut stream))["status"], 200);
    for _ in 0..2 {
        let (kind, sample) = read_frame(&mut stream);
        let sample: Value = serde_json::from_slice(&sample).unwrap();
        assert_eq!((kind, &sample["rows"][0][0]), (2, &id.as_str().into()));
        assert!(sample["rows"][0][2].as_u64() > Some(0), "memory: {sample}");
    }
}

fn unchunked(answer: &Answer) -> String {
    let text = answer.text();
    if !answer.head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return text;
    }
    text.split("\r\n").skip(1).step_by(2).collect()
}

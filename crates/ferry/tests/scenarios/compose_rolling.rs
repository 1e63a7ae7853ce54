//! A rolling update that nobody notices: requests go on all the time, by the published port and by the service's name, each with a
//! connection of its own and none tried twice.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use ferry_testkit::{eventually, free_port, images, run};

use crate::compose::Project;

/// Requests in a second, by each of the two ways.
const RATE: u32 = 270;
const THREADS: u32 = 4;

/// A server that takes its time to listen, and that is killed at once when it is stopped.
const FILE: &str = r#"
services:
  web: &server
    image: busybox
    command: sh -c 'mkdir /www; echo $$VERSION > /www/v; sleep 1; exec httpd -f -p 80 -h /www'
    environment: {VERSION: "${VERSION:-1}"}
    ports: ["127.0.0.1:PORT:80"]
    healthcheck: {test: wget -qO- http://127.0.0.1/v, interval: 300ms, retries: 60, timeout: 20s}
    stop_signal: SIGKILL
    deploy: {update_config: {order: start-first}}
  app:
    <<: *server
    ports: []
    deploy: {replicas: 2, update_config: {order: start-first, parallelism: 1}}
  rest:
    <<: *server
    ports: []
    deploy: {replicas: 2, update_config: {order: stop-first, parallelism: 1}}
  client:
    image: python
    command: [python3, -u, -c, "$CLIENT"]
    depends_on: {app: {condition: service_healthy}, rest: {condition: service_healthy}}
    stop_grace_period: 30s
"#;

const CLIENT: &str = r#"
import collections, signal, socket, threading, time
end = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: end.set())
seen, bad, lock = collections.Counter(), [], threading.Lock()
def one(name):
    address = socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    with socket.create_connection(address, timeout=20) as s:
        s.sendall(b"GET /v HTTP/1.0\r\nHost: x\r\n\r\n")
        data = b""
        while chunk := s.recv(4096): data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    if b" 200 " not in head: raise OSError(repr(data))
    return body.decode().strip()
def work(name, rate):
    at = time.monotonic()
    while not end.is_set():
        at += 1 / rate
        time.sleep(max(0, at - time.monotonic()))
        try:
            version = one(name)
            with lock: seen[name + version] += 1
        except Exception as error:
            with lock: bad.append(name + ": " + repr(error))
threads = [threading.Thread(target=work, args=(name, RATE / 4)) for name in ("app", "rest") for _ in range(2)]
for thread in threads: thread.start()
print("ready")
while not end.wait(0.1): pass
for thread in threads: thread.join()
print("failed", len(bad), bad[:3])
print("seen", " ".join(f"{name}={count}" for name, count in sorted(seen.items())))
"#;

pub(crate) fn get(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET /v HTTP/1.0\r\nHost: x\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.trim().to_owned()),
        _ => Err(std::io::Error::other(format!("no answer: {answer:?}"))),
    }
}

/// What came of the requests by the published port.
#[derive(Default)]
struct Asked {
    end: AtomicBool,
    count: AtomicU32,
    failures: Mutex<Vec<String>>,
    last: Mutex<String>,
}

impl Asked {
    /// Asks at a steady rate, whatever the answers take.
    fn ask(&self, port: u16) {
        let step = Duration::from_secs(1) * THREADS / RATE;
        let mut at = Instant::now();
        while !self.end.load(Ordering::Relaxed) {
            at += step;
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            self.count.fetch_add(1, Ordering::Relaxed);
            match get(port) {
                Ok(version) => *self.last.lock().unwrap() = version,
                Err(error) => self.failures.lock().unwrap().push(error.to_string()),
            }
        }
    }
}

#[test]
fn an_update_fails_no_request() {
    let Some(python) = images::python_tar() else { return };
    let port = free_port();
    let client = CLIENT.replace("RATE", &RATE.to_string());
    let escaped = client.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let project =
        Project::new(&FILE.replace("PORT", &port.to_string()).replace("$CLIENT", &escaped));
    project.sandbox.ok(&["import", python.to_str().unwrap(), "python"]);
    project.ok(&["up", "-d", "--wait", "--wait-timeout", "120"]);
    eventually("the client asks", || {
        project.ok(&["logs", "client"]).contains("ready").then_some(())
    });

    let asked = Asked::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| asked.ask(port));
        }
        for version in ["2", "3"] {
            let updated = run(project.command(&["up", "-d"]).env("VERSION", version));
            if updated.code != 0 {
                asked.end.store(true, Ordering::Relaxed);
            }
            assert_eq!(updated.code, 0, "{updated:?}");
            // Each version serves for a while, however slow the machine is.
            let before = asked.count.load(Ordering::Relaxed);
            eventually("requests went to the new ones", || {
                (asked.count.load(Ordering::Relaxed) > before + RATE).then_some(())
            });
        }
        asked.end.store(true, Ordering::Relaxed);
    });
    let seconds = began.elapsed().as_secs_f64();
    project.ok(&["stop", "client"]);
    let logs = project.ok(&["logs", "--no-log-prefix", "client"]);
    let failures = asked.failures.lock().unwrap();
    assert!(
        failures.is_empty(),
        "{} by the port, the first: {:?}",
        failures.len(),
        failures.first()
    );
    assert!(logs.contains("failed 0 []"), "{logs}");
    assert_eq!(*asked.last.lock().unwrap(), "3");
    for version in ["app1=", "app2=", "app3=", "rest1=", "rest3="] {
        assert!(logs.contains(version), "{logs}");
    }
    let rate = f64::from(asked.count.load(Ordering::Relaxed)) / seconds;
    let told =
        format!("{rate:.0} requests a second by the port for {seconds:.0} s; by name:\n{logs}\n");
    // For whoever wants the figures (`--no-capture`).
    drop(std::io::stderr().write_all(told.as_bytes()));
    // One container of each number, with its own name and nothing beside it.
    let names = project.sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]);
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    let expected =
        ["shop-app-1", "shop-app-2", "shop-client-1", "shop-rest-1", "shop-rest-2", "shop-web-1"];
    assert_eq!(names, expected);
}

/// A new one that is not well never had the port: requests go on to the old one.
#[test]
fn an_update_that_fails_is_not_noticed_either() {
    let port = free_port();
    let file = FILE.split("  app:").next().unwrap().replace("PORT", &port.to_string());
    let project = Project::new(&file);
    project.ok(&["up", "-d", "--wait"]);
    let broken = file
        .replace("wget -qO- http://127.0.0.1/v", "test -f /www/w")
        .replace("retries: 60", "retries: 2");
    std::fs::write(project.directory.join("compose.yaml"), broken).unwrap();
    let asked = Asked::default();
    let updated = std::thread::scope(|scope| {
        scope.spawn(|| asked.ask(port));
        let updated = project.run(&["up", "-d"]);
        asked.end.store(true, Ordering::Relaxed);
        updated
    });
    assert_eq!(updated.code, 1, "{updated:?}");
    assert!(updated.stderr.contains("update of service web paused"), "{updated:?}");
    assert_eq!(*asked.failures.lock().unwrap(), Vec::<String>::new());
    assert_eq!(project.sandbox.ok(&["ps", "-a", "--format", "{{.Names}}"]), "shop-web-1");
}

/// What is started aside is found by nobody until it is revealed; then it has the other one's port and name.
#[test]
fn one_container_takes_another_ones_place() {
    let sandbox = super::with_busybox(ferry_testkit::Client::Ferry);
    sandbox.ok(&["network", "create", "n"]);
    let serve = |name: &str, text: &str| {
        let script = format!("mkdir /www; echo {text} > /www/v; exec httpd -f -p 80 -h /www");
        sandbox.ok(&[
            "create",
            "--name",
            name,
            "--network",
            "n",
            "--network-alias",
            "web",
            "-p",
            "127.0.0.1:0:80",
            "busybox",
            "sh",
            "-c",
            &script,
        ]);
    };
    serve("old", "one");
    sandbox.ok(&["start", "old"]);
    let port: u16 = sandbox.ok(&["port", "old", "80"]).rsplit(':').next().unwrap().parse().unwrap();
    let script = "mkdir /www; echo two > /www/v; exec httpd -f -p 80 -h /www";
    let published = format!("127.0.0.1:{port}:80");
    sandbox.ok(&[
        "create",
        "--name",
        "new",
        "--network",
        "n",
        "--network-alias",
        "web",
        "-p",
        &published,
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    let api = sandbox.api();
    assert_eq!(api.call("POST", "/containers/new/start?aside=1", None).0, 204);
    let lookup = |from: &str| {
        let asked = sandbox.run(&["exec", from, "nslookup", "web"]).stdout;
        asked.lines().filter(|line| line.starts_with("Address")).skip(1).count()
    };
    eventually("the old one serves", || (get(port).ok()? == "one").then_some(()));
    assert_eq!(lookup("old"), 1, "the new one has no name yet");
    assert_eq!(sandbox.ok(&["port", "new"]), "");

    let own = ["exec", "new", "wget", "-qO-", "http://127.0.0.1/v"];
    eventually("the new one serves itself", || (sandbox.run(&own).stdout == "two\n").then_some(()));
    let open = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (status, left) = api.call("POST", "/containers/new/reveal?from=old&t=1", None);
    assert_eq!((status, &left["Connections"]), (200, &serde_json::json!(1)), "{left}");
    drop(open);
    assert_eq!(get(port).unwrap(), "two");
    assert_eq!(lookup("old"), 1, "the old one has none any more");
    assert_eq!(sandbox.ok(&["port", "old"]), "");
    assert!(sandbox.ok(&["port", "new"]).contains(&port.to_string()));
    sandbox.ok(&["rename", "old", "older"]);
    assert_eq!(lookup("older"), 1, "a new name does not make it known again");
    // The record says so: another daemon goes on with it.
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    eventually("the new one serves after a crash", || (get(port).ok()? == "two").then_some(()));
    let (status, error) = api.call("POST", "/containers/older/reveal?t=0", None);
    assert_eq!(status, 200, "{error}");
    sandbox.ok(&["rm", "-f", "older"]);
    assert_eq!(get(port).unwrap(), "two");
    let (status, _) = api.call("POST", "/containers/nobody/withdraw", None);
    assert_eq!(status, 404);
    let (status, left) = api.call("POST", "/containers/new/withdraw?t=0", None);
    assert_eq!(status, 200, "{left}");
    assert!(get(port).is_err(), "no port leads there any more");
}

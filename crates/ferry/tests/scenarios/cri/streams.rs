//! Exec, attach and port forward through the streaming server. The client is kubectl: a small server stands where the API
//! server and the kubelet would, asks the runtime for an address, and passes the connection on, byte for byte.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
};

use ferry_cri::api;
use ferry_testkit::{eventually, programs, run};

use super::{
    Bed, IDLE,
    client::{Cri, call},
    on_both,
};

/// What stands between kubectl and the runtime.
pub(super) struct Kubelet {
    kubectl: PathBuf,
    config: PathBuf,
    spdy: bool,
}

/// Which pod and container it serves.
#[derive(Clone)]
struct Target {
    socket: PathBuf,
    pod: String,
    container: String,
}

impl Kubelet {
    pub(super) fn start(bed: &Bed, pod: &str, container: &str, spdy: bool) -> Option<Kubelet> {
        let kubectl = programs::find("kubectl")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Target {
            socket: bed.cri.socket().to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
        });
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = Arc::clone(&target);
                std::thread::spawn(move || answer(client, &target));
            }
        });
        let config = bed.logs.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\nclusters: [{{name: t, cluster: {{server: \"{server}\"}}}}]\ncontexts: [{{name: t, context: {{cluster: t, user: t}}}}]\nusers: [{{name: t, user: {{}}}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        Some(Kubelet { kubectl, config, spdy })
    }

    pub(super) fn kubectl(&self, args: &[&str]) -> Command {
        let websockets = if self.spdy { "false" } else { "true" };
        let mut command = Command::new(&self.kubectl);
        command
            .env("KUBECONFIG", &self.config)
            .env("HOME", self.config.parent().unwrap())
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets)
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")
            .args(args);
        command
    }
}

/// A request or an answer of HTTP up to its body; nothing when the other side has left.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers one request: the API's few documents, or a connection that is passed on.
fn answer(mut client: TcpStream, target: &Target) {
    let Some(head) = read_head(&mut client) else { return };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let (bare, query) = path.split_once('?').unwrap_or((&path, ""));
    let url = match bare.rsplit('/').next().unwrap() {
        verb @ ("exec" | "attach" | "portforward") => address(target, verb, query),
        _ => {
            let body = document(bare);
            let status = if body.is_empty() { "404 Not Found" } else { "200 OK" };
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            client.write_all(text.as_bytes()).ok();
            return;
        }
    };
    let rest = url.strip_prefix("http://").unwrap();
    let (host, token) = rest.split_once('/').unwrap();
    let server = TcpStream::connect(host).unwrap();
    (&server).write_all(head.replacen(&path, &format!("/{token}"), 1).as_bytes()).unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(std::net::Shutdown::Write).ok();
    });
    std::io::copy(&mut &server, &mut client).ok();
    client.shutdown(std::net::Shutdown::Both).ok();
}

/// Asks the runtime, as a kubelet does.
fn address(target: &Target, verb: &str, query: &str) -> String {
    let cri = Cri::new(&target.socket);
    let pairs: Vec<(&str, String)> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key, decoded(value)))
        .collect();
    let flag = |name: &str| pairs.iter().any(|(key, value)| *key == name && value == "true");
    let container_id = target.container.clone();
    let (tty, stdin, stdout) = (flag("tty"), flag("stdin"), flag("stdout"));
    let stderr = flag("stderr") && !tty;
    match verb {
        "exec" => {
            let cmd = pairs.iter().filter(|(key, _)| *key == "command");
            let cmd = cmd.map(|(_, value)| value.clone()).collect();
            let request = api::ExecRequest { container_id, cmd, tty, stdin, stdout, stderr };
            call!(cri, runtime.exec(request)).unwrap().url
        }
        "attach" => {
            let request = api::AttachRequest { container_id, tty, stdin, stdout, stderr };
            call!(cri, runtime.attach(request)).unwrap().url
        }
        _ => {
            let request =
                api::PortForwardRequest { pod_sandbox_id: target.pod.clone(), port: Vec::new() };
            call!(cri, runtime.port_forward(request)).unwrap().url
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}

/// What kubectl wants to know before it does anything.
fn document(path: &str) -> String {
    match path {
        "/api" => r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[]}"#,
        "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#,
        "/api/v1" => r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"],"shortNames":["po"]}]}"#,
        "/api/v1/namespaces/default/pods/web" => r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},"spec":{"containers":[{"name":"main","image":"busybox","stdin":true}]},"status":{"phase":"Running"}}"#,
        "/api/v1/namespaces/default/pods/term" => r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"term","namespace":"default"},"spec":{"containers":[{"name":"main","image":"busybox","stdin":true,"tty":true}]},"status":{"phase":"Running"}}"#,
        _ => "",
    }
    .to_owned()
}

/// Both ways that kubectl speaks.
fn with_kubectl(check: impl Fn(&Kubelet)) {
    on_both(|bed| {
        let config = bed.pod("web");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        let script = "nc -ll -p 8080 -e sh -c 'read x; echo got $x' & while read line; do echo said $line; done; exit 4";
        let mut container = bed.container("main", script);
        container.stdin = true;
        let id = bed.cri.create(&pod, container, &config).unwrap();
        bed.cri.start(&id).unwrap();
        for spdy in [true, false] {
            let Some(kubelet) = Kubelet::start(bed, &pod, &id, spdy) else { return };
            check(&kubelet);
        }
    });
}

#[test]
fn kubectl_exec() {
    with_kubectl(|kubelet| {
        let mut command =
            kubelet.kubectl(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3"]);
        let ran = run(&mut command);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, "out\n"), "{ran:?}");
        assert!(ran.stderr.starts_with("err\n"), "{ran:?}");
        // Input to its end, and more output than fits into any buffer.
        let mut command =
            kubelet.kubectl(&["exec", "-i", "web", "--", "sh", "-c", "wc -c; seq 100000"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writing = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 300_000]));
        let output = child.wait_with_output().unwrap();
        writing.join().unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("300000"), "spdy: {}", kubelet.spdy);
        assert_eq!(lines.count(), 100_000);
        // A program that is not there.
        let ran = run(&mut kubelet.kubectl(&["exec", "web", "--", "/no/such"]));
        assert!(ran.code != 0 && ran.stderr.contains("no such file"), "{ran:?}");
    });
}

#[test]
fn kubectl_attach() {
    with_kubectl(|kubelet| {
        let mut child = kubelet
            .kubectl(&["attach", "-i", "web"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        stdin.write_all(b"hello\n").unwrap();
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"said hello\n") {
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn input_ends_with_its_first_client_where_that_is_wished() {
    on_both(|bed| {
        let config = bed.pod("input");
        let pod = bed.cri.run_pod(config.clone()).unwrap();
        for stdin_once in [true, false] {
            let name = if stdin_once { "once" } else { "again" };
            let script = "cat > /got; touch /ended; exec sleep 1000";
            let mut wanted = bed.container(name, script);
            (wanted.stdin, wanted.stdin_once) = (true, stdin_once);
            let id = bed.cri.create(&pod, wanted, &config).unwrap();
            bed.cri.start(&id).unwrap();
            let Some(kubelet) = Kubelet::start(bed, &pod, &id, true) else { return };
            let say = |words: &str, got: &str| {
                let mut child = kubelet
                    .kubectl(&["attach", "-i", "web"])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                // Its input stays open until it is killed.
                let mut stdin = child.stdin.take().unwrap();
                stdin.write_all(words.as_bytes()).unwrap();
                eventually("it is read", || (bed.cri.output(&id, "cat /got") == got).then_some(()));
                child.kill().unwrap();
                child.wait().unwrap();
            };
            say("one\n", "one");
            if stdin_once {
                eventually("nothing comes after", || {
                    (bed.cri.output(&id, "ls /ended") == "/ended").then_some(())
                });
            } else {
                say("two\n", "one\ntwo");
                assert_ne!(bed.cri.output(&id, "ls /ended 2>/dev/null"), "/ended");
            }
        }
    });
}

#[test]
fn kubectl_port_forward() {
    with_kubectl(|kubelet| {
        if !kubelet.spdy {
            // kubectl's other way is SPDY inside of a WebSocket, which only API servers speak.
            return;
        }
        // kubectl gives up at the first connection that nobody takes.
        let listens = "until grep -q ':1F90 ' /proc/net/tcp /proc/net/tcp6; do sleep 0.1; done";
        run(&mut kubelet.kubectl(&["exec", "web", "--", "sh", "-c", listens])).ok();
        let mut child = kubelet
            .kubectl(&["port-forward", "web", ":8080"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let mut text = String::new();
        let mut byte = [0];
        while !text.contains(" -> 8080\n") {
            assert_eq!(stdout.read(&mut byte).unwrap(), 1, "{text}");
            text.push(char::from(byte[0]));
        }
        let port = text.split(':').nth(1).unwrap().split(' ').next().unwrap().to_owned();
        for word in ["one", "two"] {
            let said = eventually("the port answers", || {
                let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).ok()?;
                stream.write_all(format!("{word}\n").as_bytes()).ok()?;
                let mut said = String::new();
                stream.read_to_string(&mut said).ok()?;
                (!said.is_empty()).then_some(said)
            });
            assert_eq!(said, format!("got {word}\n"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    });
}

#[test]
fn an_address_is_good_once() {
    on_both(|bed| {
        let (_, id) = bed.running("once", IDLE);
        let request = api::ExecRequest {
            container_id: id.clone(),
            cmd: vec!["true".into()],
            stdout: true,
            ..Default::default()
        };
        let url = call!(bed.cri, runtime.exec(request.clone())).unwrap().url;
        let rest = url.strip_prefix("http://").unwrap();
        let (host, token) = rest.split_once('/').unwrap();
        let ask = |upgrade: &str| {
            let mut stream = TcpStream::connect(host).unwrap();
            let head = format!(
                "POST /{token} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).unwrap();
            let mut line = [0; 12];
            stream.read_exact(&mut line).unwrap();
            String::from_utf8(line.to_vec()).unwrap()
        };
        assert_eq!(ask("SPDY/3.1"), "HTTP/1.1 101");
        assert_eq!(ask("SPDY/3.1"), "HTTP/1.1 404");
        let refused = api::ExecRequest { tty: true, stderr: true, ..request };
        let error = call!(bed.cri, runtime.exec(refused)).unwrap_err();
        assert_eq!(error.message(), "tty and stderr cannot both be true");
    });
}

/// Reads what a server sends until it ends: the kind of each message (1 is text, 2 is binary) and its bytes.
fn messages(mut stream: TcpStream) -> Vec<(u8, Vec<u8>)> {
    let mut all = Vec::new();
    let mut head = [0; 2];
    while stream.read_exact(&mut head).is_ok() {
        let mut length = usize::from(head[1]);
        assert!(length <= 126, "not masked, and not long");
        if length == 126 {
            let mut longer = [0; 2];
            stream.read_exact(&mut longer).unwrap();
            length = u16::from_be_bytes(longer).into();
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        match head[0] & 0xf {
            8 => break,
            kind => all.push((kind, bytes)),
        }
    }
    all
}

#[test]
fn older_protocols_over_websocket() {
    on_both(|bed| {
        let (_, id) = bed.running("older", IDLE);
        let run = |protocol: Option<&str>, script: &str| {
            let request = api::ExecRequest {
                container_id: id.clone(),
                cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
                stdout: true,
                stderr: true,
                ..api::ExecRequest::default()
            };
            let url = call!(bed.cri, runtime.exec(request)).unwrap().url;
            let (host, token) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
            let mut stream = TcpStream::connect(host).unwrap();
            let wish = protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n"));
            let head = format!(
                "GET /{token} HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
                wish.unwrap_or_default()
            );
            stream.write_all(head.as_bytes()).unwrap();
            let answer = read_head(&mut stream).unwrap().to_lowercase();
            assert!(answer.starts_with("http/1.1 101"), "{protocol:?}: {answer}");
            let said =
                answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            // containerd answers no name with an empty one.
            assert_eq!(said.filter(|name| !name.is_empty()), protocol);
            let mut all = messages(stream);
            assert!(!all.is_empty(), "{protocol:?}");
            let first = all.remove(0);
            (first, all)
        };
        for (protocol, is_text) in
            [(None, false), (Some("channel.k8s.io"), false), (Some("base64.channel.k8s.io"), true)]
        {
            let one = |binary: &[u8], text: &[u8]| {
                if is_text { (1, text.to_vec()) } else { (2, binary.to_vec()) }
            };
            let (first, good) = run(protocol, "echo out");
            assert_eq!(first, one(b"\x01", b"1"), "connected: {protocol:?}");
            assert_eq!(good, [one(b"\x01out\n", b"1b3V0Cg==")], "{protocol:?}");
            let (_, bad) = run(protocol, "echo err >&2; exit 3");
            assert_eq!(bad[0], one(b"\x02err\n", b"2ZXJyCg=="), "{protocol:?}");
            // No status: words.
            assert_eq!(
                (bad.len(), bad[1].0, bad[1].1[0] & 0xf),
                (2, if is_text { 1 } else { 2 }, 3)
            );
            assert_ne!(bad[1].1[1], b'{', "{bad:?}");
        }
        let (_, status) = run(Some("v4.base64.channel.k8s.io"), "exit 3");
        // `{"` in base64.
        assert!(status[0].1.starts_with(b"3eyJ"), "{status:?}");
    });
}

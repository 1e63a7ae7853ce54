//! The daemon's settings: what containers get that say nothing, reloading, numbers for Prometheus, sockets that systemd opened.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
};

use ferry_testkit::{Client, Sandbox, eventually, programs, run};

use crate::with_busybox;

#[test]
fn what_containers_get_that_say_nothing() {
    let sandbox = Sandbox::start_with(&[
        "--no-new-privileges",
        "--default-ipc-mode=shareable",
        "--default-cgroupns-mode=private",
        "--seccomp-profile=unconfined",
        "--host-gateway-ip=192.0.2.9",
    ]);
    sandbox.busybox();
    let look = "grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; grep gate /etc/hosts";
    let seen = sandbox.ok(&[
        "run",
        "--rm",
        "--add-host",
        "gate:host-gateway",
        "busybox",
        "sh",
        "-c",
        look,
    ]);
    assert_eq!(seen, "NoNewPrivs:\t1\nSeccomp:\t0\n192.0.2.9\tgate");
    sandbox.ok(&["create", "--name", "plain", "busybox"]);
    assert_eq!(
        sandbox.inspect("plain", "{{.HostConfig.IpcMode}} {{.HostConfig.CgroupnsMode}}"),
        "shareable private"
    );
    let own = [
        "run",
        "--rm",
        "--security-opt",
        "no-new-privileges=false",
        "busybox",
        "grep",
        "NoNew",
        "/proc/self/status",
    ];
    assert_eq!(sandbox.ok(&own), "NoNewPrivs:\t0");
}

#[test]
fn a_hangup_reads_the_file_again() {
    let file = format!("/var/tmp/ferry-settings-{}.json", std::process::id());
    std::fs::write(&file, r#"{"labels": ["one=1"]}"#).unwrap();
    let sandbox = Sandbox::start_with(&["--config-file", &file]);
    let labels = || {
        sandbox.ok(&["info", "-f", "{{.Labels}} {{.RegistryConfig.Mirrors}} {{range $name, $_ := .Runtimes}}{{$name}} {{end}}"])
    };
    assert_eq!(labels(), "[one=1] [] ferry");
    let hang_up = || {
        let pid = rustix::process::Pid::from_raw(sandbox.daemon_pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    };
    std::fs::write(&file, r#"{"labels": ["two=2"], "registry-mirrors": ["https://mirror.example.org"], "runtimes": {"other": {"path": "/usr/bin/other"}}}"#).unwrap();
    hang_up();
    eventually("the new settings", || {
        (labels() == "[two=2] [https://mirror.example.org] ferry other").then_some(())
    });
    let format = "{{.Action}} {{.Actor.Attributes.labels}}";
    let ask = ["events", "--since", "0", "--until", "0s", "--filter", "type=daemon", "--format"];
    eventually("an event tells of it", || {
        (sandbox.ok(&[&ask[..], &[format]].concat()) == "reload two=2").then_some(())
    });
    std::fs::write(&file, r#"{"labls": []}"#).unwrap();
    hang_up();
    eventually("a complaint", || {
        sandbox.daemon_log().contains("the configuration stays as it is").then_some(())
    });
    assert!(labels().starts_with("[two=2]"));
    std::fs::remove_file(file).unwrap();
}

#[test]
fn validate() {
    let sandbox = Sandbox::prepared(&[]);
    let file = sandbox.dir().join("daemon.json");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(ferry_testkit::binary());
        run(command.args(["daemon", "--validate", "--config-file"]).arg(&file))
    };
    check(r#"{"log-driver": "local", "features": {"cdi": false}}"#)
        .fails(0)
        .says("configuration OK");
    check(r#"{"nosuch": 1}"#).fails(1).says("configuration option: nosuch");
    check(r#"{"features": {"nosuch": true}}"#).fails(1).says("feature \"nosuch\" is not supported");
    check(r#"{"default-ipc-mode": "host"}"#).fails(1).says("is not supported as default value");
    check(r#"{"seccomp-profile": "/nosuch"}"#)
        .fails(1)
        .says("opening seccomp profile (/nosuch) failed");
    check(r#"{"cri-pinned-image": ["busybox", "busybox*"]}"#)
        .fails(1)
        .says("invalid cri-pinned-image \"busybox*\": before a \"*\" at its end comes");
    check(r#"{"cgroup-driver": "systemd", "exec-opts": ["native.cgroupdriver=cgroupfs"]}"#)
        .fails(1)
        .says("contradict each other");
    check(r#"{"cgroup-driver": "other"}"#)
        .fails(1)
        .says("cgroup driver \"other\" is not supported: there are cgroupfs and systemd");
    check(r#"{"exec-opts": ["native.other=1"]}"#).fails(1).says("is not supported");
    check(r#"{"cgroup-driver": "systemd", "cgroup-parent": "app"}"#)
        .fails(1)
        .says("--cgroup-parent app");
    check("{").fails(1).says("unable to configure the daemon with file");
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn numbers_for_prometheus() {
    let address = format!("127.0.0.1:{}", ferry_testkit::free_port());
    let sandbox = Sandbox::start_with(&["--metrics-addr", &address]);
    sandbox.busybox();
    sandbox.ok(&["run", "-d", "busybox", "sleep", "1000"]);
    sandbox.ok(&["create", "busybox"]);
    let text = get(&address, "/metrics");
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    for line in [
        "engine_daemon_container_states_containers{state=\"running\"} 1",
        "engine_daemon_container_states_containers{state=\"stopped\"} 1",
        "engine_daemon_container_actions_total{action=\"create\"} 2",
        "# TYPE engine_daemon_events_total counter",
        "engine_daemon_images_images 1",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
    assert!(get(&address, "/x").starts_with("HTTP/1.1 404"));
}

/// A socket that somebody else opened, as descriptor 3 of the daemon, and a word when it is ready.
const STARTER: &str = r#"
import os, socket, sys
listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); notify.bind(sys.argv[2]); notify.settimeout(60)
pid = os.fork()
if pid == 0:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", NOTIFY_SOCKET=sys.argv[2])
    os.execv(sys.argv[3], sys.argv[3:])
print(pid, notify.recv(100).decode(), flush=True)
os.waitpid(pid, 0)
"#;

#[test]
fn sockets_of_systemd() {
    let Some(python) = programs::find("python3") else { return };
    let sandbox = Sandbox::prepared(&[]);
    let dir = sandbox.dir().to_owned();
    let (socket, notify) = (dir.join("own.sock"), dir.join("notify.sock"));
    let name = dir.file_name().unwrap().to_string_lossy().into_owned();
    let mut command = Command::new(python);
    command
        .args(["-c", STARTER])
        .args([&socket, &notify])
        .arg(ferry_testkit::binary())
        .arg("daemon")
        .args([
            &format!("--data-root={}", dir.join("data2").display()),
            &format!("--exec-root={}", dir.join("run2").display()),
            "--bridge=none",
            &format!("--cgroup-parent={name}"),
            "-H",
            "fd://",
        ]);
    let mut starter = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::fs::File::create(dir.join("log2")).unwrap())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(starter.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let (pid, state) = said
        .trim()
        .split_once(' ')
        .unwrap_or_else(|| panic!("{}", std::fs::read_to_string(dir.join("log2")).unwrap()));
    assert_eq!(state, "READY=1");
    assert!(ferry_testkit::Api::new(&socket).answers());
    let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    starter.wait().unwrap();
    assert!(Path::new(&socket).exists(), "the socket is not the daemon's");
}

/// The body of a WebSocket message from a client.
fn masked(text: &[u8]) -> Vec<u8> {
    let key = [1_u8, 2, 3, 4];
    let mut frame = vec![0x82, 0x80 | u8::try_from(text.len()).unwrap()];
    frame.extend(key);
    frame.extend(text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[test]
fn attach_over_a_websocket() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&[
        "run",
        "-d",
        "-i",
        "--name",
        "echo",
        "busybox",
        "sh",
        "-c",
        "read line; echo got $line; echo err >&2; read more",
    ]);
    let mut stream = std::os::unix::net::UnixStream::connect(sandbox.socket()).unwrap();
    let head = "GET /v1.51/containers/echo/attach/ws?stream=1&logs=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(
        answer.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{answer}"
    );
    stream.write_all(&masked(b"hello\n")).unwrap();
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains("err\n") {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(head[0], 0x82);
        let mut piece = vec![0; usize::from(head[1])];
        stream.read_exact(&mut piece).unwrap();
        text.extend(piece);
    }
    assert!(String::from_utf8_lossy(&text).contains("got hello\n"));
    stream.write_all(&masked(b"bye\n")).unwrap();
    let mut close = [0; 4];
    stream.read_exact(&mut close).unwrap();
    assert_eq!(close, [0x88, 2, 3, 0xe8], "a normal end");
    let (status, _) = sandbox.api().call("GET", "/containers/echo/attach/ws", None);
    assert_eq!(status, 400);
}

//! Requests that nobody would write: paths, queries, bodies, archives and streams changed at random, from a seed that a failure names.
//! The daemon answers each of them, writes of no panic, and is the same process afterwards.
//!
//! `FERRY_LOAD_SECONDS` makes it longer. The seed is always the same, so that a change is judged by what was sent before it, too;
//! `FERRY_SEED` names another, and `FERRY_SEED=random` chooses one.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use ferry_testkit::Client;
use serde_json::json;

use crate::with_busybox;

/// How long, if nobody says.
const SECONDS: u64 = 8;

/// The seed, if nobody says.
const SEED: u64 = 20_261_121;

/// A stream of numbers that is the same for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Values that have broken programs before.
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "true",
    "x",
    "9223372036854775807",
    "-9223372036854775808",
    "1e400",
    "NaN",
    "%00",
    "%ff%fe",
    "..",
    "../../etc",
    "/",
    "//",
    ".",
    "busybox",
    "box",
    "busybox:latest@sha256:00",
    "%7B%22label%22%3A%5B%22a%22%5D%7D",
    "%7B",
    "null",
    "[]",
    "%22",
    "sha256:0000000000000000000000000000000000000000000000000000000000000000",
    "a=b",
    "\u{1f600}",
    "1.5",
    "2026-01-01T00:00:00Z",
    "10m",
    "linux/amd64/v9/x",
    "ctrl-",
    "ctrl-x,,",
    "0x10",
    "1000000000000000000000",
];

const NAMES: &[&str] = &[
    "all",
    "filters",
    "t",
    "signal",
    "name",
    "path",
    "since",
    "until",
    "tail",
    "stdout",
    "stderr",
    "follow",
    "timestamps",
    "stream",
    "one-shot",
    "fromImage",
    "fromSrc",
    "tag",
    "repo",
    "platform",
    "h",
    "w",
    "ps_args",
    "condition",
    "force",
    "v",
    "link",
    "detachKeys",
    "logs",
    "stdin",
    "noOverwriteDirNonDir",
    "copyUIDGID",
    "changes",
    "comment",
    "author",
    "container",
    "type",
    "dangling",
    "limit",
    "before",
    "size",
    "version",
    "remote",
    "dockerfile",
    "buildargs",
    "labels",
    "memory",
    "shmsize",
    "networkmode",
    "target",
    "names",
];

/// Bodies that mean something, to be changed.
fn bodies() -> Vec<Vec<u8>> {
    let create = json!({"Image": "busybox", "Cmd": ["sleep", "1"], "Env": ["A=b"], "Labels": {"a": "b"}, "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000}, "StopTimeout": 3, "Volumes": {"/v": {}},
        "HostConfig": {"Memory": 67_108_864, "NanoCpus": 500_000_000, "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]},
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 100_000, "Mode": 511}}], "Binds": ["/tmp:/x:ro"],
            "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}, "LogConfig": {"Type": "local", "Config": {"max-size": "1m"}},
            "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "r"}],
            "SecurityOpt": ["no-new-privileges"], "Sysctls": {"net.core.somaxconn": "1"}, "ShmSize": 1_000_000, "CapAdd": ["SYS_TIME"], "Dns": ["1.1.1.1"]},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": {"Aliases": ["x"], "IPAMConfig": {"IPv4Address": "172.17.0.9"}}}}});
    let others = [
        json!({"Cmd": ["cat"], "AttachStdin": true, "AttachStdout": true, "Tty": true, "DetachKeys": "ctrl-a", "ConsoleSize": [1, 2]}),
        json!({"Name": "n", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.206.0.0/24", "IPRange": "10.206.0.0/25"}]}, "Options": {"x": "y"}}),
        json!({"Name": "v", "Driver": "local", "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}, "Labels": {"a": "b"}}),
        json!({"Memory": 99_999_999, "MemorySwap": -1, "CpuShares": 12, "RestartPolicy": {"Name": "always"}, "BlkioWeight": 100}),
        json!({"Container": "box", "EndpointConfig": {"Aliases": ["y"], "GwPriority": 3, "MacAddress": "02:42:ac:11:00:99"}}),
        json!({"username": "x", "password": "y", "serveraddress": "127.0.0.1:1"}),
    ];
    let mut all: Vec<Vec<u8>> =
        [create].iter().chain(&others).map(|body| body.to_string().into_bytes()).collect();
    all.push(archive());
    all
}

/// A tar with a file, a link and a directory.
fn archive() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, link, text) in [
        ("d/", b'5', "", ""),
        ("d/f", b'0', "", "some text"),
        ("l", b'2', "d/f", ""),
        ("h", b'1', "d/f", ""),
    ] {
        let mut head = [0_u8; 512];
        head[..name.len()].copy_from_slice(name.as_bytes());
        head[100..107].copy_from_slice(b"0000755");
        head[108..115].copy_from_slice(b"0000000");
        head[116..123].copy_from_slice(b"0000000");
        head[124..135].copy_from_slice(format!("{:011o}", text.len()).as_bytes());
        head[136..147].copy_from_slice(b"00000000000");
        head[156] = kind;
        head[157..157 + link.len()].copy_from_slice(link.as_bytes());
        head[257..265].copy_from_slice(b"ustar\x0000");
        head[148..156].fill(b' ');
        let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
        head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        out.extend_from_slice(&head);
        out.extend_from_slice(text.as_bytes());
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// Something of it is changed: bytes, a piece taken out or doubled, a number, its end.
fn changed(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(body.len());
        match random.below(6) {
            0 if !body.is_empty() => body[at] = random.next() as u8,
            1 if !body.is_empty() => body[at] ^= 1 << random.below(8),
            2 => body.truncate(at),
            3 => {
                let piece = body[at..(at + random.below(60)).min(body.len())].to_vec();
                let to = random.below(body.len());
                body.splice(to..to, piece);
            }
            4 => {
                let end = (at + random.below(20)).min(body.len());
                let value = random.one(VALUES).as_bytes().to_vec();
                body.splice(at..end, value);
            }
            _ => {
                // A number of the text becomes another.
                if let Some(digit) = body[at..].iter().position(u8::is_ascii_digit) {
                    let value =
                        random.one(&["-1", "99999999999999999999", "1.5", "null", "\"x\"", "{}"]);
                    body.splice(at + digit..=at + digit, value.bytes());
                }
            }
        }
    }
    body
}

fn path(random: &mut Random, pattern: &str) -> String {
    let mut path = String::new();
    if random.below(4) == 0 {
        path.push_str(random.one(&["/v1.24", "/v1.51", "/v1.99", "/v0", "/vx", "/v1.43"]));
    }
    for part in pattern.split('/').skip(1) {
        path.push('/');
        match part.starts_with('{') {
            true if random.below(3) > 0 => {
                path.push_str(random.one(&["box", "busybox", "bridge", "lots", "idle"]))
            }
            true => path.push_str(random.one(VALUES)),
            false => path.push_str(part),
        }
    }
    for index in 0..random.below(4) {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(random.one(NAMES));
        path.push('=');
        path.push_str(random.one(VALUES));
    }
    path.replace(' ', "%20")
}

/// Sends one, and reads what comes for a short while. Whether there was an answer.
fn send(socket: &Path, head: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(Duration::from_millis(400))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(2))).ok()?;
    drop(stream.write_all(head.as_bytes()));
    drop(stream.write_all(body));
    let mut seen = Vec::new();
    let mut piece = [0; 8192];
    // Streams that go on (events, stats, logs) are left after the first of them.
    while seen.len() < 8192 {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.extend_from_slice(&piece[..count]),
        }
    }
    Some(seen)
}

/// What would take others' things, the daemon's rest or a builder's minutes.
fn is_too_much(method: &str, path: &str) -> bool {
    matches!(
        (method, path),
        ("DELETE", _)
            | (
                "POST",
                "/networks/create"
                    | "/images/load"
                    | "/build"
                    | "/images/prune"
                    | "/session"
                    | "/grpc"
            )
    ) || path.ends_with("/push")
        || path.ends_with("/prune")
}

#[test]
fn nothing_that_is_said_ends_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "-i", "--name", "box", "busybox", "cat"]);
    sandbox.ok(&["run", "-d", "-t", "--name", "idle", "busybox", "sleep", "1000"]);
    sandbox.ok(&["volume", "create", "lots"]);
    let seed: u64 = match std::env::var("FERRY_SEED").as_deref() {
        Ok("random") => u64::from(std::process::id()) * 2_654_435_761 + 1,
        Ok(text) => text.parse().unwrap(),
        Err(_) => SEED,
    };
    let seconds = std::env::var("FERRY_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let deadline = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let pid = sandbox.daemon_pid();
    let rows: Vec<(String, &str)> = ferry_server::endpoints()
        .iter()
        .map(|row| (row.method.to_string(), row.path))
        .filter(|(method, path)| !is_too_much(method, path))
        .collect();
    let (bodies, socket) = (bodies(), sandbox.socket());
    let sent = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (socket, rows, bodies, sent) = (&socket, &rows, &bodies, &sent);
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
                while Instant::now() < deadline {
                    let (method, pattern) = &rows[random.below(rows.len())];
                    let body = &bodies[random.below(bodies.len())];
                    let body = changed(&mut random, body);
                    let path = path(&mut random, pattern);
                    let kind = random.one(&["application/json", "application/x-tar", "text/plain", "", "application/json; charset=x"]);
                    let more = match random.below(8) {
                        0 => "Connection: Upgrade\r\nUpgrade: tcp\r\n".to_owned(),
                        1 => "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n".to_owned(),
                        2 => format!("X-Registry-Auth: {}\r\nConnection: close\r\n", random.one(VALUES)),
                        3 => "Expect: 100-continue\r\nConnection: close\r\n".to_owned(),
                        _ => "Connection: close\r\n".to_owned(),
                    };
                    // Now and then a length that is not its own.
                    let length = if random.below(12) == 0 { random.below(1 << 20) } else { body.len() };
                    let head = format!(
                        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{more}\r\n"
                    );
                    let answer = send(socket, &head, &body);
                    assert!(answer.is_some(), "nobody takes connections (seed {seed}): {head}");
                    sent.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    eprintln!("{} requests, seed {seed}", sent.into_inner());
    assert_eq!(sandbox.daemon_pid(), pid);
    assert!(sandbox.api().answers(), "seed {seed}");
    let log = sandbox.daemon_log();
    let panics: Vec<&str> = log.lines().filter(|line| line.contains("panicked")).collect();
    assert!(panics.is_empty(), "seed {seed}: {panics:#?}");
    // What was there is there, and works.
    assert_eq!(sandbox.ok(&["run", "--rm", "busybox", "echo", "well"]), "well");
}

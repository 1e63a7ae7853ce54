//! What a day on a busy machine is: five hundred containers at a time, and two hundred clients that never wait for each other. Not run
//! with the others, as they want the machine to themselves: `cargo xtask stress`. The figures are asserted of a release build only, which
//! `FERRY_BINARY` names.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ferry_testkit::{Api, Client, Sandbox, Traces, eventually};
use serde_json::{Value, json};

use crate::with_busybox;

/// How many containers run at a time.
const CONTAINERS: usize = 500;
/// How many clients work at a time.
const CLIENTS: usize = 200;
/// Threads that make and remove containers.
const WORKERS: usize = 16;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A figure, and what it must not be larger than. Asserted at the end, so that one too many does not hide the others.
#[derive(Default)]
struct Figures(Vec<String>);

impl Figures {
    fn at_most(&mut self, what: &str, seen: f64, limit: f64, unit: &str) {
        let line = format!("{what}: {seen:.1} {unit} (at most {limit} {unit})");
        eprintln!("{line}");
        if seen > limit {
            self.0.push(line);
        }
    }

    /// Figures count only for the program that people get.
    fn check(&self) {
        let counts = std::env::var_os("FERRY_BINARY").is_some();
        assert!(!counts || self.0.is_empty(), "too much: {:#?}", self.0);
    }
}

/// Does something for each number below `count`, on several threads.
fn for_each(count: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        break;
                    }
                    work(index);
                }
            });
        }
    });
}

/// Memory that a process has for itself, with its share of what it has with others, in MB.
fn memory(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0");
    line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or_default() * 1024.0 / 1e6
}

fn parent(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    line.and_then(|pid| pid.parse().ok()).unwrap_or_default()
}

/// The daemon, what forks shims for it, and the shims.
fn engine(sandbox: &Sandbox) -> BTreeSet<u32> {
    let (_, all) = sandbox.api().call("GET", "/containers/json", None);
    let mut found = BTreeSet::from([sandbox.daemon_pid()]);
    for container in all.as_array().unwrap() {
        let path = format!("/containers/{}/json", container["Id"].as_str().unwrap());
        let (_, inspect) = sandbox.api().call("GET", &path, None);
        let pid = u32::try_from(inspect["State"]["Pid"].as_u64().unwrap()).unwrap();
        found.insert(parent(pid));
    }
    let children = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = children.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    found.extend(pids.filter(|pid| parent(*pid) == sandbox.daemon_pid()));
    found
}

fn running(api: &Api) -> usize {
    api.call("GET", "/containers/json", None).1.as_array().map_or(0, Vec::len)
}

#[test]
#[ignore = "a load of minutes: cargo xtask stress"]
fn five_hundred_containers() {
    let count = number("FERRY_LOAD_CONTAINERS", CONTAINERS);
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["network", "create", "--subnet", "10.207.0.0/16", "wide"]);
    sandbox.ok(&["run", "--rm", "--network", "wide", "busybox", "true"]);
    let before = Traces::at_rest(&sandbox);
    let api = sandbox.api();
    let mut figures = Figures::default();
    let began = Instant::now();
    for_each(count, |index| {
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "100000"], "HostConfig": {"NetworkMode": "wide"}});
        let path = format!("/containers/create?name=load-{index}");
        let (status, answer) = api.call("POST", &path, Some(&body));
        assert_eq!(status, 201, "{answer}");
        let (status, answer) = api.call("POST", &format!("/containers/load-{index}/start"), None);
        assert_eq!(status, 204, "{answer}");
    });
    eprintln!("{count} containers started in {:?}", began.elapsed());
    assert_eq!(running(&api), count);
    let mut times: Vec<f64> = (0..15)
        .map(|_| {
            let began = Instant::now();
            let lines = sandbox.ok(&["ps", "--quiet"]).lines().count();
            assert_eq!(lines, count);
            began.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    eprintln!("ps, the fastest of 15: {:.1} ms", times[0]);
    figures.at_most("ps, median of 15", times[7], 100.0, "ms");
    let processes = engine(&sandbox);
    let total: f64 = processes.iter().map(|pid| memory(*pid)).sum();
    eprintln!(
        "{} processes of the engine; the daemon's share is {:.1} MB",
        processes.len(),
        memory(sandbox.daemon_pid())
    );
    figures.at_most("memory of the engine in all (PSS)", total, 400.0, "MB");
    sandbox.kill_daemon();
    let began = Instant::now();
    sandbox.start_daemon(None);
    eventually("all are adopted", || (running(&api) == count).then_some(()));
    figures.at_most("ready after kill -9, all adopted", began.elapsed().as_secs_f64(), 1.0, "s");
    for index in [0, count / 2, count - 1] {
        let name = format!("load-{index}");
        assert_eq!(sandbox.ok(&["exec", &name, "cat", "/proc/1/comm"]), "sleep");
    }
    let began = Instant::now();
    for_each(count, |index| {
        let (status, answer) =
            api.call("DELETE", &format!("/containers/load-{index}?force=1"), None);
        assert_eq!(status, 204, "{answer}");
    });
    eprintln!("{count} containers removed in {:?}", began.elapsed());
    Traces::come_back_to(&sandbox, &before, 4, "after the last container");
    figures.check();
}

/// What happened to all requests.
#[derive(Default)]
struct Tally {
    requests: AtomicUsize,
    conflicts: AtomicUsize,
    slowest: Mutex<Duration>,
    wrong: Mutex<Vec<String>>,
}

/// One of the two hundred.
struct Worker<'a> {
    api: Api,
    tally: &'a Tally,
    random: u64,
}

impl Worker<'_> {
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// A request, whose status must be one of these.
    fn ask(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        expected: &[u16],
    ) -> (u16, Value) {
        let began = Instant::now();
        let (status, answer) = self.api.call(method, path, body);
        let mut slowest = self.tally.slowest.lock().unwrap();
        *slowest = began.elapsed().max(*slowest);
        drop(slowest);
        self.tally.requests.fetch_add(1, Ordering::Relaxed);
        if !expected.contains(&status) {
            let words = format!("{method} {path}: {status} {answer}");
            self.tally.wrong.lock().unwrap().push(words);
        } else if matches!(status, 304 | 404 | 409) {
            self.tally.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        (status, answer)
    }

    /// The whole life of a container that nobody else knows: there is no conflict to have.
    fn own_life(&mut self, name: &str) {
        let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", "echo up; sleep 1000"],
            "HostConfig": {"NetworkMode": "wide", "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}});
        let create = format!("/containers/create?name={name}");
        if self.ask("POST", &create, Some(&body), &[201]).0 != 201 {
            return;
        }
        let path = |verb: &str| format!("/containers/{name}/{verb}");
        self.ask("POST", &path("start"), None, &[204]);
        let exec = json!({"Cmd": ["cat", "/proc/1/comm"], "AttachStdout": true});
        let (status, answer) = self.ask("POST", &path("exec"), Some(&exec), &[201]);
        if status == 201 {
            let start = format!("/exec/{}/start", answer["Id"].as_str().unwrap());
            self.ask("POST", &start, Some(&json!({})), &[200, 101]);
        }
        self.ask("GET", &path("logs?stdout=1"), None, &[200]);
        if self.random(2) == 0 {
            self.ask("POST", &path("stop?t=0"), None, &[204]);
            self.ask("DELETE", &format!("/containers/{name}?v=1"), None, &[204]);
        } else {
            self.ask("DELETE", &format!("/containers/{name}?force=1&v=1"), None, &[204]);
        }
    }

    /// One request about a container that others have to do with, too.
    fn shared(&mut self) {
        let name = format!("shared-{}", self.random(20));
        let path = |verb: &str| format!("/containers/{name}/{verb}");
        match self.random(7) {
            0 => {
                let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"]});
                let create = format!("/containers/create?name={name}");
                self.ask("POST", &create, Some(&body), &[201, 409]);
            }
            1 | 2 => drop(self.ask("POST", &path("start"), None, &[204, 304, 404, 409])),
            3 => drop(self.ask("POST", &path("stop?t=0"), None, &[204, 304, 404, 409])),
            4 => {
                let exec = json!({"Cmd": ["true"], "AttachStdout": true});
                let (status, answer) =
                    self.ask("POST", &path("exec"), Some(&exec), &[201, 404, 409]);
                if status == 201 {
                    let start = format!("/exec/{}/start", answer["Id"].as_str().unwrap());
                    self.ask("POST", &start, Some(&json!({})), &[200, 101, 404, 409]);
                }
            }
            5 => drop(self.ask("GET", &path("json"), None, &[200, 404])),
            _ => {
                let remove = format!("/containers/{name}?force=1");
                self.ask("DELETE", &remove, None, &[204, 404, 409]);
            }
        }
    }
}

#[test]
#[ignore = "a load of minutes: cargo xtask stress"]
fn two_hundred_clients() {
    let seconds = number("FERRY_LOAD_SECONDS", 60);
    let clients = number("FERRY_LOAD_CLIENTS", CLIENTS);
    // As many containers as clients want addresses, and more than a /24 has.
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["network", "create", "--subnet", "10.207.0.0/16", "wide"]);
    for network in ["wide", "bridge"] {
        let words = ["run", "--rm", "--network", network, "-p", "127.0.0.1::80", "busybox", "true"];
        sandbox.ok(&words);
    }
    let before = Traces::at_rest(&sandbox);
    let tally = Tally::default();
    let lives = AtomicUsize::new(0);
    let deadline = Instant::now() + Duration::from_secs(seconds as u64);
    std::thread::scope(|scope| {
        for client in 0..clients {
            let mut worker = Worker {
                api: sandbox.api(),
                tally: &tally,
                random: 0x9e37_79b9_7f4a_7c15 ^ (client as u64 + 1),
            };
            let lives = &lives;
            scope.spawn(move || {
                let mut round = 0;
                while Instant::now() < deadline {
                    if worker.random(3) == 0 {
                        worker.shared();
                    } else {
                        worker.own_life(&format!("own-{client}-{round}"));
                        lives.fetch_add(1, Ordering::Relaxed);
                    }
                    round += 1;
                }
            });
        }
    });
    let wrong = tally.wrong.into_inner().unwrap();
    eprintln!(
        "{clients} clients in {seconds} s: {} requests, {} whole lives, {} true conflicts, the slowest answer after {:?}, {} wrong",
        tally.requests.into_inner(),
        lives.into_inner(),
        tally.conflicts.into_inner(),
        tally.slowest.into_inner().unwrap(),
        wrong.len(),
    );
    let first: Vec<&String> = wrong.iter().take(20).collect();
    assert!(wrong.is_empty(), "{} answers that are no true conflict: {first:#?}", wrong.len());
    for index in 0..20 {
        sandbox.api().call("DELETE", &format!("/containers/shared-{index}?force=1"), None);
    }
    assert_eq!(running(&sandbox.api()), 0);
    Traces::come_back_to(&sandbox, &before, 4, "after the last container");
}

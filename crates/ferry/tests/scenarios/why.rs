//! `ferry why`: faults are made, and it must name them. Twenty-three of twenty-five are the least.

use std::{net::TcpListener, os::unix::fs::PermissionsExt};

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::Value;

use crate::with_busybox;

/// Causes that `why` gives, the first of them the main one.
fn causes(sandbox: &Sandbox, name: &str) -> Vec<String> {
    let text = sandbox.ok(&["why", "--format", "json", name]);
    let found: Value = serde_json::from_str(&text).unwrap();
    found
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["Cause"].as_str().unwrap().to_owned())
        .collect()
}

struct Faults {
    sandbox: Sandbox,
    made: usize,
    missed: Vec<String>,
}

impl Faults {
    /// A container that ends, or does not start, and the cause that must come first.
    fn run(&mut self, cause: &str, flags: &[&str], command: &[&str]) {
        let name = self.next();
        let words = [&["run", "-d", "--name", &name], flags, &["busybox"], command].concat();
        let run = self.sandbox.run(&words);
        if run.code == 0 {
            eventually("it ends", || {
                (self.sandbox.inspect(&name, "{{.State.Running}}") == "false").then_some(())
            });
        }
        self.expect(&name, cause);
    }

    fn next(&mut self) -> String {
        self.made += 1;
        format!("fault{}", self.made)
    }

    fn expect(&mut self, name: &str, cause: &str) {
        let found = causes(&self.sandbox, name);
        if found.first().map(String::as_str) != Some(cause) {
            let why = self.sandbox.ok(&["why", name]);
            self.missed.push(format!("{name}: {cause}, not {found:?}: {why}"));
        }
    }

    /// A container that runs while something is done to it.
    fn running(&mut self, flags: &[&str], command: &[&str]) -> String {
        let name = self.next();
        self.sandbox.ok(&[&["run", "-d", "--name", &name], flags, &["busybox"], command].concat());
        name
    }
}

#[test]
fn twenty_five_faults() {
    let sandbox = with_busybox(Client::Ferry);
    let dir = sandbox.dir().to_owned();
    let mut faults = Faults { sandbox, made: 0, missed: Vec::new() };
    programs_that_cannot_run(&mut faults, &dir);
    ends_by_others(&mut faults);
    ends_by_themselves(&mut faults);
    surroundings(&mut faults, &dir);
    assert!(faults.made >= 25, "{}", faults.made);
    let least = faults.made - 2;
    assert!(faults.made - faults.missed.len() >= least, "{:#?}", faults.missed);
    eprintln!(
        "{} faults, {} named wrongly: {:#?}",
        faults.made,
        faults.missed.len(),
        faults.missed
    );
}

fn programs_that_cannot_run(faults: &mut Faults, dir: &std::path::Path) {
    let put = |name: &str, bytes: &[u8], mode: u32| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        format!("{}:/x", path.display())
    };
    let mut elf = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    elf.truncate(1 << 20);
    let dynamic = put("dynamic", &elf, 0o755);
    elf[18] = 183;
    let arm = put("arm", &elf, 0o755);
    faults.run("missing-program", &[], &["nosuchprogram"]);
    faults.run("missing-program", &[], &["/nosuch"]);
    faults.run("directory", &[], &["/etc"]);
    faults.run("not-executable", &["-v", &put("plain", b"#!/bin/sh\n", 0o644)], &["/x"]);
    faults.run("missing-interpreter", &["-v", &put("py", b"#!/usr/bin/python\n", 0o755)], &["/x"]);
    faults.run("crlf", &["-v", &put("crlf", b"#!/bin/sh\r\necho\r\n", 0o755)], &["/x"]);
    faults.run("wrong-architecture", &["-v", &arm], &["/x"]);
    faults.run("missing-loader", &["-v", &dynamic], &["/x"]);
    faults.run("no-program", &["-v", &put("text", b"echo hi\n", 0o755)], &["/x"]);
}

fn ends_by_others(faults: &mut Faults) {
    let eat = "x=a; while true; do x=$x$x; done";
    faults.run("oom", &["-m", "16m", "--memory-swap", "16m"], &["sh", "-c", eat]);
    let name = faults.running(&[], &["sleep", "1000"]);
    faults.sandbox.ok(&["kill", &name]);
    faults.sandbox.ok(&["wait", &name]);
    faults.expect(&name, "killed-by-user");
    let name = faults.running(&[], &["sleep", "1000"]);
    faults.sandbox.ok(&["stop", "-t", "1", &name]);
    faults.expect(&name, "stop-timeout");
    let name = faults.running(&["--init"], &["sleep", "1000"]);
    faults.sandbox.ok(&["stop", &name]);
    faults.expect(&name, "stopped");
    let name = faults.running(&[], &["sleep", "1000"]);
    let pid: i32 = faults.sandbox.inspect(&name, "{{.State.Pid}}").parse().unwrap();
    let process = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    faults.sandbox.ok(&["wait", &name]);
    faults.expect(&name, "killed-from-outside");
    let check =
        ["--health-cmd", "echo sick; false", "--health-interval", "100ms", "--health-retries", "2"];
    let name = faults.running(&check, &["sleep", "1000"]);
    eventually("unhealthy", || {
        (faults.sandbox.inspect(&name, "{{.State.Health.Status}}") == "unhealthy").then_some(())
    });
    faults.expect(&name, "health-check");
    assert!(faults.sandbox.ok(&["why", &name]).contains("it said: sick"));
    faults.run(
        "health-check",
        &[&check[..], &["--health-on-failure", "kill"]].concat(),
        &["sleep", "1000"],
    );
}

fn ends_by_themselves(faults: &mut Faults) {
    faults.run("done", &[], &["true"]);
    faults.run("shell-without-input", &[], &["sh"]);
    faults.run("program", &[], &["sh", "-c", "exit 3"]);
    faults.run("crashed", &["--init"], &["sh", "-c", "kill -SEGV $$"]);
    faults.run("aborted", &["--init"], &["sh", "-c", "kill -ABRT $$"]);
    faults.run("not-found-by-shell", &[], &["sh", "-c", "nosuch"]);
    faults.run("read-only", &["--read-only"], &["touch", "/x"]);
    faults.run(
        "disk-full",
        &["--tmpfs", "/t:size=64k"],
        &["sh", "-c", "dd if=/dev/zero of=/t/x bs=1k count=100"],
    );
    faults.run("not-permitted", &["--cap-drop", "ALL"], &["chown", "5", "/etc/passwd"]);
}

fn surroundings(faults: &mut Faults, dir: &std::path::Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("127.0.0.1:{}:80", listener.local_addr().unwrap().port());
    faults.run("port-taken", &["-p", &port], &["sleep", "1000"]);
    let last = format!("fault{}", faults.made);
    let words = faults.sandbox.ok(&["why", &last]);
    assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
    faults.run("no-user", &["-u", "nosuch"], &["true"]);
    let name = faults.next();
    let file = dir.join("plain").display().to_string();
    let mount = format!("{file}:/bin");
    drop(faults.sandbox.run(&["run", "-d", "--name", &name, "-v", &mount, "busybox", "true"]));
    faults.expect(&name, "mount-kind");
    let name = faults.next();
    faults.sandbox.ok(&["create", "--name", &name, "busybox", "true"]);
    faults.expect(&name, "never-started");
    let name = faults.next();
    faults.sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "donor",
        "--ipc",
        "shareable",
        "busybox",
        "sleep",
        "1000",
    ]);
    faults.sandbox.ok(&[
        "create",
        "--name",
        &name,
        "--network",
        "container:donor",
        "busybox",
        "true",
    ]);
    faults.sandbox.ok(&["rm", "-f", "donor"]);
    faults.sandbox.run(&["start", &name]).fails(1);
    let found = causes(&faults.sandbox, &name);
    assert!(matches!(found[0].as_str(), "joined-container" | "network" | "start"), "{found:?}");
}

/// Who sent a signal is in the container's record, not in the daemon's head.
#[test]
fn another_daemon_knows_it_too() {
    let sandbox = with_busybox(Client::Ferry);
    for name in ["killed", "stopped", "later"] {
        let words = ["run", "-d", "--name", name, "busybox", "sleep", "1000"];
        sandbox.ok(&words);
    }
    sandbox.ok(&["kill", "killed"]);
    sandbox.ok(&["wait", "killed"]);
    sandbox.ok(&["stop", "-t", "0", "stopped"]);
    let before: Vec<Vec<String>> =
        ["killed", "stopped"].iter().map(|name| causes(&sandbox, name)).collect();
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(causes(&sandbox, "killed"), before[0]);
    assert_eq!(causes(&sandbox, "stopped"), before[1]);
    // One that this daemon has not started, either.
    sandbox.ok(&["kill", "later"]);
    sandbox.ok(&["wait", "later"]);
    assert_eq!(causes(&sandbox, "later"), before[0]);
    let pid = {
        sandbox.ok(&["start", "killed"]);
        sandbox.inspect("killed", "{{.State.Pid}}").parse().unwrap()
    };
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("it ends", || {
        (sandbox.inspect("killed", "{{.State.Running}}") == "false").then_some(())
    });
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(
        causes(&sandbox, "killed"),
        ["killed-from-outside"],
        "that was before its last start"
    );
}

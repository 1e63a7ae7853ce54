//! `--runtime`: Debian's runc and crun make containers, and everything else about these is as ever. FEATURES A20, B1.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use ferry_testkit::{Client, Sandbox, Traces, eventually, programs};

use crate::{Scratch, scratch};

through_both!(
    a_life_with_runc,
    a_life_with_crun,
    a_life_with_ferry_oci,
    what_a_runtime_refuses_is_told,
    runtimes_are_listed_and_chosen
);

#[test]
fn runc_containers_outlive_the_daemon() {
    outlives_the_daemon("runc");
}

#[test]
fn crun_containers_outlive_the_daemon() {
    outlives_the_daemon("crun");
}

/// A runtime that can work on this machine, in a directory of the test's own.
pub(crate) fn runtime(name: &str) -> Option<(PathBuf, Scratch)> {
    let directory = scratch("runtime");
    if name == "ferry-oci" {
        let link = directory.join(name);
        std::os::unix::fs::symlink(ferry_testkit::binary(), &link).unwrap();
        return Some((link, directory));
    }
    let program = programs::find(name)?;
    // What is there, not what is on: others switch it on at any moment.
    let hybrid = std::fs::read_to_string("/sys/fs/cgroup/unified/cgroup.controllers");
    if name != "crun" || hybrid.map_or(true, |text| text.trim().is_empty()) {
        return Some((program, directory));
    }
    // crun refuses a machine whose version 2 tree has controllers beside those of version 1: it does not get to see it.
    let wrapper = directory.join("crun");
    let script = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'umount /sys/fs/cgroup/unified; exec \"$0\" \"$@\"' {} \"$@\"\n",
        program.display()
    );
    std::fs::write(&wrapper, script).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    Some((wrapper, directory))
}

/// A daemon that has only this runtime besides its own, and whose default it is.
struct Foreign {
    sandbox: Sandbox,
    /// Where the runtime is.
    _directory: Scratch,
}

impl Foreign {
    fn start(name: &str, client: Client) -> Option<Foreign> {
        let (program, directory) = runtime(name)?;
        let add = format!("--add-runtime={name}={}", program.display());
        let sandbox = Sandbox::start_with(&[&add]).through(client);
        sandbox.busybox();
        Some(Foreign { sandbox, _directory: directory })
    }
}

fn a_life_with_runc(client: Client) {
    a_life("runc", client);
}

fn a_life_with_crun(client: Client) {
    a_life("crun", client);
}

/// Ferry with itself as another runtime.
fn a_life_with_ferry_oci(client: Client) {
    a_life("ferry-oci", client);
}

fn a_life(name: &str, client: Client) {
    let Some(foreign) = Foreign::start(name, client) else { return };
    let sandbox = &foreign.sandbox;
    // The bridge is there from here on.
    sandbox.ok(&["run", "--rm", "busybox", "true"]);
    let before = Traces::at_rest(sandbox);
    ends_as_its_program_does(sandbox, name);
    works_as_any_other(sandbox, name);
    has_limits(sandbox, name);
    has_a_terminal(sandbox, name, client);
    stops_and_starts_again(sandbox, name);
    serves_a_port(sandbox, name);
    // The kernel takes links apart behind everybody's back.
    eventually("nothing stays", || {
        let mut after = Traces::of(sandbox);
        // What the daemon keeps open is not the runtimes' affair.
        after.descriptors = before.descriptors;
        (after == before).then_some(())
    });
}

fn ends_as_its_program_does(sandbox: &Sandbox, name: &str) {
    let run = |args: &[&str]| {
        let words = [&["run", "--rm", "--runtime", name, "--network", "none"], args].concat();
        sandbox.run(&words)
    };
    let said = run(&["busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]).fails(7).says("err");
    assert_eq!(said.stdout, "out\n");
    run(&["busybox", "sh", "-c", "kill -9 $$"]).fails(0);
    let seen = run(&[
        "-u",
        "nobody",
        "-h",
        "box",
        "-w",
        "/etc",
        "-e",
        "A=b",
        "busybox",
        "sh",
        "-c",
        "id -un; id -G; hostname; pwd; echo $A $HOME; grep Seccomp: /proc/self/status; grep CapEff /proc/1/status",
    ]);
    let seen = seen.ok();
    let seen: Vec<&str> = seen.lines().collect();
    assert_eq!(seen[..5], ["nobody", "65534 50", "box", "/etc", "b /"]);
    assert_eq!(seen[5], "Seccomp:\t2", "the filter goes along");
    assert_eq!(seen[6], "CapEff:\t0000000000000000");
    let echoed = sandbox
        .with_input(&["run", "--rm", "-i", "--runtime", name, "busybox", "cat"], b"one\ntwo\n");
    assert_eq!(echoed.ok(), "one\ntwo");
}

fn works_as_any_other(sandbox: &Sandbox, name: &str) {
    let id = sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "life",
        "--runtime",
        name,
        "-v",
        "things:/srv",
        "busybox",
        "sh",
        "-c",
        "echo ready; touch /made /srv/kept; sleep 1000",
    ]);
    assert_eq!(
        sandbox.inspect("life", "{{.HostConfig.Runtime}} {{.State.Status}}"),
        format!("{name} running")
    );
    let config = sandbox.dir().join("run/c").join(&id).join("bundle/config.json");
    assert!(config.is_file(), "the runtime has a bundle");
    eventually("its output is in the log", || {
        (sandbox.ok(&["logs", "life"]) == "ready").then_some(())
    });
    assert_eq!(
        sandbox.ok(&[
            "exec",
            "-u",
            "nobody",
            "-w",
            "/tmp",
            "-e",
            "A=b",
            "life",
            "sh",
            "-c",
            "id -un; pwd; echo $A"
        ]),
        "nobody\n/tmp\nb"
    );
    sandbox.run(&["exec", "life", "sh", "-c", "echo err >&2; exit 9"]).fails(9).says("err");
    sandbox.run(&["exec", "life", "nonexistent"]).fails(127);
    assert_eq!(sandbox.with_input(&["exec", "-i", "life", "cat"], b"through").ok(), "through");
    sandbox.ok(&["exec", "-d", "life", "touch", "/detached"]);
    eventually("a detached exec ran", || {
        (sandbox.run(&["exec", "life", "test", "-e", "/detached"]).code == 0).then_some(())
    });
    assert!(sandbox.ok(&["top", "life"]).contains("sleep 1000"));
    sandbox.ok(&["pause", "life"]);
    assert_eq!(sandbox.inspect("life", "{{.State.Status}}"), "paused");
    sandbox.ok(&["unpause", "life"]);
    sandbox.ok(&["exec", "life", "test", "-e", "/made"]);
    sandbox.run(&["rm", "life"]).fails(1).says("container is running");
}

fn has_limits(sandbox: &Sandbox, name: &str) {
    let id = sandbox.ok(&[
        "create",
        "--name",
        "limits",
        "--runtime",
        name,
        "-m",
        "48m",
        "--memory-swap",
        "48m",
        "--pids-limit",
        "50",
        "--cpus",
        "0.5",
        "busybox",
        "sh",
        "-c",
        "until [ -e /go ]; do sleep 0.1; done; x=x; while :; do x=$x$x; done",
    ]);
    sandbox.ok(&["start", "limits"]);
    let group = |controller: &str, file: &str| {
        let path = format!("/sys/fs/cgroup/{controller}/{}/{id}/{file}", sandbox.cgroup_parent());
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    };
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(group("", "memory.max"), "50331648");
        assert_eq!(group("", "pids.max"), "50");
    } else {
        assert_eq!(group("memory", "memory.limit_in_bytes"), "50331648");
        assert_eq!(group("pids", "pids.max"), "50");
        assert_eq!(group("cpu", "cpu.cfs_quota_us"), "50000");
    }
    // Whether this is killed with it depends on who is faster.
    sandbox.run(&["exec", "limits", "touch", "/go"]);
    assert_eq!(sandbox.ok(&["wait", "limits"]), "137");
    assert_eq!(sandbox.inspect("limits", "{{.State.OOMKilled}}"), "true");
    sandbox.ok(&["rm", "limits"]);
}

fn has_a_terminal(sandbox: &Sandbox, name: &str, client: Client) {
    let Some(script) = programs::find("script") else { return };
    let program = sandbox.command(&[]).get_program().to_string_lossy().into_owned();
    for (words, code) in [
        (format!("run --rm -it --runtime {name} busybox sh -c 'tty; stty size; exit 3'"), 3),
        // Its size comes behind its start.
        (
            "exec -it life sh -c 'tty; n=0; until stty size | grep \"33 77\" || [ $n -ge 300 ]; do n=$((n + 1)); sleep 0.1; done'"
                .to_owned(),
            0,
        ),
    ] {
        let mut command = Command::new(&script);
        command
            .args(["-qec", &format!("stty rows 33 cols 77; {program} {words}"), "/dev/null"])
            .env("DOCKER_HOST", sandbox.host())
            .env("DOCKER_CONFIG", sandbox.dir().join("config"));
        let seen = ferry_testkit::run(&mut command);
        assert_eq!(seen.code, code, "{client:?} {seen}");
        assert!(seen.stdout.contains("/dev/pts/0"), "{seen}");
        assert!(seen.stdout.contains("33 77"), "{seen}");
    }
}

fn stops_and_starts_again(sandbox: &Sandbox, name: &str) {
    sandbox.ok(&["stop", "-t", "1", "life"]);
    assert_eq!(sandbox.inspect("life", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    sandbox.ok(&["start", "life"]);
    sandbox.ok(&["restart", "-t", "0", "life"]);
    sandbox.ok(&["exec", "life", "test", "-e", "/made", "-a", "-e", "/srv/kept"]);
    sandbox.ok(&["kill", "-s", "TERM", "life"]);
    sandbox.ok(&["rm", "-f", "life"]);
    sandbox.ok(&["volume", "rm", "things"]);
    let polite = "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "polite",
        "--runtime",
        name,
        "busybox",
        "sh",
        "-c",
        polite,
    ]);
    eventually("it is up", || sandbox.ok(&["logs", "polite"]).contains("up").then_some(()));
    sandbox.ok(&["stop", "polite"]);
    assert_eq!(sandbox.inspect("polite", "{{.State.ExitCode}}"), "4", "signals arrive");
    assert_eq!(sandbox.ok(&["logs", "polite"]), "up\nbye");
    sandbox.ok(&["rm", "polite"]);
}

fn serves_a_port(sandbox: &Sandbox, name: &str) {
    let script = format!("echo {name} > /index.html; exec httpd -f -p 80 -h /");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--runtime",
        name,
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        &script,
    ]);
    let address = sandbox.ok(&["port", "web", "80"]);
    assert_eq!(eventually("it answers", || fetch(&address)), name);
    sandbox.ok(&["rm", "-f", "web"]);
}

fn fetch(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned())
}

fn outlives_the_daemon(name: &str) {
    let Some(foreign) = Foreign::start(name, Client::Ferry) else { return };
    let sandbox = &foreign.sandbox;
    let count = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "on",
        "--runtime",
        name,
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        count,
    ]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "ends",
        "--runtime",
        name,
        "busybox",
        "sh",
        "-c",
        "sleep 1; exit 5",
    ]);
    let pid = sandbox.inspect("on", "{{.State.Pid}}");
    let port = sandbox.ok(&["port", "on"]);
    for _ in 0..2 {
        sandbox.kill_daemon();
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert!(Path::new(&format!("/proc/{pid}")).exists());
        sandbox.start_daemon(None);
        assert_eq!(
            sandbox.inspect("on", "{{.State.Pid}} {{.State.Status}}"),
            format!("{pid} running")
        );
    }
    assert_eq!(sandbox.ok(&["port", "on"]), port);
    eventually("the other ended, while nobody was there or later", || {
        let state = sandbox.inspect("ends", "{{.State.Status}} {{.State.ExitCode}}");
        (state == "exited 5").then_some(())
    });
    assert_eq!(sandbox.ok(&["exec", "on", "echo", "inside"]), "inside");
    sandbox.ok(&["stop", "-t", "0", "on"]);
    let lines = sandbox.ok(&["logs", "on"]);
    let expected: Vec<String> = (1..=lines.lines().count()).map(|line| line.to_string()).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected, "no line was lost");
    // Between creation and start nobody but the daemon knows of it.
    for point in ["start.created", "start.network"] {
        sandbox.stop_daemon();
        sandbox.start_daemon(Some(point));
        sandbox.run(&["start", "on"]);
        sandbox.wait_for_death();
        sandbox.start_daemon(None);
        assert_eq!(sandbox.inspect("on", "{{.State.Running}}"), "false", "{point}");
        sandbox.ok(&["start", "on"]);
        sandbox.ok(&["stop", "-t", "0", "on"]);
    }
    sandbox.ok(&["rm", "on", "ends"]);
}

fn what_a_runtime_refuses_is_told(client: Client) {
    let (Some(runc), Some(_)) = (programs::find("runc"), programs::find("unshare")) else { return };
    let broken = scratch("runtime-broken");
    let mute = broken.join("mute");
    std::fs::write(&mute, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&mute, std::fs::Permissions::from_mode(0o755)).unwrap();
    let sandbox = Sandbox::start_with(&[
        &format!("--add-runtime=runc={}", runc.display()),
        "--add-runtime=gone=/nonexistent/runtime",
        &format!("--add-runtime=mute={}", mute.display()),
    ])
    .through(client);
    sandbox.busybox();
    let run = |runtime: &str, program: &str| {
        sandbox.run(&["run", "--rm", "--network", "none", "--runtime", runtime, "busybox", program])
    };
    let create = "failed to create task for container: failed to create shim task: OCI runtime create failed: ";
    run("runc", "nonexistent").fails(127).says(&format!(
        "{create}runc create failed: unable to start container process: exec: \"nonexistent\": executable file not found in $PATH"
    ));
    run("runc", "/etc/passwd").fails(126).says("permission denied");
    run("gone", "true")
        .fails(127)
        .says(&format!("{create}fork/exec /nonexistent/runtime: no such file or directory"));
    run("mute", "true").fails(125).says("exit status 3");
    run("other", "true").fails(125).says("unknown or invalid runtime name: other");
    sandbox
        .run(&["create", "--runtime", "other", "busybox"])
        .fails(1)
        .says("unknown or invalid runtime name: other");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

fn runtimes_are_listed_and_chosen(client: Client) {
    let Some((program, directory)) = runtime("runc") else { return };
    let file = directory.join("daemon.json");
    let path = program.display().to_string();
    let config = serde_json::json!({
        "runtimes": {"plain": {"path": path}, "loud": {"path": path, "runtimeArgs": ["--debug"]}},
        "default-runtime": "loud",
    });
    std::fs::write(&file, config.to_string()).unwrap();
    let sandbox =
        Sandbox::start_with(&[&format!("--config-file={}", file.display())]).through(client);
    sandbox.busybox();
    let listed = sandbox.ok(&[
        "info",
        "--format",
        "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}{{.DefaultRuntime}}",
    ]);
    assert_eq!(listed, "ferry loud plain loud");
    let id = sandbox.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
    assert_eq!(sandbox.inspect("one", "{{.HostConfig.Runtime}}"), "loud");
    let log = |id: &str| {
        std::fs::read_to_string(sandbox.dir().join("run/c").join(id).join("runtime.log"))
            .unwrap_or_default()
    };
    assert!(log(&id).contains("\"level\":\"debug\""), "the runtime got its argument");
    let id = sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "two",
        "--runtime",
        "plain",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(log(&id), "");
    let id = sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "own",
        "--runtime",
        "ferry",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert!(!sandbox.dir().join("run/c").join(id).join("bundle").exists());
    sandbox.ok(&["rm", "-f", "one", "two", "own"]);
}

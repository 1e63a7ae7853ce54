//! The daemon dies at the worst moments: containers go on, nothing is lost, nothing half made stays.

use ferry_testkit::{Client, Sandbox, Traces, eventually};

use crate::with_busybox;

#[test]
fn containers_outlive_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "on",
        "-p",
        "127.0.0.1::80",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    sandbox.ok(&["run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 5"]);
    let pid = sandbox.inspect("on", "{{.State.Pid}}");
    let (address, port) = (
        sandbox.inspect("on", "{{.NetworkSettings.Networks.bridge.IPAddress}}"),
        sandbox.ok(&["port", "on"]),
    );
    for _ in 0..3 {
        sandbox.kill_daemon();
        std::thread::sleep(std::time::Duration::from_millis(600));
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
        sandbox.start_daemon(None);
        assert_eq!(
            sandbox.inspect("on", "{{.State.Pid}} {{.State.Status}}"),
            format!("{pid} running")
        );
    }
    assert_eq!(sandbox.ok(&["port", "on"]), port);
    assert_eq!(sandbox.inspect("on", "{{.NetworkSettings.Networks.bridge.IPAddress}}"), address);
    assert_eq!(
        sandbox.inspect("ends", "{{.State.Status}} {{.State.ExitCode}}"),
        "exited 5",
        "it ended while nobody was there"
    );
    assert_eq!(sandbox.ok(&["exec", "on", "echo", "inside"]), "inside");
    sandbox.ok(&["stop", "-t", "0", "on"]);
    let lines = sandbox.ok(&["logs", "on"]);
    let expected: Vec<String> =
        (1..=lines.lines().count()).map(|number| number.to_string()).collect();
    assert_eq!(lines.lines().collect::<Vec<_>>(), expected, "no line was lost");
}

#[test]
fn restart_policies_survive_the_daemon() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "always",
        "--restart",
        "always",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "stopped",
        "--restart",
        "unless-stopped",
        "busybox",
        "sleep",
        "1000",
    ]);
    sandbox.ok(&["stop", "-t", "0", "stopped"]);
    let pid: i32 = sandbox.inspect("always", "{{.State.Pid}}").parse().unwrap();
    sandbox.kill_daemon();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    sandbox.start_daemon(None);
    eventually("it is brought back", || {
        (sandbox.inspect("always", "{{.State.Status}}") == "running").then_some(())
    });
    assert_eq!(sandbox.inspect("stopped", "{{.State.Status}}"), "exited");
}

/// At every step of create, start, stop and remove the daemon is killed; the next one must find or undo everything.
fn dies_at(failpoint: &str) {
    let sandbox: Sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "--rm", "-p", "127.0.0.1::80", "-v", "/scratch", "busybox", "true"]);
    let before = quiet(&sandbox);
    let begun = failpoint.split('.').next().unwrap();
    if matches!(begun, "stop" | "remove") {
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            "victim",
            "-p",
            "127.0.0.1::80",
            "-v",
            "/scratch",
            "busybox",
            "sleep",
            "1000",
        ]);
    }
    sandbox.stop_daemon();
    sandbox.start_daemon(Some(failpoint));
    let words: &[&str] = match begun {
        "stop" => &["stop", "-t", "0", "victim"],
        "remove" => &["rm", "-f", "-v", "victim"],
        _ => &[
            "run",
            "-d",
            "--name",
            "victim",
            "-p",
            "127.0.0.1::80",
            "-v",
            "/scratch",
            "busybox",
            "sleep",
            "1000",
        ],
    };
    let outcome = sandbox.run(words);
    assert_ne!(outcome.code, 0, "the daemon was to die under this: {outcome}");
    sandbox.wait_for_death();
    sandbox.start_daemon(None);
    // Whatever became of it, it can be used or removed, and its name is free afterwards.
    sandbox.run(&["rm", "-f", "-v", "victim"]);
    sandbox.ok(&[
        "run",
        "--rm",
        "--name",
        "victim",
        "-p",
        "127.0.0.1::80",
        "-v",
        "/scratch",
        "busybox",
        "true",
    ]);
    let after = quiet(&sandbox);
    assert_eq!(after, before, "{failpoint} leaves something behind");
}

/// The traces when nothing moves any more; descriptors differ from daemon to daemon.
fn quiet(sandbox: &Sandbox) -> Traces {
    let look = || {
        let mut traces = Traces::of(sandbox);
        traces.descriptors = 0;
        traces
    };
    let mut last = look();
    eventually("the traces settle", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = look();
        let same = now == last;
        last = now;
        same.then(|| last.clone())
    })
}

macro_rules! failpoints {
    ($($name:ident = $failpoint:literal),+ $(,)?) => { $(#[test] fn $name() { dies_at($failpoint); })+ };
}

failpoints!(
    create_name = "create.name",
    create_directories = "create.directories",
    create_volumes = "create.volumes",
    create_record = "create.record",
    start_network_plan = "start.network-plan",
    start_launch_plan = "start.launch-plan",
    start_shim = "start.shim",
    start_created = "start.created",
    start_network = "start.network",
    start_running = "start.running",
    stop_signal = "stop.signal",
    stop_exited = "stop.exited",
    stop_network = "stop.network",
    stop_record = "stop.record",
    remove_begin = "remove.begin",
    remove_files = "remove.files",
    remove_volumes = "remove.volumes",
);

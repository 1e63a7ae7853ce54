//! Health checks as FEATURES B1 has them: probes, verdicts, what stops and what resumes them, and what follows.

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::{Value, json};

use crate::with_busybox;

through_both!(
    a_verdict_from_start_to_end,
    a_probe_that_hangs_is_killed,
    the_next_daemon_carries_on,
    events_in_docker_s_order,
    images_bring_theirs,
    what_cannot_run_and_long_output
);

/// A container whose probe succeeds when `/ok` is there.
fn run_checked(sandbox: &Sandbox, name: &str, more: &[&str]) {
    let words = [
        &["run", "-d", "--name", name, "--health-cmd", "echo probed; test -f /ok"][..],
        &["--health-interval", "200ms", "--health-retries", "2"],
        more,
        &["busybox", "sleep", "1000"],
    ];
    sandbox.ok(&words.concat());
}

fn health(sandbox: &Sandbox, name: &str) -> Value {
    serde_json::from_str(&sandbox.inspect(name, "{{json .State.Health}}")).unwrap()
}

#[track_caller]
fn becomes(sandbox: &Sandbox, name: &str, status: &str) {
    eventually(&format!("{name} is {status}"), || {
        (sandbox.inspect(name, "{{.State.Health.Status}}") == status).then_some(())
    });
}

fn a_verdict_from_start_to_end(client: Client) {
    let sandbox = with_busybox(client);
    let status = || sandbox.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    let filtered = |word: &str| {
        sandbox.ok(&["ps", "-a", "--filter", &format!("health={word}"), "--format", "{{.Names}}"])
    };
    // Longer than any machine takes for this test.
    let period = ["--health-start-period", "1h", "--health-start-interval", "100ms"];
    run_checked(&sandbox, "young", &period);
    assert!(status().ends_with("(health: starting)"), "{}", status());
    assert_eq!(filtered("starting"), "young");
    eventually("some probes failed", || {
        (health(&sandbox, "young")["Log"].as_array().unwrap().len() > 2).then_some(())
    });
    let young = health(&sandbox, "young");
    assert_eq!((&young["Status"], &young["FailingStreak"]), (&json!("starting"), &json!(0)));
    stops_with_the_container(&sandbox, "young");
    sandbox.ok(&["rm", "-f", "young"]);
    run_checked(
        &sandbox,
        "web",
        &["--health-start-period", "500ms", "--health-start-interval", "100ms"],
    );
    becomes(&sandbox, "web", "unhealthy");
    assert!(status().ends_with("(unhealthy)"), "{}", status());
    assert_eq!((filtered("unhealthy"), filtered("healthy")), ("web".into(), String::new()));
    sandbox.ok(&["exec", "web", "touch", "/ok"]);
    becomes(&sandbox, "web", "healthy");
    assert!(status().ends_with("(healthy)"), "{}", status());
    let state = health(&sandbox, "web");
    let log = state["Log"].as_array().unwrap();
    assert!(log.len() <= 5, "{log:?}");
    assert_eq!(log.last().unwrap()["Output"], "probed\n");
    assert_eq!(log.last().unwrap()["ExitCode"], 0);
    assert_eq!(sandbox.ok(&["ps", "--filter", "health=none", "-q"]), "");
}

/// Of one whose start takes for ever, so that it says `starting` until a probe succeeds.
fn stops_with_the_container(sandbox: &Sandbox, name: &str) {
    sandbox.ok(&["exec", name, "touch", "/ok"]);
    becomes(sandbox, name, "healthy");
    sandbox.ok(&["pause", name]);
    let paused = health(sandbox, name);
    assert_eq!(paused["Status"], "unhealthy", "Docker says so when nobody probes");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(health(sandbox, name), paused, "what is paused is not probed");
    sandbox.ok(&["unpause", name]);
    becomes(sandbox, name, "healthy");
    // No probe is to succeed before the next start was looked at.
    sandbox.ok(&["exec", name, "rm", "/ok"]);
    sandbox.ok(&["kill", name]);
    sandbox.ok(&["wait", name]);
    assert_eq!(health(sandbox, name)["Status"], "unhealthy");
    sandbox.ok(&["start", name]);
    let again = health(sandbox, name);
    assert_eq!((&again["Status"], &again["FailingStreak"]), (&json!("starting"), &json!(0)));
    sandbox.ok(&["exec", name, "touch", "/ok"]);
    becomes(sandbox, name, "healthy");
}

fn a_probe_that_hangs_is_killed(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "slow",
        "--health-cmd",
        "echo before; exec sleep 7731",
        "--health-interval",
        "100ms",
        "--health-timeout",
        // Time enough for its first word.
        "3s",
        "--health-retries",
        "1",
        "busybox",
        "sleep",
        "1000",
    ]);
    becomes(&sandbox, "slow", "unhealthy");
    let result = health(&sandbox, "slow")["Log"][0].clone();
    assert_eq!(result["ExitCode"], -1);
    assert_eq!(result["Output"], "Health check exceeded timeout (3s): before\n");
    let sleepers = sandbox.ok(&["top", "slow", "-o", "pid,args"]);
    let count = sleepers.lines().filter(|line| line.contains("sleep 7731")).count();
    assert!(count <= 1, "only the probe that runs now is left: {sleepers}");
}

fn the_next_daemon_carries_on(client: Client) {
    let sandbox = with_busybox(client);
    run_checked(&sandbox, "web", &[]);
    sandbox.ok(&["exec", "web", "touch", "/ok"]);
    becomes(&sandbox, "web", "healthy");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "hangs",
        "--health-cmd",
        "exec sleep 7732",
        "--health-interval",
        "100ms",
        "--health-timeout",
        "1h",
        "busybox",
        "sleep",
        "1000",
    ]);
    let probes = |sandbox: &Sandbox| {
        let processes = sandbox.ok(&["top", "hangs", "-o", "pid,args"]);
        let own = processes.lines().filter(|line| line.contains("sleep 7732"));
        own.map(str::to_owned).collect::<Vec<_>>()
    };
    let before =
        eventually("a probe hangs", || Some(probes(&sandbox)).filter(|all| all.len() == 1));
    let last = health(&sandbox, "web")["Log"].as_array().unwrap().last().unwrap()["End"].clone();
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    assert_eq!(health(&sandbox, "web")["Status"], "healthy", "the verdict stands");
    eventually("it is probed again", || {
        let log = health(&sandbox, "web")["Log"].clone();
        let now = log.as_array().unwrap().last().unwrap()["End"].clone();
        (now.as_str() > last.as_str()).then_some(())
    });
    eventually("the first daemon's probe is gone and there is one of the second", || {
        let now = probes(&sandbox);
        (now.len() == 1 && now != before).then_some(())
    });
}

fn events_in_docker_s_order(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--health-cmd",
        "true",
        "--health-interval",
        "1s",
        "busybox",
        "sleep",
        "1000",
    ]);
    becomes(&sandbox, "web", "healthy");
    let until = format!(
        "{}",
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 1
    );
    let lines = sandbox.ok(&[
        "events",
        "--since",
        "1",
        "--until",
        &until,
        "--filter",
        "container=web",
        "--format",
        "{{.Action}}",
    ]);
    let actions: Vec<&str> = lines.lines().collect();
    let first = actions.iter().position(|action| action.starts_with("exec_create")).unwrap();
    assert_eq!(
        actions[first..first + 4],
        [
            "exec_create: /bin/sh -c true",
            "exec_start: /bin/sh -c true",
            "exec_die",
            "health_status: healthy"
        ],
        "{lines}"
    );
    let only = sandbox.ok(&[
        "events",
        "--since",
        "1",
        "--until",
        &until,
        "--filter",
        "event=health_status",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(only, "health_status: healthy");
}

fn what_cannot_run_and_long_output(client: Client) {
    let sandbox = with_busybox(client);
    let create = |name: &str, test: Value| {
        let body = json!({"Image": "busybox", "Cmd": ["sleep", "1000"],
            "Healthcheck": {"Test": test, "Interval": 100_000_000, "Retries": 1}});
        let path = format!("/containers/create?name={name}");
        assert_eq!(sandbox.api().call("POST", &path, Some(&body)).0, 201);
        sandbox.ok(&["start", name]);
    };
    create("missing", json!(["CMD", "nonexistent"]));
    becomes(&sandbox, "missing", "unhealthy");
    let result = health(&sandbox, "missing")["Log"][0].clone();
    assert_eq!(result["ExitCode"], -1);
    assert_eq!(
        result["Output"],
        "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nonexistent\": executable file not found in $PATH"
    );
    create("long", json!(["CMD-SHELL", "seq 1 100000; seq 1 9 >&2"]));
    becomes(&sandbox, "long", "healthy");
    let output = health(&sandbox, "long")["Log"][0]["Output"].as_str().unwrap().to_owned();
    assert!(output.starts_with("1\n2\n3\n") && output.ends_with("..."), "{output}");
    assert_eq!(output.len(), 4096 + 3);
    for none in [json!(["NONE"]), json!(["WHAT", "x"]), json!([])] {
        create("none", none);
        assert_eq!(health(&sandbox, "none"), Value::Null);
        sandbox.ok(&["rm", "-f", "none"]);
    }
    let ids = sandbox.inspect("long", "{{json .ExecIDs}}");
    assert!(
        ids == "null" || ids.matches("\",\"").count() == 0,
        "at most the probe that runs: {ids}"
    );
}

fn images_bring_theirs(client: Client) {
    let sandbox = with_busybox(client);
    import_checked(&sandbox);
    let run = |name: &str, flags: &[&str]| {
        let words = [&["run", "-d", "--name", name], flags, &["checked", "sleep", "1000"]].concat();
        sandbox.ok(&words);
    };
    run("own", &[]);
    becomes(&sandbox, "own", "healthy");
    assert_eq!(health(&sandbox, "own")["Log"][0]["Output"], "from the image\n");
    run("off", &["--no-healthcheck"]);
    assert_eq!(health(&sandbox, "off"), Value::Null);
    run("other", &["--health-cmd", "echo mine"]);
    becomes(&sandbox, "other", "healthy");
    assert_eq!(
        health(&sandbox, "other")["Log"][0]["Output"],
        "mine\n",
        "with the image's interval"
    );
    let check = sandbox.inspect("other", "{{json .Config.Healthcheck}}");
    let check: Value = serde_json::from_str(&check).unwrap();
    assert_eq!(check["Interval"], 150_000_000);
    assert_eq!(check["Test"], json!(["CMD-SHELL", "echo mine"]));
}

/// Loads an image `checked` that has a health check, as `docker build` would have made it.
fn import_checked(sandbox: &Sandbox) {
    let config = json!({"Cmd": ["sh"], "Healthcheck": {
        "Test": ["CMD-SHELL", "echo from the image"], "Interval": 150_000_000}});
    let tar = ferry_testkit::images::archive(sandbox.dir(), "checked:latest", &config);
    sandbox.ok(&["load", "-q", "-i", tar.to_str().unwrap()]);
}

/// Beyond Docker: podman's flag, by a label that every client can set.
#[test]
fn on_failure() {
    let sandbox = with_busybox(Client::Ferry);
    let flag = |action: &str| format!("--health-on-failure={action}");
    run_checked(&sandbox, "kill", &[&flag("kill")]);
    run_checked(&sandbox, "stop", &[&flag("stop"), "--restart", "always", "--stop-timeout", "0"]);
    run_checked(
        &sandbox,
        "restart",
        &["--label", "ferry.health-on-failure=restart", "--stop-timeout", "0"],
    );
    run_checked(&sandbox, "none", &[&flag("none")]);
    let pid = sandbox.inspect("restart", "{{.State.Pid}}");
    for name in ["kill", "stop"] {
        eventually("it ends", || {
            (sandbox.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137")
                .then_some(())
        });
    }
    eventually("it runs again", || {
        let now = sandbox.inspect("restart", "{{.State.Running}} {{.State.Pid}}");
        (now.starts_with("true") && now != format!("true {pid}")).then_some(())
    });
    becomes(&sandbox, "none", "unhealthy");
    assert_eq!(sandbox.inspect("none", "{{.State.Status}}"), "running");
    sandbox
        .run(&["run", &flag("what"), "busybox"])
        .fails(125)
        .says("must be none, restart, stop or kill");
    sandbox
        .run(&["run", "--label", "ferry.health-on-failure=what", "busybox"])
        .fails(125)
        .says("invalid value \"what\" of label ferry.health-on-failure");
}

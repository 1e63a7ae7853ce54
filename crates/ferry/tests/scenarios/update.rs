//! `update`: limits change in the kernel while the container runs; Docker's refusals, word for word.

use ferry_testkit::{Client, Sandbox};

use crate::with_busybox;

through_both!(limits_change_in_the_kernel, what_docker_refuses, restart_policy_and_stopped_ones);

/// A file of the container's cgroup, by its names in version 1 and 2.
fn limit(sandbox: &Sandbox, name: &str, v1: &str, v2: &str) -> String {
    let id = sandbox.inspect(name, "{{.Id}}");
    let root = std::path::Path::new("/sys/fs/cgroup");
    let parent = sandbox.cgroup_parent();
    let path = if root.join("cgroup.controllers").exists() {
        root.join(parent).join(id).join(v2)
    } else {
        root.join(v1.split('.').next().unwrap()).join(parent).join(id).join(v1)
    };
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn limits_change_in_the_kernel(client: Client) {
    let sandbox = with_busybox(client);
    let run = ["run", "-d", "--name", "web", "-m", "64m", "busybox", "sleep", "1000"];
    sandbox.ok(&run);
    let memory = || limit(&sandbox, "web", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory(), (64 << 20).to_string());
    assert_eq!(sandbox.ok(&["update", "-m", "256m", "--memory-swap", "512m", "web"]), "web");
    assert_eq!(memory(), (256 << 20).to_string(), "up, past the old limit of memory and swap");
    sandbox.ok(&["update", "-m", "32m", "--memory-swap", "32m", "web"]);
    assert_eq!(memory(), (32 << 20).to_string(), "and down");
    sandbox.ok(&["update", "--pids-limit", "33", "--cpus", "0.5", "--cpuset-cpus", "0", "web"]);
    assert_eq!(limit(&sandbox, "web", "pids.max", "pids.max"), "33");
    let quota = limit(&sandbox, "web", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota.starts_with("50000"), "{quota}");
    assert_eq!(limit(&sandbox, "web", "cpuset.cpus", "cpuset.cpus"), "0");
    sandbox.ok(&["update", "--pids-limit", "-1", "web"]);
    assert_eq!(limit(&sandbox, "web", "pids.max", "pids.max"), "max");
    assert_eq!(
        sandbox.inspect(
            "web",
            "{{with .HostConfig}}{{.Memory}} {{.MemorySwap}} {{.PidsLimit}} {{.NanoCpus}}{{end}}"
        ),
        "33554432 33554432 0 500000000"
    );
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let until = (now.as_secs() + 1).to_string();
    let events = sandbox.ok(&[
        "events",
        "--since",
        "1",
        "--until",
        &until,
        "--filter",
        "event=update",
        "--format",
        "{{.Action}}",
    ]);
    assert_eq!(events, ["update"; 4].join("\n"));
}

fn what_docker_refuses(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "free", "busybox", "sleep", "1000"]);
    sandbox.ok(&["run", "-d", "--rm", "--name", "gone", "--cpus", "1", "busybox", "sleep", "1000"]);
    let id = sandbox.inspect("free", "{{.Id}}");
    let cannot = |words: &str| format!("Cannot update container {id}: {words}");
    let refused = |flags: &[&str], name: &str, words: &str| {
        sandbox.run(&[&["update"], flags, &[name]].concat()).fails(1).says(words);
    };
    refused(&[], "free", "you must provide one or more flags when using this command");
    let swap = "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time";
    refused(&["-m", "200m"], "free", &cannot(swap));
    refused(&["-m", "1m"], "free", "Minimum memory limit allowed is 6MB");
    refused(
        &["-m", "300m", "--memory-swap", "200m"],
        "free",
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    );
    refused(
        &["--cpu-quota", "50000"],
        "gone",
        "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
    );
    refused(
        &["--restart", "always"],
        "gone",
        "Restart policy cannot be updated because AutoRemove is enabled for the container",
    );
    refused(&["--restart", "what"], "free", "invalid restart policy: unknown policy 'what'");
    refused(
        &["--cpuset-cpus", "4000"],
        "free",
        "Requested CPUs are not available - requested 4000, available: ",
    );
    refused(&["--cpuset-cpus", "x"], "free", "Invalid value x for cpuset cpus: invalid format: x");
    refused(&["--pids-limit", "5"], "nosuch", "No such container: nosuch");
    // What the kernel refuses is not in the record either.
    sandbox.ok(&["update", "-m", "64m", "--memory-swap", "128m", "free"]);
    sandbox.run(&["update", "--memory-swap", "32m", "free"]).fails(1).says(&cannot(""));
    assert_eq!(sandbox.inspect("free", "{{.HostConfig.MemorySwap}}"), (128 << 20).to_string());
}

fn restart_policy_and_stopped_ones(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "job", "busybox", "sh", "-c", "sleep 0.2; exit 1"]);
    sandbox.ok(&["wait", "job"]);
    sandbox.ok(&["update", "--restart", "on-failure:2", "job"]);
    assert_eq!(
        sandbox.inspect("job", "{{json .HostConfig.RestartPolicy}}"),
        r#"{"Name":"on-failure","MaximumRetryCount":2}"#
    );
    sandbox.ok(&["start", "job"]);
    ferry_testkit::eventually("two restarts and an end", || {
        (sandbox.inspect("job", "{{.RestartCount}} {{.State.Status}}") == "2 exited").then_some(())
    });
    sandbox.ok(&["create", "--name", "later", "busybox", "sleep", "1000"]);
    sandbox.ok(&["update", "-m", "64m", "--memory-swap", "-1", "later"]);
    sandbox.ok(&["start", "later"]);
    let memory = limit(&sandbox, "later", "memory.limit_in_bytes", "memory.max");
    assert_eq!(memory, (64 << 20).to_string());
}

/// Beyond Docker: other published ports while the container runs.
#[test]
fn ports_change_while_it_runs() {
    let sandbox = with_busybox(Client::Ferry);
    let serve = "echo hello > /tmp/index.html; httpd -f -p 80 -h /tmp";
    let run = ["run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve];
    sandbox.ok(&run);
    let pid = sandbox.inspect("web", "{{.State.Pid}}");
    let answers = |port: &str| {
        let mut curl = std::process::Command::new("curl");
        ferry_testkit::run(curl.args(["-sm5", &format!("http://127.0.0.1:{port}/")])).stdout
            == "hello\n"
    };
    let first = sandbox.ok(&["port", "web", "80"]).rsplit(':').next().unwrap().to_owned();
    ferry_testkit::eventually("it serves", || answers(&first).then_some(()));
    let second = ferry_testkit::free_port().to_string();
    let add = format!("127.0.0.1:{second}:80");
    assert_eq!(sandbox.ok(&["update", "--publish-add", &add, "web"]), "web");
    assert!(answers(&first) && answers(&second));
    sandbox.ok(&["update", "--publish-rm", &first, "web"]);
    assert!(!answers(&first) && answers(&second));
    assert_eq!(sandbox.ok(&["port", "web"]), format!("80/tcp -> 127.0.0.1:{second}"));
    assert_eq!(sandbox.inspect("web", "{{.State.Pid}}"), pid, "it never stopped");
    // One that is taken changes nothing, not even what was to be taken away.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let add_taken = format!("127.0.0.1:{taken}:80");
    sandbox
        .run(&["update", "--publish-rm", &second, "--publish-add", &add_taken, "web"])
        .fails(1)
        .says("already");
    assert!(answers(&second));
    sandbox
        .run(&["update", "--publish-rm", "1", "web"])
        .fails(1)
        .says("does not publish port 1/tcp");
    // A port may lead elsewhere from now on.
    let swap = format!("127.0.0.1:{second}:8080");
    sandbox.ok(&["exec", "-d", "web", "httpd", "-p", "8080", "-h", "/tmp"]);
    sandbox.ok(&["update", "--publish-rm", &second, "--publish-add", &swap, "web"]);
    assert_eq!(sandbox.ok(&["port", "web"]), format!("8080/tcp -> 127.0.0.1:{second}"));
    ferry_testkit::eventually("the other port serves", || answers(&second).then_some(()));
    // The daemon's death and the container's restart keep it so.
    sandbox.kill_daemon();
    sandbox.start_daemon(None);
    ferry_testkit::eventually("it serves as before", || answers(&second).then_some(()));
    sandbox.ok(&["restart", "-t", "0", "web"]);
    assert_eq!(sandbox.ok(&["port", "web"]), format!("8080/tcp -> 127.0.0.1:{second}"));
    // Of one that does not run as well.
    sandbox.ok(&["stop", "-t", "0", "web"]);
    let last = format!("127.0.0.1:{}:80", ferry_testkit::free_port());
    sandbox.ok(&["update", "--publish-rm", &second, "--publish-add", &last, "web"]);
    sandbox.ok(&["start", "web"]);
    assert_eq!(sandbox.ok(&["port", "web"]), format!("80/tcp -> {}", last.trim_end_matches(":80")));
}

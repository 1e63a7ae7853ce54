//! The life of a container, as FEATURES A20, A21, A25, A26, A28, A33, A34, A39, A46 and A47 have it.

use ferry_testkit::{Client, Traces, eventually};

use crate::with_busybox;

through_both!(
    wait_ends_with_each_end,
    a_life,
    exit_codes,
    exec_runs_inside,
    names_and_ids,
    old_and_new_forms,
    restart_policies,
    signals,
    input_and_terminal,
    clients_that_leave_hold_up_nothing,
    what_stays_in_the_background_holds_up_nothing,
    a_removal_ends_a_restart,
    create_options_show_in_inspect,
    the_image_stays_as_it_is
);
against_docker!(
    wait_ends_with_each_end,
    a_life,
    exit_codes,
    exec_runs_inside,
    names_and_ids,
    old_and_new_forms,
    restart_policies,
    signals,
    input_and_terminal,
    create_options_show_in_inspect
);

fn a_life(client: Client) {
    let sandbox = with_busybox(client);
    let id = sandbox.ok(&["create", "--name", "life", "busybox", "sleep", "1000"]);
    assert_eq!(id.len(), 64);
    assert_eq!(sandbox.inspect("life", "{{.State.Status}}"), "created");
    for (command, status) in [("start", "running"), ("pause", "paused"), ("unpause", "running")] {
        assert_eq!(sandbox.ok(&[command, "life"]), "life");
        assert_eq!(sandbox.inspect("life", "{{.State.Status}}"), status);
    }
    let pid = sandbox.inspect("life", "{{.State.Pid}}");
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(command, "sleep\x001000\x00", "a container is a process like any other");
    sandbox.run(&["rm", "life"]).fails(1).says("container is running");
    assert_eq!(sandbox.ok(&["stop", "-t", "1", "life"]), "life");
    assert_eq!(sandbox.inspect("life", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    sandbox.ok(&["restart", "-t", "0", "life"]);
    assert_eq!(sandbox.inspect("life", "{{.State.Status}}"), "running");
    sandbox.ok(&["rename", "life", "afterlife"]);
    assert_eq!(sandbox.ok(&["ps", "--format", "{{.Names}}"]), "afterlife");
    assert_eq!(sandbox.ok(&["rm", "-f", "afterlife"]), "afterlife");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

fn exit_codes(client: Client) {
    let sandbox = with_busybox(client);
    let run = |args: &[&str]| {
        let words = [&["run", "--rm", "--network", "none"], args].concat();
        sandbox.run(&words)
    };
    run(&["busybox", "true"]).fails(0);
    run(&["busybox", "sh", "-c", "exit 7"]).fails(7);
    run(&["busybox", "nonexistent"]).fails(127).says("executable file not found in $PATH");
    run(&["busybox", "/etc/passwd"]).fails(126).says("permission denied");
    run(&["--no-such-flag", "busybox"]).fails(125).says("unknown flag: --no-such-flag");
    run(&["--memory", "1", "busybox", "true"])
        .fails(125)
        .says("Minimum memory limit allowed is 6MB");
    run(&["busybox", "sh", "-c", "kill -TERM $$; sleep 5"]).fails(0);
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "", "--rm removes what could not start, too");
    let killed = sandbox.run(&["run", "-d", "--name", "victim", "busybox", "sleep", "1000"]).ok();
    assert_eq!(killed.len(), 64);
    let pid = sandbox.inspect("victim", "{{.State.Pid}}").parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    assert_eq!(sandbox.ok(&["wait", "victim"]), "137");
}

fn what_stays_in_the_background_holds_up_nothing(client: Client) {
    let sandbox = with_busybox(client);
    // With an init, which buries what is left to it.
    sandbox.ok(&["run", "-d", "--init", "--name", "host", "busybox", "sleep", "1000"]);
    // Its output has no end, and who started it has.
    sandbox.ok(&["exec", "-d", "host", "sh", "-c", "yes & sleep 0.2"]);
    eventually("nobody writes to nobody", || {
        let processes = sandbox.ok(&["exec", "host", "ps", "-o", "comm"]);
        (!processes.lines().any(|line| matches!(line, "yes" | "sh"))).then_some(())
    });
    // With the host's process ids it outlives the container's first process.
    let words = ["run", "-d", "--name", "left", "--pid", "host", "--log-driver", "none", "busybox"];
    sandbox.ok(&[&words[..], &["sh", "-c", "yes & sleep 0.2; exit 3"]].concat());
    assert_eq!(sandbox.ok(&["wait", "left"]), "3");
}

fn a_removal_ends_a_restart(client: Client) {
    let sandbox = with_busybox(client);
    let script = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.1; done";
    sandbox.ok(&["run", "-d", "--name", "deaf", "busybox", "sh", "-c", script]);
    let says = |word: &str| {
        eventually(word, || sandbox.ok(&["logs", "deaf"]).ends_with(word).then_some(()));
    };
    says("ready");
    let processes = || Traces::of(&sandbox).processes;
    assert!(!processes().is_empty());
    // It waits for ever for the end of what does not obey.
    let mut restart = sandbox.command(&["restart", "-t", "-1", "deaf"]);
    let mut restart = restart.stderr(std::process::Stdio::piped()).spawn().unwrap();
    says("asked");
    sandbox.ok(&["rm", "-f", "deaf"]);
    assert!(!restart.wait().unwrap().success());
    let mut words = String::new();
    std::io::Read::read_to_string(restart.stderr.as_mut().unwrap(), &mut words).unwrap();
    assert!(words.contains("is marked for removal and cannot be started"), "{words}");
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
    eventually("all its processes are gone", || processes().is_empty().then_some(()));
}

fn exec_runs_inside(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "host",
        "-m",
        "64m",
        "-e",
        "A=from-run",
        "busybox",
        "sleep",
        "1000",
    ]);
    assert_eq!(sandbox.ok(&["exec", "host", "cat", "/proc/1/comm"]), "sleep");
    assert_eq!(
        sandbox.ok(&["exec", "-e", "B=2", "-w", "/tmp", "host", "sh", "-c", "echo $A $B $PWD"]),
        "from-run 2 /tmp"
    );
    sandbox.run(&["exec", "host", "sh", "-c", "exit 9"]).fails(9);
    sandbox.run(&["exec", "host", "nonexistent"]).fails(127);
    assert_eq!(sandbox.with_input(&["exec", "-i", "host", "cat"], b"through").ok(), "through");
    assert_eq!(sandbox.ok(&["exec", "-u", "nobody", "host", "id", "-un"]), "nobody");
    let own = sandbox.ok(&["exec", "host", "sh", "-c", "grep -E 'memory|^0:' /proc/self/cgroup"]);
    let first = sandbox.ok(&["exec", "host", "sh", "-c", "grep -E 'memory|^0:' /proc/1/cgroup"]);
    assert_eq!(own, first, "exec has the limits of its container");
    sandbox.ok(&["stop", "-t", "0", "host"]);
    sandbox.run(&["exec", "host", "true"]).fails(1).says("is not running");
}

fn names_and_ids(client: Client) {
    let sandbox = with_busybox(client);
    let id = sandbox.ok(&["create", "--name", "one", "busybox"]);
    assert_eq!(sandbox.inspect(&id[..6], "{{.Name}}"), "/one");
    sandbox
        .run(&["create", "--name", "one", "busybox"])
        .fails(1)
        .says("The container name \"/one\" is already in use");
    sandbox.run(&["create", "--name", "-x", "busybox"]).fails(1).says("Invalid container name");
    sandbox.run(&["rm", "nothing"]).fails(1).says("No such container: nothing");
    sandbox
        .run(&["run", "--pull", "never", "nothing"])
        .fails(125)
        .says("No such image: nothing:latest");
}

fn old_and_new_forms(client: Client) {
    let sandbox = with_busybox(client);
    for (old, new) in [
        (
            vec!["run", "--rm", "busybox", "echo", "x"],
            vec!["container", "run", "--rm", "busybox", "echo", "x"],
        ),
        (vec!["ps", "-a"], vec!["container", "ls", "-a"]),
        (vec!["images", "-q"], vec!["image", "ls", "-q"]),
        (vec!["create", "nope:1", "--x"], vec!["container", "create", "nope:1", "--x"]),
        (vec!["start", "nope"], vec!["container", "start", "nope"]),
        (vec!["pull", "127.0.0.1:1/x"], vec!["image", "pull", "127.0.0.1:1/x"]),
    ] {
        let (old, new) = (sandbox.run(&old), sandbox.run(&new));
        assert_eq!((old.code, &old.stdout), (new.code, &new.stdout), "{old}\n{new}");
    }
}

fn restart_policies(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "thrice", "--restart", "on-failure:3", "busybox", "false"]);
    eventually("three restarts and an end", || {
        (sandbox.inspect("thrice", "{{.RestartCount}} {{.State.Status}}") == "3 exited")
            .then_some(())
    });
    sandbox.ok(&["run", "-d", "--name", "ever", "--restart", "always", "busybox", "sleep", "1000"]);
    let first: i32 = sandbox.inspect("ever", "{{.State.Pid}}").parse().unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("it runs again", || {
        let now = sandbox.inspect("ever", "{{.State.Running}} {{.State.Pid}}");
        (now.starts_with("true") && now != format!("true {first}")).then_some(())
    });
    sandbox.ok(&["stop", "-t", "0", "ever"]);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(
        sandbox.inspect("ever", "{{.State.Status}}"),
        "exited",
        "stopped by hand is stopped"
    );
}

fn signals(client: Client) {
    let sandbox = with_busybox(client);
    let script = "trap 'echo usr1; exit 3' USR1; trap 'echo quit; exit 4' QUIT; echo ready; while :; do sleep 0.1; done";
    sandbox.ok(&["run", "-d", "--name", "trap", "busybox", "sh", "-c", script]);
    let ready = || {
        eventually("the trap is set", || {
            sandbox.ok(&["logs", "trap"]).ends_with("ready").then_some(())
        })
    };
    ready();
    sandbox.ok(&["kill", "-s", "USR1", "trap"]);
    assert_eq!(sandbox.ok(&["wait", "trap"]), "3");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "polite",
        "--stop-signal",
        "SIGQUIT",
        "busybox",
        "sh",
        "-c",
        script,
    ]);
    eventually("the trap is set", || {
        sandbox.ok(&["logs", "polite"]).ends_with("ready").then_some(())
    });
    sandbox.ok(&["stop", "polite"]);
    assert_eq!(sandbox.inspect("polite", "{{.State.ExitCode}}"), "4");
}

fn input_and_terminal(client: Client) {
    let sandbox = with_busybox(client);
    let echoed = sandbox.with_input(&["run", "--rm", "-i", "busybox", "cat"], b"one\ntwo\n").ok();
    assert_eq!(echoed, "one\ntwo");
    // A terminal needs a terminal: Debian's script(1) has one to give.
    let line = format!(
        "{} run --rm -it busybox sh -c 'tty; stty size'",
        sandbox.command(&[]).get_program().to_string_lossy()
    );
    let Some(script) = ferry_testkit::programs::find("script") else { return };
    let mut command = std::process::Command::new(script);
    command
        .args(["-qec", &format!("stty rows 33 cols 77; {line}"), "/dev/null"])
        .env("DOCKER_HOST", sandbox.host())
        .env("DOCKER_CONFIG", sandbox.dir().join("config"));
    let seen = ferry_testkit::run(&mut command);
    assert!(seen.stdout.contains("/dev/pts/0"), "{seen}");
    assert!(seen.stdout.contains("33 77"), "{seen}");
}

/// A client that goes while it is written to must not take the shim, and with it the container, along.
fn clients_that_leave_hold_up_nothing(client: Client) {
    let sandbox = with_busybox(client);
    let words = ["run", "-d", "--name", "loud", "--log-driver", "none", "busybox", "yes"];
    sandbox.ok(&words);
    let pid = sandbox.inspect("loud", "{{.State.Pid}}");
    for round in 0..20 {
        let mut attached =
            sandbox.command(&["attach", "loud"]).stdout(std::process::Stdio::piped()).spawn();
        let attached = attached.as_mut().unwrap();
        let mut some = [0; 4096];
        std::io::Read::read_exact(attached.stdout.as_mut().unwrap(), &mut some).unwrap();
        attached.kill().unwrap();
        attached.wait().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "round {round}");
    }
    assert_eq!(
        sandbox.inspect("loud", "{{.State.Status}} {{.State.Pid}}"),
        format!("running {pid}")
    );
}

/// Several who have no patience at all: each gets what it asked for, and nobody is told that the kernel hangs.
#[test]
fn stops_at_the_same_time() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["create", "--name", "busy", "busybox", "sleep", "1000"]);
    let api = sandbox.api();
    for round in 0..10 {
        sandbox.ok(&["start", "busy"]);
        std::thread::scope(|scope| {
            for path in ["stop?t=0", "stop?t=5", "stop?t=0", "kill", "stop?t=0", "stop?signal=KILL"]
            {
                let api = &api;
                scope.spawn(move || {
                    let path = format!("/containers/busy/{path}");
                    let (status, answer) = api.call("POST", &path, None);
                    assert!([204, 304, 409].contains(&status), "{round} {path}: {status} {answer}");
                });
            }
        });
        assert_eq!(sandbox.inspect("busy", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    }
}

fn create_options_show_in_inspect(client: Client) {
    let sandbox = with_busybox(client);
    let file = sandbox.dir().join("cid");
    sandbox.ok(&[
        "create",
        "--name",
        "full",
        "-h",
        "box",
        "-e",
        "A=1",
        "-w",
        "/srv",
        "-u",
        "50",
        "-l",
        "k=v",
        "--entrypoint",
        "/bin/echo",
        "--cidfile",
        file.to_str().unwrap(),
        "--dns",
        "192.0.2.1",
        "--add-host",
        "db:192.0.2.2",
        "--restart",
        "unless-stopped",
        "--stop-timeout",
        "7",
        "--shm-size",
        "128m",
        "--ulimit",
        "nofile=64:128",
        "--cap-add",
        "NET_ADMIN",
        "--cap-drop",
        "MKNOD",
        "--pids-limit",
        "30",
        "--memory-swap",
        "128m",
        "-m",
        "64m",
        "--cpuset-cpus",
        "0",
        "--cpus",
        "0.5",
        "busybox",
        "hello",
    ]);
    let format = "{{.Config.Hostname}} {{json .Config.Entrypoint}} {{.Config.Cmd}} {{.Config.WorkingDir}} {{.Config.User}} {{.Config.Labels}} \
        {{.HostConfig.Dns}} {{.HostConfig.ExtraHosts}} {{.HostConfig.RestartPolicy.Name}} {{.Config.StopTimeout}} {{.HostConfig.ShmSize}} \
        {{.HostConfig.CapAdd}} {{.HostConfig.CapDrop}} {{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} \
        {{.HostConfig.CpusetCpus}} {{.HostConfig.NanoCpus}}";
    assert_eq!(
        sandbox.inspect("full", format),
        "box [\"/bin/echo\"] [hello] /srv 50 map[k:v] [192.0.2.1] [db:192.0.2.2] unless-stopped 7 134217728 [CAP_NET_ADMIN] [CAP_MKNOD] \
         30 67108864 134217728 0 500000000"
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), sandbox.inspect("full", "{{.Id}}"));
}

fn the_image_stays_as_it_is(client: Client) {
    let sandbox = with_busybox(client);
    let before = sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    for name in ["one", "two", "three"] {
        sandbox.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "busybox",
            "sh",
            "-c",
            "hostname > /written; sleep 1000",
        ]);
    }
    eventually("each wrote its own", || {
        let read = |name| sandbox.run(&["exec", name, "cat", "/written"]).stdout;
        let (one, two) = (read("one"), read("two"));
        (!one.is_empty() && !two.is_empty() && one != two).then_some(())
    });
    sandbox.ok(&["stop", "-t", "0", "one"]);
    sandbox.ok(&["start", "one"]);
    sandbox.ok(&["exec", "one", "test", "-f", "/written"]);
    sandbox
        .run(&["rmi", "busybox"])
        .fails(1)
        .says("conflict: unable to remove repository reference \"busybox\"");
    sandbox.ok(&["rm", "-f", "one", "two", "three"]);
    sandbox.run(&["run", "--rm", "busybox", "test", "-f", "/written"]).fails(1);
    assert_eq!(sandbox.ok(&["image", "inspect", "-f", "{{.Id}}", "busybox"]), before);
    sandbox.ok(&["rmi", "busybox"]);
    assert_eq!(sandbox.ok(&["images", "-q"]), "");
    let layers = std::fs::read_dir(sandbox.data().join("layers")).unwrap().flatten();
    let left: Vec<_> =
        layers.map(|entry| entry.file_name()).filter(|name| name.len() == 64).collect();
    assert!(left.is_empty(), "an image's layers go with its last name: {left:?}");
}

fn wait_ends_with_each_end(client: Client) {
    let sandbox = with_busybox(client);
    let run = ["run", "-d", "--name", "again", "--restart", "always", "busybox", "sh", "-c"];
    sandbox.ok(&[&run[..], &["sleep 0.5; exit 3"]].concat());
    assert_eq!(sandbox.ok(&["wait", "again"]), "3", "though it comes back");
    eventually("it comes back", || {
        (sandbox.inspect("again", "{{.RestartCount}}") != "0").then_some(())
    });
    sandbox.ok(&["rm", "-f", "again"]);
}

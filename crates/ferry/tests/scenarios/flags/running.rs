//! `run`, `create`, `exec` and the verbs: long forms, files of variables and labels, what a container is told about its host.

use std::path::PathBuf;

use ferry_testkit::{Client, Sandbox, eventually};
use serde_json::Value;

use crate::with_busybox;

through_both!(
    long_forms,
    files_of_variables_and_labels,
    names_addresses_and_annotations,
    streams_that_are_attached,
    signals_that_end,
    lists_and_sizes,
    logs_that_are_followed,
    copies_and_commits,
    the_socket_inside
);
against_docker!(
    files_of_variables_and_labels,
    names_addresses_and_annotations,
    streams_that_are_attached,
    signals_that_end,
    lists_and_sizes,
    logs_that_are_followed
);

/// A file of the test's own.
fn file(sandbox: &Sandbox, name: &str, text: &str) -> String {
    let path: PathBuf = sandbox.dir().join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn long_forms(client: Client) {
    let sandbox = with_busybox(client);
    let shared = sandbox.dir().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let volume = format!("{}:/data", shared.display());
    let serve = "echo $PWD > /data/where; test -t 0 && touch /data/terminal; exec httpd -f -p 8080";
    sandbox.ok(&[
        "run",
        "--detach",
        "--interactive",
        "--tty",
        "--name",
        "web",
        "--publish",
        "127.0.0.1::8080/tcp",
        "--expose",
        "9000",
        "--volume",
        &volume,
        "--workdir",
        "/srv/made",
        "busybox",
        "sh",
        "-c",
        serve,
    ]);
    eventually("it wrote where it is", || {
        let text = std::fs::read_to_string(shared.join("where")).ok()?;
        (text == "/srv/made\n").then_some(())
    });
    let listening = sandbox.ok(&["port", "web", "8080/tcp"]);
    eventually("it listens", || std::net::TcpStream::connect(&listening).ok());
    eventually("it has a terminal", || shared.join("terminal").exists().then_some(()));
    // One more time with every exposed port, and a terminal in an exec of its own.
    sandbox.ok(&["create", "--name", "all", "--publish-all", "--expose", "9000", "busybox", "top"]);
    sandbox.ok(&["start", "all"]);
    let published = sandbox.ok(&["port", "all"]);
    assert!(published.starts_with("9000/tcp -> 0.0.0.0:"), "{published}");
    let line = ["exec", "--interactive", "--workdir", "/tmp", "all", "sh", "-c", "pwd; cat"];
    assert_eq!(sandbox.with_input(&line, b"through").ok(), "/tmp\nthrough");
    let no_terminal = sandbox.run(&["exec", "--interactive", "--tty", "all", "true"]).fails(1);
    assert!(no_terminal.stderr.contains("the input device is not a TTY"), "{no_terminal}");
    let terminal = sandbox.run(&["exec", "--tty", "all", "tty"]);
    assert!(terminal.stdout.starts_with("/dev/pts/"), "{terminal}");
}

fn files_of_variables_and_labels(client: Client) {
    let sandbox = with_busybox(client);
    let variables = file(&sandbox, "vars", "# a comment\nA=1\n\nB=two words\nFERRY_TEST_UNSET\n");
    let labels = file(&sandbox, "labels", "# a comment\na.b=c d\n");
    let run = ["run", "--rm", "--env-file", &variables, "--env", "A=own", "busybox", "env"];
    let seen = sandbox.ok(&run);
    assert!(seen.contains("\nA=own\n") && seen.contains("\nB=two words\n"), "{seen}");
    assert!(!seen.contains("FERRY_TEST_UNSET"), "{seen}");
    sandbox.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "--label-file",
        &labels,
        "busybox",
        "sleep",
        "1000",
    ]);
    let labels = sandbox.inspect("box", "{{json .Config.Labels}}");
    assert_eq!(labels, r#"{"a.b":"c d"}"#);
    let seen = sandbox.ok(&["exec", "--env-file", &variables, "box", "env"]);
    assert!(seen.contains("\nB=two words"), "{seen}");
    let bad = file(&sandbox, "bad", "no name=1\n");
    let words = "variable 'no name' contains whitespaces";
    sandbox.run(&["run", "--rm", "--env-file", &bad, "busybox"]).fails(125).says(words);
    sandbox.run(&["exec", "--env-file", &bad, "box", "true"]).fails(1).says(words);
    let missing = ["run", "--rm", "--label-file", "/nonexistent", "busybox"];
    sandbox.run(&missing).fails(125).says("open /nonexistent: no such file or directory");
}

fn names_addresses_and_annotations(client: Client) {
    let sandbox = with_busybox(client);
    let look = "hostname -f; cat /proc/sys/kernel/domainname /sys/class/net/eth0/address";
    let run = ["run", "--rm", "--hostname", "box", "--domainname", "example.org"];
    let mac = ["--mac-address", "02:42:ac:11:00:99", "busybox", "sh", "-c", look];
    assert_eq!(
        sandbox.ok(&[&run[..], &mac].concat()),
        "box.example.org\nexample.org\n02:42:ac:11:00:99"
    );
    sandbox
        .run(&["run", "--rm", "--mac-address", "zz", "busybox"])
        .fails(125)
        .says("zz is not a valid mac address");
    sandbox.ok(&["create", "--name", "noted", "--annotation", "org.note=x=y", "busybox"]);
    assert_eq!(
        sandbox.inspect("noted", "{{json .HostConfig.Annotations}}"),
        r#"{"org.note":"x=y"}"#
    );
    let mount = ["--volume-driver", "local", "--volume", "kept:/data", "busybox"];
    sandbox.ok(&[&["create", "--name", "drive"], &mount[..]].concat());
    assert_eq!(sandbox.inspect("drive", "{{.HostConfig.VolumeDriver}}"), "local");
    let mount = ["--volume-driver", "nope", "--volume", "other:/data", "busybox"];
    sandbox.run(&[&["run", "--rm"], &mount[..]].concat()).fails(125).says("\"nope\"");
    // Signatures of the old kind are checked by nobody here, and that is said.
    for command in ["run", "create"] {
        let words = [command, "--disable-content-trust=false", "busybox"];
        let seen = sandbox.run(&words);
        assert!(
            seen.code != 0 && (seen.stderr.contains("trust") || seen.stderr.contains("notary")),
            "{seen}"
        );
    }
    sandbox.ok(&["run", "--rm", "--disable-content-trust", "busybox", "true"]);
}

fn streams_that_are_attached(client: Client) {
    let sandbox = with_busybox(client);
    let script = "echo out; echo error >&2";
    let run = |flags: &[&str]| {
        sandbox.run(&[&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat())
    };
    let seen = run(&["--attach", "stdout"]).fails(0);
    assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("out\n", ""));
    let seen = run(&["--attach", "STDERR"]).fails(0);
    assert_eq!((seen.stdout.as_str(), seen.stderr.as_str()), ("", "error\n"));
    run(&["--attach", "foo"]).fails(125).says(
        "invalid argument \"foo\" for \"-a, --attach\" flag: valid streams are STDIN, STDOUT and STDERR",
    );
    sandbox.ok(&["create", "--name", "box", "--interactive", "busybox", "cat"]);
    let echoed = sandbox.with_input(&["start", "--attach", "--interactive", "box"], b"typed\n");
    assert_eq!(echoed.ok(), "typed");
    sandbox.ok(&["create", "--name", "out", "--attach", "stdout", "busybox", "echo", "seen"]);
    assert_eq!(
        sandbox.inspect("out", "{{.Config.AttachStdout}} {{.Config.AttachStderr}}"),
        "true false"
    );
    assert_eq!(sandbox.ok(&["start", "--attach", "out"]), "seen");
    // Input that is not wanted does not reach it. It ticks, so that an attached one is seen to be.
    let script = "while sleep 0.1; do echo tick; done & read line; echo got $line; kill $!";
    let words = ["run", "-d", "-i", "--name", "deaf", "busybox", "sh", "-c", script];
    sandbox.ok(&words);
    let mut deaf = sandbox.command(&["attach", "--no-stdin", "deaf"]);
    let mut deaf = deaf
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(deaf.stdin.as_mut().unwrap(), b"lost\n").unwrap();
    let mut seen = [0; 5];
    std::io::Read::read_exact(deaf.stdout.as_mut().unwrap(), &mut seen).unwrap();
    assert_eq!(&seen, b"tick\n");
    // Docker ends an attachment with its input, so that this one may or may not see the answer.
    sandbox.with_input(&["attach", "deaf"], b"kept\n").ok();
    let echoed = String::from_utf8(deaf.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(echoed.replace("tick\n", ""), "got kept\n");
}

/// A container that says which signal ended it.
const TRAPS: &str = "trap 'echo usr1; exit 3' USR1; trap 'echo term; exit 5' TERM; echo ready; while :; do sleep 0.1; done";

fn ready(sandbox: &Sandbox, name: &str) {
    eventually("the traps are set", || {
        sandbox.ok(&["logs", name]).ends_with("ready").then_some(())
    });
}

fn signals_that_end(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["run", "-d", "--name", "trap", "busybox", "sh", "-c", TRAPS]);
    for verb in ["kill", "stop"] {
        ready(&sandbox, "trap");
        sandbox.ok(&[verb, "--signal", "USR1", "trap"]);
        assert_eq!(sandbox.ok(&["wait", "trap"]), "3", "{verb}");
        sandbox.ok(&["start", "trap"]);
    }
    ready(&sandbox, "trap");
    sandbox.ok(&["restart", "--signal", "USR1", "trap"]);
    ready(&sandbox, "trap");
    let log = sandbox.ok(&["logs", "trap"]);
    assert_eq!(log, "ready\nusr1\nready\nusr1\nready\nusr1\nready");
    // What the client is sent goes to the container, unless it is told to keep it.
    for (flag, code) in [("--sig-proxy=true", Some(5)), ("--sig-proxy=false", None)] {
        if code.is_none() && client == Client::Docker {
            // Docker's own takes two signals more to go.
            continue;
        }
        let name = format!("proxy{}", flag.len());
        let line = ["run", flag, "--name", &name, "busybox", "sh", "-c", TRAPS];
        let mut child = sandbox.command(&line).spawn().unwrap();
        eventually("it runs", || {
            let seen = sandbox.run(&["logs", &name]);
            seen.stdout.contains("ready").then_some(())
        });
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        match code {
            Some(code) => assert_eq!(status.code(), Some(code)),
            None => assert_eq!(sandbox.inspect(&name, "{{.State.Running}}"), "true"),
        }
    }
}

fn lists_and_sizes(client: Client) {
    let sandbox = with_busybox(client);
    sandbox.ok(&["create", "--name", "first", "busybox"]);
    let write = "dd if=/dev/zero of=/big bs=1000 count=5000 2>/dev/null; sync";
    sandbox.ok(&["run", "--name", "second", "busybox", "sh", "-c", write]);
    assert_eq!(sandbox.ok(&["ps", "--last", "1", "--format", "{{.Names}}"]), "second");
    assert_eq!(sandbox.ok(&["ps", "--last", "2", "--format", "{{.Names}}"]), "second\nfirst");
    assert_eq!(sandbox.ok(&["ps", "--latest", "--format", "{{.Names}}"]), "second");
    let size = sandbox.ok(&["ps", "--latest", "--size", "--format", "{{.Size}}"]);
    assert!(size.starts_with("5MB (virtual "), "{size}");
    let sizes = sandbox.ok(&[
        "container",
        "inspect",
        "--size",
        "-f",
        "{{.SizeRw}} {{.SizeRootFs}}",
        "second",
    ]);
    let (own, all) = sizes.split_once(' ').unwrap();
    let (own, all): (u64, u64) = (own.parse().unwrap(), all.parse().unwrap());
    assert!((5_000_000..5_100_000).contains(&own) && all > own + 1_000_000, "{sizes}");
    let without: Value =
        serde_json::from_str(&sandbox.ok(&["container", "inspect", "second"])).unwrap();
    assert!(without[0].get("SizeRw").is_none(), "sizes are dear, and asked for");
    let verbose = sandbox.ok(&["system", "df", "--verbose"]);
    for words in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage:",
    ] {
        assert!(verbose.contains(words), "{verbose}");
    }
}

fn logs_that_are_followed(client: Client) {
    let sandbox = with_busybox(client);
    let script = "echo one; sleep 1; echo two";
    sandbox.ok(&["run", "-d", "--name", "talk", "busybox", "sh", "-c", script]);
    let lines = sandbox.ok(&["logs", "--follow", "--timestamps", "talk"]);
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines.len(), 2, "followed to its end: {lines:?}");
    for (line, word) in lines.iter().zip(["one", "two"]) {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T') && rest == word, "{line}");
    }
}

fn copies_and_commits(client: Client) {
    let sandbox = with_busybox(client);
    let directory = sandbox.dir().join("from");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("real"), "text").unwrap();
    std::os::unix::fs::symlink("real", directory.join("link")).unwrap();
    std::os::unix::fs::chown(directory.join("real"), Some(1234), Some(1234)).unwrap();
    sandbox.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let (real, link) = (directory.join("real"), directory.join("link"));
    sandbox.ok(&["cp", "--archive", real.to_str().unwrap(), "box:/kept"]);
    sandbox.ok(&["cp", real.to_str().unwrap(), "box:/taken"]);
    let owners = ["exec", "box", "stat", "-c", "%u", "/kept", "/taken"];
    // Docker keeps the owner either way; its documentation has it otherwise.
    assert_eq!(sandbox.ok(&owners), "1234\n1234");
    sandbox.ok(&["cp", "--follow-link", link.to_str().unwrap(), "box:/followed"]);
    sandbox.ok(&["cp", link.to_str().unwrap(), "box:/linked"]);
    let kinds = ["exec", "box", "stat", "-c", "%F", "/followed", "/linked"];
    assert_eq!(sandbox.ok(&kinds), "regular file\nsymbolic link");
    sandbox.ok(&[
        "commit",
        "--author",
        "Ann <ann@example.org>",
        "--message",
        "as it was",
        "--change",
        "ENV A=b",
        "box",
        "kept:1",
    ]);
    let format = "{{.Author}}|{{.Comment}}|{{.Config.Env}}";
    let seen = sandbox.ok(&["image", "inspect", "-f", format, "kept:1"]);
    assert!(
        seen.starts_with("Ann <ann@example.org>|as it was|[") && seen.contains("A=b"),
        "{seen}"
    );
    assert_eq!(sandbox.ok(&["run", "--rm", "kept:1", "cat", "/kept"]), "text");
}

/// A container may be given the daemon's socket, and the user's credentials with it.
fn the_socket_inside(client: Client) {
    let sandbox = with_busybox(client);
    if client == Client::Docker {
        // Docker's own looks for its socket where only its own daemon has one.
        return;
    }
    std::fs::create_dir_all(sandbox.dir().join("config")).unwrap();
    let config = r#"{"auths":{"registry.example":{"auth":"YW5uOnNlY3JldA=="}}}"#;
    std::fs::write(sandbox.dir().join("config/config.json"), config).unwrap();
    let look = "test -S /var/run/docker.sock && echo socket; echo $DOCKER_CONFIG; cat $DOCKER_CONFIG/config.json";
    let seen = sandbox.ok(&["run", "--rm", "--use-api-socket", "busybox", "sh", "-c", look]);
    let (head, json) = seen.split_once('{').unwrap();
    assert_eq!(head, "socket\n/run/secrets/docker\n");
    let json: Value = serde_json::from_str(&format!("{{{json}")).unwrap();
    assert_eq!(json["auths"]["registry.example"]["auth"], "YW5uOnNlY3JldA==");
}

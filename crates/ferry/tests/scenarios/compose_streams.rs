//! What goes in and out of a project's containers: `attach`, `run`, and `up` with what is shown of it.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdout, Stdio},
};

use ferry_testkit::{binary, eventually, programs, run_with_input};
use rustix::process::{Pid, Signal, kill_process};

use crate::compose::{Pairing, Project, in_all_pairings};

in_all_pairings!(
    attached_with_and_without_input_and_signals,
    keys_detach_from_a_service,
    a_run_with_and_without_input,
    what_a_service_depends_on_is_shown_if_asked_for,
);

const FILE: &str = "
services:
  a:
    image: busybox
    command: sh -c 'trap \"echo caught\" USR1; echo ready; while true; do read line && echo got $$line; done'
    stdin_open: true
    init: true
    stop_grace_period: 0s
  tty:
    image: busybox
    command: sh -c 'echo up; exec cat'
    tty: true
    stdin_open: true
    stop_grace_period: 0s
";

fn spawned(project: &Project, args: &[&str]) -> Child {
    project
        .command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Reads lines until one is this.
fn line(from: &mut BufReader<ChildStdout>, wanted: &str) {
    let mut line = String::new();
    while line.trim_end() != wanted {
        line.clear();
        assert_ne!(from.read_line(&mut line).unwrap(), 0, "it ended before {wanted:?}");
    }
}

fn attached_with_and_without_input_and_signals(pairing: Pairing) {
    let project = pairing.project(FILE);
    project.ok(&["up", "-d", "a"]);
    let logs = || project.ok(&["logs", "--no-log-prefix", "a"]);
    eventually("it is ready", || logs().contains("ready").then_some(()));
    let mut child = spawned(&project, &["attach", "a"]);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    line(&mut output, "got one");
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::USR1).unwrap();
    line(&mut output, "caught");

    // Who sees a line that somebody else has sent is attached, and nothing of its own input arrives.
    let mut deaf = spawned(&project, &["attach", "--no-stdin", "--sig-proxy=false", "a"]);
    let mut heard = BufReader::new(deaf.stdout.take().unwrap());
    let mut unheard = deaf.stdin.take().unwrap();
    unheard.write_all(b"nothing\n").unwrap();
    let mut attempts = 0;
    let (sender, receiver) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        let mut line = String::new();
        while heard.read_line(&mut line).is_ok_and(|length| length > 0) {
            drop(sender.send(std::mem::take(&mut line)));
        }
    });
    eventually("the second one is attached", || {
        attempts += 1;
        writeln!(input, "more {attempts}").unwrap();
        receiver.recv_timeout(std::time::Duration::from_millis(200)).ok()
    });
    // Docker Compose catches every signal here and then reads on: it ends by no other.
    let own = if pairing.their_program { Signal::KILL } else { Signal::USR1 };
    kill_process(Pid::from_child(&deaf), own).unwrap();
    let ended = deaf.wait().unwrap();
    assert!(!ended.success(), "the signal was its own: {ended}");
    listener.join().unwrap();
    writeln!(input, "last").unwrap();
    line(&mut output, "got last");
    let logs = logs();
    assert!(!logs.contains("nothing"), "{logs}");
    assert_eq!(logs.matches("caught").count(), 1, "{logs}");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn keys_detach_from_a_service(pairing: Pairing) {
    let Some(script) = programs::find("script") else { return };
    let project = pairing.project(FILE);
    project.ok(&["up", "-d", "tty"]);
    let (program, first) = pairing.program();
    let words =
        format!("{} {} attach --detach-keys=ctrl-x,q tty", program.display(), first.join(" "));
    let mut typed = project
        .program(&script)
        .args(["-qec", &words, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = typed.stdin.take().unwrap();
    input.write_all(b"word\r").unwrap();
    let (mut seen, mut byte) = (Vec::new(), [0]);
    let mut output = typed.stdout.take().unwrap();
    // The first one may be the echo of the terminal on this side.
    while String::from_utf8_lossy(&seen).matches("word").count() < 2 {
        assert_ne!(output.read(&mut byte).unwrap(), 0, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    input.write_all(b"\x18q").unwrap();
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    let ended = typed.wait().unwrap();
    assert!(rest.contains("read escape sequence"), "{ended}: {rest}");
    assert_eq!(project.sandbox.inspect("shop-tty-1", "{{.State.Status}}"), "running");
}

/// An `up` in a terminal of its own, which has rows.
fn up_in_terminal(project: &Project, script: &Path, flags: &str) -> Child {
    let words = format!("stty rows 24 cols 90; {} compose up {flags}", binary().display());
    let mut command = project.program(script);
    command.args(["-qec", &words, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Reads what the terminal shows until these words are there; all of it.
fn shows(output: &mut impl Read, words: &str) -> String {
    let (mut seen, mut byte) = (Vec::new(), [0]);
    loop {
        let text = String::from_utf8_lossy(&seen);
        if text.contains(words) {
            return text.into_owned();
        }
        assert_ne!(output.read(&mut byte).unwrap(), 0, "{words:?} is not in {text:?}");
        seen.push(byte[0]);
    }
}

#[test]
fn keys_of_an_up_at_a_terminal() {
    let Some(script) = programs::find("script") else { return };
    let file = "services:\n  web:\n    image: busybox\n    command: sh -c 'echo it runs; exec sleep 1000'\n    stop_grace_period: 0s\n";
    let project = Project::new(file);
    let state = || project.sandbox.inspect("shop-web-1", "{{.State.Status}}");
    let mut up = up_in_terminal(&project, &script, "");
    let (mut input, mut output) = (up.stdin.take().unwrap(), up.stdout.take().unwrap());
    shows(&mut output, "Enable Watch");
    shows(&mut output, "it runs");
    input.write_all(b"w").unwrap();
    shows(&mut output, "watch is not yet configured");
    // It may still wait for the last answer of the daemon.
    eventually("it has let go", || {
        // It may have ended just now.
        drop(input.write_all(b"d"));
        up.try_wait().unwrap()
    });
    assert_eq!(state(), "running");
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\x1b[r"), "the whole terminal scrolls again: {rest:?}");

    // Files that change, while that is wanted.
    fs::create_dir(project.directory.join("src")).unwrap();
    fs::write(project.directory.join("src/f"), "one").unwrap();
    let watched =
        file.to_owned() + "    develop: {watch: [{path: ./src, action: sync, target: /app}]}\n";
    fs::write(project.directory.join("compose.yaml"), watched).unwrap();
    let mut up = up_in_terminal(&project, &script, "--menu");
    let (mut input, mut output) = (up.stdin.take().unwrap(), up.stdout.take().unwrap());
    shows(&mut output, "Enable Watch");
    input.write_all(b"w").unwrap();
    shows(&mut output, "Disable Watch");
    shows(&mut output, "Watch enabled");
    fs::write(project.directory.join("src/f"), "two").unwrap();
    eventually("it is copied", || {
        let cat = project.run(&["exec", "-T", "web", "cat", "/app/f"]);
        (cat.stdout == "two").then_some(())
    });
    input.write_all(b"w").unwrap();
    shows(&mut output, "Enable Watch");
    // A signal is still one.
    input.write_all(b"\x03").unwrap();
    shows(&mut output, "Gracefully Stopping");
    output.read_to_string(&mut rest).unwrap();
    up.wait().unwrap();
    assert_eq!(state(), "exited");

    let mut up = up_in_terminal(&project, &script, "--menu=false");
    let mut output = up.stdout.take().unwrap();
    let seen = shows(&mut output, "it runs");
    assert!(!seen.contains("Watch"), "{seen}");
    project.ok(&["kill"]);
    output.read_to_string(&mut rest).unwrap();
    up.wait().unwrap();
}

fn a_run_with_and_without_input(pairing: Pairing) {
    let project = pairing.project(FILE);
    let typed = |args: &[&str]| run_with_input(&mut project.command(args), b"typed\n");
    assert_eq!(typed(&["run", "--rm", "-T", "a", "cat"]).ok(), "typed");
    assert_eq!(typed(&["run", "--rm", "-T", "--interactive=false", "a", "cat"]).ok(), "");
    assert_eq!(typed(&["run", "--rm", "-T", "-i=false", "a", "echo", "said"]).ok(), "said");
    // One in the background is gone when it has ended, too.
    project.ok(&["run", "--rm", "--detach", "--name", "brief", "a", "true"]);
    eventually("it is gone", || {
        project.sandbox.ok(&["ps", "-a", "-q", "--filter", "name=brief"]).is_empty().then_some(())
    });
    project.ok(&["up", "-d", "a"]);
    assert_eq!(typed(&["exec", "-T", "a", "cat"]).ok(), "typed");
    assert_eq!(typed(&["exec", "-T", "--interactive=false", "a", "cat"]).ok(), "");
}

fn what_a_service_depends_on_is_shown_if_asked_for(pairing: Pairing) {
    let project = pairing.project(
        "services:\n  dep:\n    image: busybox\n    command: sh -c 'echo from dep; touch /said; sleep 1000'\n    stop_grace_period: 0s\n    \
         healthcheck: {test: test -f /said, interval: 100ms, retries: 6000}\n  \
         main:\n    image: busybox\n    command: sh -c 'echo from main; exit 4'\n    depends_on: {dep: {condition: service_healthy}}\n",
    );
    let up = |more: &[&str]| {
        let words = ["up", "--abort-on-container-exit", "--force-recreate"];
        project.run(&[&words, more, &["main"]].concat()).fails(4).stdout
    };
    let own = up(&[]);
    assert!(own.contains("main-1  | from main") && !own.contains("from dep"), "{own}");
    // What was not named is not ended, either; so what it said, it has said before.
    assert_eq!(project.sandbox.inspect("shop-dep-1", "{{.State.Status}}"), "running");
    project.ok(&["down", "-t", "0"]);
    let all = up(&["--attach-dependencies"]);
    assert!(all.contains(" | from main\n") && all.contains(" | from dep\n"), "{all}");
    let both = project.run(&["up", "--attach", "dep", "--attach-dependencies"]);
    assert!(both.stderr.contains("cannot combine --attach and --attach-dependencies"), "{both:?}");
}

#[test]
fn watch_rebuilds_and_tidies_up() {
    let file = "services:\n  web:\n    build: {context: ., dockerfile_inline: \"FROM busybox\\nCOPY src /src\\n\"}\n    \
                command: sleep 1000\n    stop_grace_period: 0s\n    develop: {watch: [{path: ./src, action: rebuild}]}\n";
    let project = Project::new(file);
    fs::create_dir(project.directory.join("src")).unwrap();
    let write = |text: &str| fs::write(project.directory.join("src/f"), text).unwrap();
    write("one");
    let nothing = project.run(&["ps", "-q"]);
    assert_eq!(nothing.ok(), "");
    let dangling = || {
        let label = "label=com.docker.compose.project=shop";
        project.sandbox.ok(&["images", "-q", "--filter", "dangling=true", "--filter", label])
    };
    let shown = || project.run(&["exec", "-T", "web", "cat", "/src/f"]).stdout;
    // It neither builds nor starts anything of itself, and leaves what was there before.
    let mut child = spawned(&project, &["watch", "--no-up", "--prune=false"]);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    line(&mut output, "Watch enabled");
    assert_eq!(project.ok(&["ps", "-aq"]), "");
    project.ok(&["up", "-d"]);
    assert_eq!(shown(), "one");
    write("two");
    line(&mut output, "service \"web\" successfully built");
    assert_eq!(shown(), "two");
    assert_eq!(dangling().lines().count(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    // What has changed while nobody watched is built first; what was replaced goes.
    write("three");
    let mut child = spawned(&project, &["watch"]);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    line(&mut output, "Watch enabled");
    assert_eq!(shown(), "three");
    write("four");
    line(&mut output, "service \"web\" successfully built");
    assert_eq!((shown().as_str(), dangling().as_str()), ("four", ""));
    child.kill().unwrap();
    child.wait().unwrap();
}

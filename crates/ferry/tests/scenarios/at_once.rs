//! Two things at once that are done to one container, and what must be true of it when they are answered.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::MetadataExt, net::UnixStream},
    path::Path,
    process::Command,
    sync::Barrier,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox, eventually, run};
use serde_json::json;

use crate::with_busybox;

/// How often what may go wrong is given the chance to.
const ROUNDS: usize = 10;

#[test]
fn two_removals() {
    let sandbox = with_busybox(Client::Ferry);
    for round in 0..ROUNDS {
        let name = format!("doomed-{round}");
        sandbox.ok(&["run", "-d", "--name", &name, "busybox", "sleep", "1000"]);
        let both = Barrier::new(2);
        let path = format!("/containers/{name}?force=1");
        let api = sandbox.api();
        let remove = || {
            both.wait();
            api.call("DELETE", &path, None)
        };
        let answers = std::thread::scope(|scope| {
            let other = scope.spawn(remove);
            [remove(), other.join().unwrap()]
        });
        let removed = answers.iter().filter(|(status, _)| *status == 204).count();
        assert_eq!(removed, 1, "{answers:?}");
        let (status, words) = answers.iter().find(|(status, _)| *status != 204).unwrap();
        let words = words["message"].as_str().unwrap();
        let expected = match status {
            404 => format!("No such container: {name}"),
            _ => format!("removal of container {name} is already in progress"),
        };
        assert_eq!(words, expected);
    }
    assert_eq!(sandbox.ok(&["ps", "-aq"]), "");
}

#[test]
fn one_that_removes_itself_and_does_not_start_again() {
    let sandbox = with_busybox(Client::Ferry);
    let source = sandbox.dir().join("source");
    let mount = format!("type=bind,src={},dst=/source", source.display());
    for runs in [true, false] {
        std::fs::create_dir_all(&source).unwrap();
        let words = ["create", "--rm", "--name", "once", "--mount", &mount, "busybox"];
        sandbox.ok(&[&words[..], &["sleep", "1000"]].concat());
        if runs {
            sandbox.ok(&["start", "once"]);
        }
        std::fs::remove_dir(&source).unwrap();
        sandbox
            .run(&["restart", "-t", "0", "once"])
            .fails(1)
            .says("bind source path does not exist");
        assert_eq!(sandbox.ok(&["ps", "-aq"]), "", "it ran before: {runs}");
    }
}

/// The text in a multiplexed stream.
fn text_of(mut stream: &[u8]) -> String {
    let mut text = Vec::new();
    while let Some((head, rest)) = stream.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        text.extend_from_slice(&rest[..length]);
        stream = &rest[length..];
    }
    String::from_utf8(text).unwrap()
}

/// Takes a place on a container's streams; the answer has begun when this returns.
fn attached(socket: &Path, query: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(socket).unwrap();
    let head = format!(
        "POST /containers/writer/attach?{query} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0, "no answer");
    }
    reader
}

#[test]
fn the_log_and_the_stream_of_one_that_writes() {
    let sandbox = with_busybox(Client::Ferry);
    let lines = 20_000;
    // In pieces: a line is not in the log before it ends.
    let script = format!(
        "read go; i=0; while [ $i -lt {lines} ]; do i=$((i+1)); echo -n line; echo \" $i\"; done; read end"
    );
    sandbox.ok(&["run", "-d", "-i", "--name", "writer", "busybox", "sh", "-c", &script]);
    let expected: Vec<String> = (1..=lines).map(|number| format!("line {number}")).collect();
    let socket = sandbox.socket();
    let all_are_there = Barrier::new(ROUNDS + 1);
    let mut input = attached(&socket, "stream=1&stdin=1").into_inner();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..ROUNDS)
            .map(|reader| {
                let (socket, all_are_there) = (&socket, &all_are_there);
                scope.spawn(move || {
                    std::thread::sleep(Duration::from_millis(20 * reader as u64));
                    let mut stream = attached(socket, "logs=1&stream=1&stdout=1");
                    all_are_there.wait();
                    let mut bytes = Vec::new();
                    stream.read_to_end(&mut bytes).unwrap();
                    text_of(&bytes)
                })
            })
            .collect();
        input.write_all(b"go\n").unwrap();
        all_are_there.wait();
        input.write_all(b"end\n").unwrap();
        for reader in readers {
            let text = reader.join().unwrap();
            let seen: Vec<&str> = text.lines().collect();
            let wrong = seen.iter().zip(&expected).position(|(seen, expected)| seen != expected);
            let around = wrong.map(|at| &seen[at.saturating_sub(2)..seen.len().min(at + 2)]);
            assert_eq!(around, None, "a line is missing, or there twice");
            assert_eq!(seen.len(), expected.len());
        }
    });
}

/// Height and width of the terminal that is a process's input.
fn size_of_terminal(pid: i64) -> (u16, u16) {
    let terminal = std::fs::File::open(format!("/proc/{pid}/fd/0")).unwrap();
    let size = rustix::termios::tcgetwinsize(terminal).unwrap();
    (size.ws_row, size.ws_col)
}

#[test]
fn a_terminal_has_its_size_when_that_is_answered() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-dt", "--name", "wide", "busybox", "sleep", "1000"]);
    let api = sandbox.api();
    let body = json!({"Cmd": ["sleep", "1000"], "Tty": true, "AttachStdout": false});
    let (_, exec) = api.call("POST", "/containers/wide/exec", Some(&body));
    let exec = exec["Id"].as_str().unwrap();
    let start = json!({"Detach": true, "Tty": true});
    assert_eq!(api.call("POST", &format!("/exec/{exec}/start"), Some(&start)).0, 200);
    let pid = |path: &str, field: &str| {
        eventually("it has a process", || {
            api.call("GET", path, None).1.pointer(field).unwrap().as_i64().filter(|pid| *pid > 0)
        })
    };
    let of_exec = pid(&format!("/exec/{exec}/json"), "/Pid");
    let of_container = pid("/containers/wide/json", "/State/Pid");
    for round in 1..=30 {
        let (height, width) = (round + 10, round + 100);
        for (path, pid) in [
            (format!("/exec/{exec}/resize"), of_exec),
            ("/containers/wide/resize".into(), of_container),
        ] {
            let (status, words) = api.call("POST", &format!("{path}?h={height}&w={width}"), None);
            assert!(matches!(status, 200 | 201), "{status} {words}");
            assert_eq!(size_of_terminal(pid), (height, width), "{path}");
        }
    }
}

/// A tar with one file.
fn archive(sandbox: &Sandbox, name: &str, bytes: &[u8], owner: &str) -> Vec<u8> {
    std::fs::write(sandbox.dir().join(name), bytes).unwrap();
    let tar = sandbox.dir().join("made.tar");
    run(Command::new("tar")
        .args(["--format=ustar", "--numeric-owner", "--owner", owner, "--group"])
        .arg(owner)
        .arg("-C")
        .arg(sandbox.dir())
        .arg("-cf")
        .arg(&tar)
        .arg(name))
    .ok();
    std::fs::read(tar).unwrap()
}

#[test]
fn a_start_while_files_come_in() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["create", "--name", "filled", "busybox", "sha256sum", "/file"]);
    let bytes = vec![b'x'; 1 << 20];
    let tar = archive(&sandbox, "file", &bytes, "0");
    let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
    let length = tar.len();
    write!(stream, "PUT /containers/filled/archive?path=/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n").unwrap();
    let (first, rest) = tar.split_at(length / 2);
    stream.write_all(first).unwrap();
    eventually("the file is begun", || {
        let upper = sandbox.data().join("containers").join(sandbox.inspect("filled", "{{.Id}}"));
        upper.join("upper/file").exists().then_some(())
    });
    let api = sandbox.api();
    std::thread::scope(|scope| {
        let start = scope.spawn(|| api.call("POST", "/containers/filled/start", None).0);
        // It cannot be seen to wait, only not to have started.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(sandbox.inspect("filled", "{{.State.Status}}"), "created");
        stream.write_all(rest).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(start.join().unwrap(), 204);
    });
    sandbox.ok(&["wait", "filled"]);
    let whole = run(Command::new("sha256sum").arg(sandbox.dir().join("file"))).ok();
    let sum = |line: &str| line.split(' ').next().unwrap().to_owned();
    assert_eq!(sum(&sandbox.ok(&["logs", "filled"])), sum(&whole));
}

#[test]
fn files_for_a_bind_with_other_ids() {
    let sandbox = with_busybox(Client::Ferry);
    let source = sandbox.dir().join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::os::unix::fs::chown(&source, Some(1234), Some(1234)).unwrap();
    let mount = format!("type=bind,src={},dst=/in,idmap", source.display());
    sandbox.ok(&["create", "--name", "mapped", "--mount", &mount, "busybox", "true"]);
    let tar = archive(&sandbox, "of-root", b"text", "0");
    let put = |tar: &[u8]| {
        let path = "/containers/mapped/archive?path=/in";
        assert_eq!(sandbox.api().raw("PUT", path, "application/x-tar", Some(tar)).0, 200);
    };
    put(&tar);
    put(&archive(&sandbox, "of-seven", b"text", "7"));
    let owner = |name: &str| std::fs::metadata(source.join(name)).unwrap().uid();
    assert_eq!((owner("of-root"), owner("of-seven")), (1234, 7));
    let back = sandbox.dir().join("back.tar");
    let (status, bytes) =
        sandbox.api().raw("GET", "/containers/mapped/archive?path=/in/.", "text/plain", None);
    assert_eq!(status, 200);
    std::fs::write(&back, bytes).unwrap();
    let list = run(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&back)).ok();
    let line = |name: &str| list.lines().find(|line| line.ends_with(name)).unwrap().to_owned();
    assert!(line("of-root").contains(" 0/0 "), "{list}");
    assert!(line("of-seven").contains(" 7/7 "), "{list}");
}

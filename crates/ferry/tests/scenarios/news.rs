//! What is told of a container holds when it is told, and who waits for it is told.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use ferry_testkit::{Client, Sandbox};

use crate::with_busybox;

/// An answer that goes on, behind its first line.
fn ask(sandbox: &Sandbox, method: &str, path: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(sandbox.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: ferry\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut reader = BufReader::new(stream);
    assert!(line(&mut reader).contains(" 200 "), "{path}");
    reader
}

fn line(reader: &mut impl BufRead) -> String {
    let mut line = String::new();
    assert_ne!(reader.read_line(&mut line).unwrap(), 0, "it ended");
    line
}

#[test]
fn who_hears_of_an_end_finds_it() {
    let sandbox = with_busybox(Client::Ferry);
    let filters = "%7B%22type%22%3A%5B%22container%22%5D%7D";
    let mut events = ask(&sandbox, "GET", &format!("/events?filters={filters}"));
    for number in 0..10 {
        let path = format!("/containers/c{number}/json");
        let seen = |events: &mut BufReader<UnixStream>, action: &str| {
            while !line(events).contains(&format!("\"Action\":\"{action}\"")) {}
            sandbox.api().call("GET", &path, None)
        };
        let words = ["run", "--name", &format!("c{number}"), "busybox", "true"];
        let mut run = sandbox.command(&words).spawn().unwrap();
        let (status, container) = seen(&mut events, "create");
        assert_eq!(status, 200, "{container}");
        let (_, container) = seen(&mut events, "die");
        assert_eq!(container["State"]["Status"], "exited", "{container}");
        assert!(run.wait().unwrap().success());
    }
}

#[test]
fn a_restart_hides_no_end() {
    let sandbox = with_busybox(Client::Ferry);
    sandbox.ok(&["run", "-d", "--name", "again", "busybox", "sleep", "1000"]);
    for condition in ["not-running", "next-exit"] {
        // The daemon answers when it has begun to wait.
        let path = format!("/containers/again/wait?condition={condition}");
        let mut wait = ask(&sandbox, "POST", &path);
        sandbox.ok(&["restart", "-t", "0", "again"]);
        let mut answer = String::new();
        wait.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"StatusCode\":137"), "{condition}: {answer}");
    }
}

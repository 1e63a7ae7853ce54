//! Terminals: the keys that detach, from a container that goes on running.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
};

use ferry_testkit::{Client, Sandbox, eventually, programs};

use crate::with_busybox;

through_both!(keys_that_detach);

/// A command line typed into a terminal of its own, which Debian's script(1) has to give.
fn typed(sandbox: &Sandbox, words: &str) -> Option<Child> {
    let script = programs::find("script")?;
    let program = sandbox.command(&[]).get_program().to_string_lossy().into_owned();
    let child = Command::new(script)
        .args(["-qec", &format!("{program} {words}"), "/dev/null"])
        .env("DOCKER_HOST", sandbox.host())
        .env("DOCKER_CONFIG", sandbox.dir().join("config"))
        .env("XDG_DATA_HOME", sandbox.dir().join("config/share"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    Some(child.unwrap())
}

/// Reads what the terminal shows until these words are there.
fn wait_for(child: &mut Child, words: &str) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&seen).contains(words) {
        let read = child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
        assert_ne!(read, 0, "it ended with: {}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
}

fn press(child: &mut Child, keys: &[u8]) {
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(keys).unwrap();
    stdin.flush().unwrap();
}

fn keys_that_detach(client: Client) {
    let sandbox = with_busybox(client);
    let shell = "sh -c \"echo up; exec cat\"";
    let Some(mut run) = typed(
        &sandbox,
        &format!("run --detach-keys ctrl-x,q --interactive --tty --name box busybox {shell}"),
    ) else {
        return;
    };
    wait_for(&mut run, "up");
    press(&mut run, b"\x18q");
    run.wait().unwrap();
    assert_eq!(sandbox.inspect("box", "{{.State.Running}}"), "true");
    let mut attach = typed(&sandbox, "attach --detach-keys=ctrl-a --sig-proxy=false box").unwrap();
    // It says nothing of itself: the echo shows that it is there.
    press(&mut attach, b"word\r");
    wait_for(&mut attach, "word");
    press(&mut attach, b"\x01");
    attach.wait().unwrap();
    assert_eq!(sandbox.inspect("box", "{{.State.Running}}"), "true");
    let mut exec =
        typed(&sandbox, "exec --detach-keys ctrl-b -it box sh -c \"echo inside; sleep 4321\"")
            .unwrap();
    wait_for(&mut exec, "inside");
    press(&mut exec, b"\x02");
    exec.wait().unwrap();
    let inside = sandbox.ok(&["top", "box"]);
    assert!(inside.contains("sleep 4321"), "the command goes on: {inside}");
    sandbox.ok(&["stop", "--timeout", "0", "box"]);
    let mut start =
        typed(&sandbox, "start --attach --interactive --detach-keys ctrl-c box").unwrap();
    wait_for(&mut start, "up");
    press(&mut start, b"\x03");
    start.wait().unwrap();
    eventually("it runs", || {
        (sandbox.inspect("box", "{{.State.Running}}") == "true").then_some(())
    });
    sandbox.ok(&["rm", "--force", "box"]);
}

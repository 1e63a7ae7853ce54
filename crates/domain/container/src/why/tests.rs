use ferry_model::container::{Container, ContainerSpec, ContainerState, HostSettings, Resources};

use super::*;

fn container(exit_code: i32) -> Container {
    let host = HostSettings {
        resources: Resources { memory: 64 << 20, ..Resources::default() },
        ..HostSettings::default()
    };
    let spec = ContainerSpec { host, ..ContainerSpec::default() };
    let image = format!("sha256:{}", "0".repeat(64)).parse().unwrap();
    Container {
        name: "web".to_owned(),
        state: ContainerState { phase: Phase::Exited, exit_code, ..ContainerState::default() },
        ..Container::new("0123456789abcdef".to_owned(), image, spec)
    }
}

fn causes(container: &Container, change: impl FnOnce(&mut Facts<'_>)) -> Vec<&'static str> {
    let mut facts = Facts {
        container,
        memory_peak: 0,
        actions: Vec::new(),
        program: Vec::new(),
        log: Vec::new(),
        machine: 62,
        port_owner: None,
        remembers: true,
    };
    change(&mut facts);
    explain(&facts).iter().map(|finding| finding.cause).collect()
}

fn kill(signal: i32) -> (String, Option<i32>) {
    ("kill".to_owned(), Some(signal))
}

#[test]
fn who_ended_it() {
    let killed = container(137);
    assert_eq!(causes(&killed, |facts| facts.actions = vec![kill(9)]), ["killed-by-user"]);
    assert_eq!(causes(&killed, |_| ()), ["killed-from-outside"]);
    let stopped = vec![kill(15), kill(9), ("stop".to_owned(), None)];
    assert_eq!(causes(&killed, |facts| facts.actions = stopped), ["stop-timeout"]);
    let mut oom = container(137);
    oom.state.oom_killed = true;
    assert_eq!(causes(&oom, |facts| facts.memory_peak = 64 << 20), ["oom"]);
    assert_eq!(causes(&container(139), |_| ()), ["crashed"]);
    assert_eq!(causes(&container(159), |_| ()), ["seccomp"]);
    assert_eq!(causes(&container(255), |facts| facts.remembers = false), ["lost"]);
}

#[test]
fn files_tell_why_they_do_not_run() {
    let elf = |machine: u8| {
        let mut head = vec![0_u8; 64];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = machine;
        head
    };
    assert_eq!(read_program("/x", 0o755, false, &elf(183)).machine, Some(183));
    let script = read_program("/x", 0o755, false, b"#!/usr/bin/env python\n");
    assert_eq!(script.needs.as_deref(), Some("/usr/bin/env"));
    assert_eq!(
        read_program("/x", 0o755, false, b"#!/bin/sh\r\n").needs.as_deref(),
        Some("/bin/sh\r")
    );
    assert!(read_program("/x", 0o755, false, b"echo").unknown);
    for broken in [&b"\x7fELF"[..], &elf(62)[..20], b"#!", b""] {
        read_program("/x", 0, false, broken);
    }
    let with = |file: ProgramFile| causes(&container(127), |facts| facts.program = vec![file]);
    assert_eq!(with(read_program("/x", 0o755, false, &elf(183))), ["wrong-architecture"]);
    assert_eq!(with(ProgramFile::default()), ["missing-program"]);
    assert_eq!(with(read_program("/x", 0o755, true, b"")), ["directory"]);
}

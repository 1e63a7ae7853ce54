//! Further processes in running containers, and the built-in init.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bed;

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use bed::{Bed, drain, finish, piped, spec, strings};
use ferry_oci::runtime::{Process, Spec};
use ferry_runtime::{Bundle, ExecError, ExecRequest, Running, StdioRequest, create, exec};

fn bed() -> Option<Bed> {
    Bed::new(&bed::resources())
}

fn start(bed: &Bed, spec: &Spec) -> Running {
    let (stdio, _output) = piped();
    create(&bed.bundle(spec), stdio).unwrap().start().unwrap()
}

fn stop(running: Running) {
    ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL).unwrap();
    assert_eq!(finish(running), 137);
}

fn further(
    bed: &Bed,
    spec: &Spec,
    target: &Running,
    process: &Process,
    stdio: StdioRequest,
) -> Result<Running, ExecError> {
    let request = ExecRequest {
        target: target.pidfd.as_fd(),
        target_pid: target.pid,
        spec,
        process,
        filter: None,
        cgroup: bed.cgroup.as_ref(),
        preserve_fds: 0,
    };
    exec(&request, stdio)
}

fn process(spec: &Spec, args: &[&str]) -> Process {
    Process { args: strings(args), ..spec.process.clone().unwrap() }
}

#[test]
fn a_further_process_is_in_the_same_container() {
    let Some(bed) = bed() else { return };
    let spec = spec(&["sleep", "100"]);
    let running = start(&bed, &spec);
    let script = "hostname; cat /proc/1/cmdline | head -c 5; echo; test $$ -gt 1 && echo child; \
                  for k in mnt pid net uts ipc cgroup; do test $(readlink /proc/1/ns/$k) = \
                  $(readlink /proc/self/ns/$k) && echo same; done; grep CapEff /proc/self/status; id -u; \
                  grep -c ':/$' /proc/self/cgroup";
    let mut process = process(&spec, &["sh", "-c", script]);
    process.user.uid = 0;
    let (stdio, output) = piped();
    let child = further(&bed, &spec, &running, &process, stdio).unwrap();
    let members = bed.cgroup.as_ref().unwrap().pids().unwrap();
    let text = drain(output);
    assert_eq!(finish(child), 0, "{text}");
    assert!(members.contains(&running.pid));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..3], ["0123456789ab", "sleep", "child"]);
    assert_eq!(&lines[3..9], ["same"; 6]);
    assert_eq!(&lines[9..11], ["CapEff:\t00000000a80425fb", "0"]);
    stop(running);
}

#[test]
fn what_cannot_be_executed_is_told_in_runcs_words() {
    let Some(bed) = bed() else { return };
    let spec = spec(&["sleep", "100"]);
    let running = start(&bed, &spec);
    let fails = |process: &Process| {
        let (stdio, _output) = piped();
        let error = further(&bed, &spec, &running, process, stdio).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let head = "unable to start container process: ";
    assert_eq!(
        fails(&process(&spec, &["foo"])),
        (127, format!(r#"{head}exec: "foo": executable file not found in $PATH"#))
    );
    assert_eq!(
        fails(&process(&spec, &["/etc/passwd"])),
        (126, format!(r#"{head}exec: "/etc/passwd": permission denied"#))
    );
    let nowhere = Process { cwd: "/nowhere".into(), ..process(&spec, &["true"]) };
    assert_eq!(
        fails(&nowhere),
        (
            127,
            format!(
                r#"{head}chdir to cwd ("/nowhere") set in config.json failed: no such file or directory"#
            )
        )
    );
    stop(running);
}

#[test]
fn a_container_that_is_gone_cannot_be_joined() {
    let Some(bed) = bed() else { return };
    let spec = spec(&["sleep", "100"]);
    let running = start(&bed, &spec);
    ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL).unwrap();
    // Dead, and not waited for.
    let status = format!("/proc/{}/status", running.pid);
    let is_dead = || std::fs::read_to_string(&status).unwrap().contains("State:\tZ");
    while !is_dead() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (stdio, _output) = piped();
    let error = further(&bed, &spec, &running, &process(&spec, &["true"]), stdio).unwrap_err();
    assert!(error.to_string().starts_with("unable to start container process: "), "{error}");
    assert_eq!(finish(running), 137);
}

#[test]
fn a_further_process_can_have_a_terminal_and_another_user() {
    let Some(bed) = bed() else { return };
    let spec = spec(&["sleep", "100"]);
    let running = start(&bed, &spec);
    let mut process = process(&spec, &["sh", "-c", "tty; stty size; id -un; echo $HOME; pwd"]);
    process.user.username = Some("web".into());
    process.cwd = "/srv".into();
    let terminal = StdioRequest::Terminal { rows: 5, cols: 7 };
    let mut child = further(&bed, &spec, &running, &process, terminal).unwrap();
    let output = drain(child.master.take().expect("a terminal"));
    assert_eq!(finish(child), 0, "{output}");
    assert_eq!(output, "/dev/pts/0\r\n5 7\r\nweb\r\n/srv\r\n/srv\r\n");
    stop(running);
}

/// Starts with the built-in init; answers with what runs and its output.
fn start_init(bed: &Bed, args: &[&str]) -> (Running, std::os::fd::OwnedFd) {
    let spec = spec(args);
    let (stdio, output) = piped();
    let bundle = Bundle { init: true, ..bed.bundle(&spec) };
    (create(&bundle, stdio).unwrap().start().unwrap(), output)
}

#[test]
fn init_is_pid_1_reaps_and_answers_with_the_programs_code() {
    let Some(bed) = bed() else { return };
    // The inner shell's child becomes an orphan, and a zombie unless somebody reaps it.
    let script = "echo $$; cat /proc/1/comm; (sh -c 'sleep 0.1 &'); sleep 0.3; \
                  grep -h '^State:.*Z' /proc/[0-9]*/status | wc -l; grep CapEff /proc/1/status; \
                  ls /proc/1/fd | tr '\\n' ' '; exit 7";
    let (running, output) = start_init(&bed, &["sh", "-c", script]);
    let text = drain(output);
    assert_eq!(finish(running), 7, "{text}");
    let expected = "2\ndocker-init\n0\nCapEff:\t00000000a80425fb\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn init_passes_signals_on() {
    let Some(bed) = bed() else { return };
    let script = "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.05; done";
    let (running, output) = start_init(&bed, &["sh", "-c", script]);
    // Its trap is set when it says so.
    let mut up = [0; 3];
    std::fs::File::from(output.try_clone().unwrap()).read_exact(&mut up).unwrap();
    ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGTERM).unwrap();
    assert_eq!((&up, drain(output).as_str()), (b"up\n", "term\n"));
    assert_eq!(finish(running), 3);

    let (running, _output) = start_init(&bed, &["sleep", "100"]);
    ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGTERM).unwrap();
    assert_eq!(
        finish(running),
        128 + 15,
        "a program without a handler, which as pid 1 would not die"
    );
}

#[test]
fn init_tells_of_a_missing_program() {
    let Some(bed) = bed() else { return };
    for (program, code) in [("foo", 127), ("/etc/passwd", 126)] {
        let spec = spec(&[program]);
        let (stdio, _output) = piped();
        let bundle = Bundle { init: true, ..bed.bundle(&spec) };
        let error = create(&bundle, stdio).unwrap().start().unwrap_err();
        assert_eq!(error.exit_code(), code, "{error}");
    }
    let (running, output) = start_init(&bed, &["/bin/bad"]);
    assert_eq!(drain(output), "exec /bin/bad: no such file or directory\n");
    assert_eq!(finish(running), 127);
}

//! One call of one plugin: environment, standard input, time limit, and what it prints.

use std::{
    io::{self, Read, Write},
    os::{fd::AsFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::{CniError, INTERFACE, Pod};

/// How long a plugin may take to attach or detach a pod: kubelet gives up on one after four minutes.
const LIMIT: Duration = Duration::from_secs(110);

/// How long it may take for what others wait for meanwhile: GC lets no pod on or off its network, CHECK holds the pod's own task, and
/// without STATUS's answer nobody hears anything of the machine.
const SHORT: Duration = Duration::from_secs(20);

/// How often it is looked whether a plugin has ended whose output goes on: something that it started may have that open.
const GLANCE: Duration = Duration::from_millis(50);

/// Most that a plugin may print.
const MAX_OUTPUT: usize = 4 << 20;

/// Most of its complaints that are repeated.
const MAX_COMPLAINT: usize = 4096;

/// A call.
pub(crate) struct Call<'a> {
    pub(crate) command: &'static str,
    pub(crate) kind: &'a str,
    pub(crate) directories: &'a [PathBuf],
    pub(crate) config: &'a Value,
    pub(crate) pod: Pod<'a>,
    pub(crate) limit: Duration,
}

/// How long a plugin may take for a command.
pub(crate) fn limit(command: &str) -> Duration {
    match command {
        "CHECK" | "GC" | "STATUS" => SHORT,
        _ => LIMIT,
    }
}

/// The program of a plugin.
pub(crate) fn find(kind: &str, directories: &[PathBuf]) -> Result<PathBuf, CniError> {
    let found =
        directories.iter().map(|directory| directory.join(kind)).find(|path| path.is_file());
    found.ok_or_else(|| CniError::NoSuchPlugin {
        kind: kind.to_owned(),
        directories: directories.to_vec(),
    })
}

/// Runs the plugin and answers what it printed.
pub(crate) fn run(call: &Call<'_>) -> Result<Vec<u8>, CniError> {
    let program = find(call.kind, call.directories)?;
    let failed = |source| CniError::Run { kind: call.kind.to_owned(), source };
    let mut child = spawn(call, &program).map_err(failed)?;
    let input = call.config.to_string();
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = AtomicBool::new(false);
    let ended = &ended;
    // Each pipe has its thread: a plugin may write before it has read everything.
    let (output, complaint, status) = std::thread::scope(|scope| {
        // A plugin that does not read says so by its exit code, if it matters.
        scope.spawn(move || stdin.map(|pipe| feed(pipe, input.as_bytes(), ended)));
        let output = scope.spawn(move || stdout.map(|pipe| drain(pipe, MAX_OUTPUT, ended)));
        let complaint = scope.spawn(move || stderr.map(|pipe| drain(pipe, MAX_COMPLAINT, ended)));
        let status = wait(&mut child, call.limit);
        ended.store(true, Ordering::Release);
        (output.join(), complaint.join(), status)
    });
    let output = output.ok().flatten().unwrap_or_default();
    let complaint = complaint.ok().flatten().unwrap_or_default();
    let Some(status) = status.map_err(failed)? else {
        return Err(CniError::TimedOut {
            kind: call.kind.to_owned(),
            command: call.command,
            limit: call.limit,
        });
    };
    if output.len() > MAX_OUTPUT {
        return Err(CniError::TooMuch { kind: call.kind.to_owned(), limit: MAX_OUTPUT });
    }
    if status.success() {
        return Ok(output);
    }
    Err(CniError::Refused {
        kind: call.kind.to_owned(),
        command: call.command,
        message: words(&output, &complaint, status),
    })
}

fn spawn(call: &Call<'_>, program: &Path) -> io::Result<Child> {
    let pod = call.pod;
    let arguments: Vec<String> =
        pod.request.args.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut command = Command::new(program);
    command
        .env("CNI_COMMAND", call.command)
        .env("CNI_PATH", std::env::join_paths(call.directories).unwrap_or_default())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Killed as a group: plugins start further plugins.
        .process_group(0);
    if !matches!(call.command, "STATUS" | "GC") {
        command
            .env("CNI_CONTAINERID", pod.id)
            .env("CNI_NETNS", pod.netns)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_ARGS", arguments.join(";"));
    }
    command.spawn()
}

/// Waits for the end; `None` when the time was over and it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    let group = rustix::process::Pid::from_child(child);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    child.wait()?;
    Ok(None)
}

/// Writes all of `input`, or what is read of it before the plugin ends: something that it started may have the pipe open then, and never read.
fn feed(mut pipe: impl Write + AsFd, mut input: &[u8], ended: &AtomicBool) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    while !input.is_empty() && !ended.load(Ordering::Acquire) {
        if !is_ready(&pipe, PollFlags::OUT, GLANCE) {
            continue;
        }
        match pipe.write(input) {
            Ok(count) => input = &input[count..],
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads all there is until the plugin has ended, and keeps one byte more than `limit` at most. What something that it started goes on to
/// write is read no further than that.
fn drain(mut pipe: impl Read + AsFd, limit: usize, ended: &AtomicBool) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        // What was written before the end is there when the end is seen.
        let was_over = ended.load(Ordering::Acquire);
        if was_over && kept.len() > limit {
            break;
        }
        if !is_ready(&pipe, PollFlags::IN, if was_over { Duration::ZERO } else { GLANCE }) {
            if was_over {
                break;
            }
            continue;
        }
        let Ok(count @ 1..) = pipe.read(&mut chunk) else { break };
        let room = (limit + 1).saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(&chunk[..room]);
    }
    kept
}

/// Whether a read or a write would not wait, as far as can be seen within `glance`, which is less than a second.
fn is_ready(pipe: &impl AsFd, what: PollFlags, glance: Duration) -> bool {
    let glance = Timespec { tv_sec: 0, tv_nsec: i64::from(glance.subsec_nanos()) };
    let mut wanted = [PollFd::new(pipe, what)];
    match poll(&mut wanted, Some(&glance)) {
        Ok(count) => count > 0,
        Err(rustix::io::Errno::INTR) => false,
        // The read or the write says what is wrong.
        Err(_) => true,
    }
}

/// The words of a plugin that failed.
fn words(output: &[u8], complaint: &[u8], status: ExitStatus) -> String {
    let error: Value = serde_json::from_slice(output).unwrap_or_default();
    let part = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    match (part("msg"), part("details")) {
        ("", "") => {
            let complaint = String::from_utf8_lossy(complaint);
            match complaint.trim() {
                "" => status.to_string(),
                words => format!("{status}: {words}"),
            }
        }
        (message, "") => message.to_owned(),
        (message, details) => format!("{message}: {details}"),
    }
}

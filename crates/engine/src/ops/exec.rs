//! `exec`: further processes in a running container.

use std::time::Duration;

use ferry_container::Namespace;
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, Phase},
    exec::{Exec, ExecSpec},
};
use ferry_oci::runtime::Process;
use ferry_shim::wire::{self, Attach, Event, Request};
use tokio::net::UnixStream;

use crate::{Engine, Shared, actor, random};

/// How long the end of an exec may be on its way from the shim to the container's task.
const NEWS_PATIENCE: Duration = Duration::from_secs(10);

/// How to start an exec.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StartExec {
    /// Nobody listens.
    pub detach: bool,
    /// A pseudo terminal: what the caller of `start` says; `create`'s word counts.
    pub tty: bool,
    /// Terminal height and width.
    pub console_size: Option<(u32, u32)>,
}

/// Notes what is to be run. Nothing runs yet.
///
/// # Errors
/// The container does not run, or there is no command.
pub async fn create(engine: &Engine, name: &str, spec: ExecSpec) -> Result<String, Failure> {
    note(&engine.shared, name, spec)
}

/// As [`create`], for the engine itself.
pub(crate) fn note(shared: &Shared, name: &str, spec: ExecSpec) -> Result<String, Failure> {
    let container = running(shared, name)?;
    if spec.cmd.is_empty() || spec.cmd[0].is_empty() {
        return Err(Failure::new(ErrorKind::InvalidArgument, "No exec command specified"));
    }
    let id = random::id()?;
    let action = action("exec_create", &spec.cmd);
    shared.execs.add(Exec {
        id: id.clone(),
        container_id: container.id.clone(),
        spec,
        ..Exec::default()
    });
    shared.events.container(&container, &action, &[("execID", id.clone())], shared.now());
    Ok(id)
}

/// Runs it. The stream carries its output and takes its input; `None` when detached.
///
/// # Errors
/// It was started before, the container does not run, or the program cannot be run: then its exit code is 126 or 127.
pub async fn start(
    engine: &Engine,
    exec_id: &str,
    how: StartExec,
) -> Result<Option<UnixStream>, Failure> {
    let stream = launch(&engine.shared, exec_id, how, false).await?;
    Ok((!how.detach).then_some(stream))
}

/// As [`start`], for the engine itself. `tied`: it is killed when the stream is dropped.
pub(crate) async fn launch(
    shared: &Shared,
    exec_id: &str,
    how: StartExec,
    tied: bool,
) -> Result<UnixStream, Failure> {
    let exec = shared.execs.get(exec_id)?;
    let has_run = || {
        let words = format!("Error: Exec command {exec_id} has already run");
        Failure::new(ErrorKind::Conflict, words)
    };
    if exec.running || exec.exit_code.is_some() {
        return Err(has_run());
    }
    let container = running(shared, &exec.container_id)?;
    let spec = &exec.spec;
    let size = how.console_size.or(spec.console_size);
    let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let request = Request::Exec(Box::new(wire::Exec {
        id: exec.id.clone(),
        process: process(shared, &container, spec)?,
        tty: spec.tty,
        size: size.map(|(height, width)| (clamp(height), clamp(width))),
        attach: Attach {
            dated: false,
            stdin: spec.attach_stdin && !how.detach,
            stdout: spec.attach_stdout,
            stderr: spec.attach_stderr,
        },
        detached: how.detach,
        filtered: !spec.privileged,
        tied,
    }));
    if !shared.execs.claim(exec_id) {
        return Err(has_run());
    }
    let action = action("exec_start", &spec.cmd);
    shared.events.container(&container, &action, &[("execID", exec.id.clone())], shared.now());
    let run_dir = shared.dirs.run(&container.id);
    let answer = actor::stream(&run_dir, &request).await;
    match answer {
        Ok((stream, Event::ExecStarted { pid })) => {
            shared.execs.update(exec_id, |exec| exec.pid = pid);
            Ok(stream)
        }
        Ok((_, Event::ExecFailed { code, message })) => {
            shared.execs.ended(exec_id, code);
            if let Some(words) = actor::about_users(&message) {
                return Err(Failure::new(ErrorKind::InvalidArgument, words));
            }
            let words = format!("OCI runtime exec failed: exec failed: {message}");
            let kind = if matches!(code, 126 | 127) {
                ErrorKind::InvalidArgument
            } else {
                ErrorKind::Internal
            };
            Err(Failure::new(kind, words))
        }
        Ok((_, other)) => {
            shared.execs.ended(exec_id, 128);
            Err(Failure::new(
                ErrorKind::Internal,
                format!("the shim answered an exec with {other:?}"),
            ))
        }
        Err(error) => {
            shared.execs.ended(exec_id, 128);
            let words = format!("cannot reach the shim of container {}: {error}", container.id);
            Err(Failure::new(ErrorKind::Conflict, words))
        }
    }
}

/// Changes the size of an exec's terminal.
///
/// # Errors
/// It does not run.
pub async fn resize(
    engine: &Engine,
    exec_id: &str,
    height: u32,
    width: u32,
) -> Result<(), Failure> {
    let shared = &engine.shared;
    let exec = shared.execs.get(exec_id)?;
    if !exec.running {
        let words = format!("cannot resize a stopped exec: {exec_id}");
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let clamp = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
    let run_dir = shared.dirs.run(&exec.container_id);
    let command =
        wire::Command::Resize { exec: Some(exec.id), rows: clamp(height), cols: clamp(width) };
    let resized = async {
        let (mut live, _) = actor::Live::connect(&run_dir, false).await?;
        live.command(&command).await?;
        live.finish().await
    };
    resized.await.map_err(|error| {
        Failure::new(ErrorKind::Conflict, format!("cannot resize exec {exec_id}: {error}"))
    })
}

/// Waits for the end of an exec that was started, and answers its exit code.
///
/// # Errors
/// There is no such exec.
pub async fn wait(engine: &Engine, exec_id: &str) -> Result<i32, Failure> {
    let shared = &engine.shared;
    shared.execs.get(exec_id)?;
    Ok(shared.execs.end_of(exec_id).await.unwrap_or(137))
}

/// How an exec stands.
///
/// # Errors
/// There is no such exec.
pub async fn inspect(engine: &Engine, exec_id: &str) -> Result<Exec, Failure> {
    let shared = &engine.shared;
    let exec = shared.execs.get(exec_id)?;
    // Without a process it is still being started.
    if !exec.running || exec.pid == 0 {
        return Ok(exec);
    }
    // Its end may have reached its client before it reached us: the shim, if there still is one, knows whether it runs.
    let run_dir = shared.dirs.run(&exec.container_id);
    if let Ok((_, state)) = actor::Live::connect(&run_dir, false).await
        && state.execs.iter().any(|id| id == exec_id)
    {
        return Ok(exec);
    }
    // The container's task is about to hear how it ended, and tells of it.
    drop(tokio::time::timeout(NEWS_PATIENCE, shared.execs.end_of(exec_id)).await);
    shared.execs.get(exec_id)
}

fn running(shared: &Shared, name: &str) -> Result<std::sync::Arc<Container>, Failure> {
    let container = shared.containers.find(name)?.container();
    match container.state.phase {
        Phase::Running => Ok(container),
        Phase::Paused => {
            let words = format!(
                "Container {} is paused, unpause the container before exec",
                container.name
            );
            Err(Failure::new(ErrorKind::Conflict, words))
        }
        _ => {
            let words = format!("container {} is not running", container.id);
            Err(Failure::new(ErrorKind::Conflict, words))
        }
    }
}

/// The container's own process, with the exec's program, user and environment.
fn process(shared: &Shared, container: &Container, spec: &ExecSpec) -> Result<Process, Failure> {
    let inputs = ferry_container::SpecInputs {
        container,
        rootfs: "",
        unified_cgroup: shared.hierarchy.is_v2(),
        cgroup_path: "",
        etc_files: ["", "", ""],
        network: &Namespace::New,
        pid: &Namespace::New,
        ipc: &Namespace::New,
        uts: &Namespace::New,
        user: None,
        joined_shm: None,
        host_name: &shared.host_name(),
        bounding: &|name| shared.may(name),
        arch: std::env::consts::ARCH,
        apparmor: shared.apparmor.default_profile(),
        kernel: shared.kernel,
        owner: &|_| None,
        device: &crate::devices::look_up,
        all_devices: &crate::devices::all,
    };
    Ok(ferry_container::plan_exec(&inputs, spec)?)
}

/// Docker's word for it: the program, a space, its arguments.
fn action(what: &str, command: &[String]) -> String {
    let (program, args) = command.split_first().map_or(("", &[][..]), |(p, a)| (p.as_str(), a));
    format!("{what}: {program} {}", args.join(" "))
}

//! Execs.

use ferry_docker_api::{ExecConfig, ExecInspect, ExecProcess};
use ferry_errkind::Failure;
use ferry_model::exec::{Exec, ExecSpec};

use crate::refuse::invalid;

/// Reads exec create.
pub(crate) fn spec(config: ExecConfig) -> Result<ExecSpec, Failure> {
    let ExecConfig {
        user,
        privileged,
        tty,
        console_size,
        attach_stdin,
        attach_stderr,
        attach_stdout,
        detach_keys,
        env,
        working_dir,
        cmd,
        // Counts at exec start.
        detach: _,
    } = config;
    let cmd = cmd.unwrap_or_default();
    if cmd.is_empty() {
        return Err(invalid("No exec command specified"));
    }
    Ok(ExecSpec {
        tty,
        console_size: console_size.map(|[height, width]| (height, width)),
        attach_stdin,
        attach_stdout,
        attach_stderr,
        detach_keys,
        env: env.unwrap_or_default(),
        cmd,
        privileged,
        user,
        working_dir,
    })
}

/// Writes exec inspect.
pub(crate) fn inspect(exec: Exec) -> ExecInspect {
    let Exec { id, container_id, spec, running, exit_code, pid, labels: _ } = exec;
    let ExecSpec {
        tty,
        console_size: _,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        detach_keys: _,
        env: _,
        cmd,
        privileged,
        user,
        working_dir: _,
    } = spec;
    let mut words = cmd.into_iter();
    ExecInspect {
        id,
        running,
        exit_code,
        process_config: ExecProcess {
            tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: Some(words.collect()),
            privileged: Some(privileged),
            user,
        },
        open_stdin: attach_stdin,
        open_stderr: attach_stderr,
        open_stdout: attach_stdout,
        can_remove: false,
        container_id,
        detach_keys: String::new(),
        pid,
    }
}

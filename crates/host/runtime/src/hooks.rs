//! OCI hooks: programs that are told the container's state on their standard input.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferry_oci::runtime::{Hook, State};

use crate::bundle::Bundle;

/// What a hook may write to stderr before it is cut off in an error.
const MAX_STDERR: usize = 4096;

pub(crate) fn state(bundle: &Bundle<'_>, status: &str, pid: i32) -> State {
    State {
        oci_version: bundle.spec.oci_version.clone(),
        id: bundle.id.to_owned(),
        status: status.to_owned(),
        pid,
        bundle: bundle.bundle_dir.to_owned(),
        annotations: bundle.spec.annotations.clone(),
    }
}

/// Runs hooks one after the other; the first that fails ends it. `name` is for the words.
pub(crate) fn run(name: &str, hooks: &[Hook], state: &State) -> Result<(), String> {
    if hooks.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_vec(state).map_err(|error| error.to_string())?;
    for (index, hook) in hooks.iter().enumerate() {
        run_one(hook, &json).map_err(|why| format!("error running {name} hook #{index}: {why}"))?;
    }
    Ok(())
}

fn run_one(hook: &Hook, json: &[u8]) -> Result<(), String> {
    let mut command = Command::new(&hook.path);
    command.env_clear();
    command.envs(hook.env.iter().filter_map(|pair| pair.split_once('=')));
    command.args(hook.args.iter().skip(1));
    if let Some(name) = hook.args.first() {
        std::os::unix::process::CommandExt::arg0(&mut command, name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        // A hook need not read it.
        let _ = stdin.write_all(json);
    }
    let limit =
        hook.timeout.filter(|&s| s > 0).map(|s| Duration::from_secs(s.unsigned_abs().into()));
    let started = Instant::now();
    if let Some(limit) = limit {
        loop {
            match child.try_wait() {
                Ok(None) if started.elapsed() >= limit => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("hook ran past specified timeout of {}s", limit.as_secs()));
                }
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) | Err(_) => break,
            }
        }
    }
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = &output.stderr[..output.stderr.len().min(MAX_STDERR)];
    let status = match output.status.code() {
        Some(code) => format!("exit status {code}"),
        None => output.status.to_string(),
    };
    Err(format!("{status}, stdout: , stderr: {}", String::from_utf8_lossy(stderr).trim_end()))
}

/// Runs the poststart hooks. They cannot undo a start, so what goes wrong comes back as warnings.
pub fn run_poststart(bundle: &Bundle<'_>, pid: i32) -> Vec<String> {
    let Some(hooks) = &bundle.spec.hooks else { return Vec::new() };
    let result = run("poststart", &hooks.poststart, &state(bundle, "running", pid));
    result.err().into_iter().collect()
}

/// Runs the poststop hooks, each whatever became of those before it.
pub fn run_poststop(bundle: &Bundle<'_>) -> Vec<String> {
    let Some(hooks) = &bundle.spec.hooks else { return Vec::new() };
    let state = state(bundle, "stopped", 0);
    let each = hooks.poststop.chunks(1);
    each.filter_map(|hook| run("poststop", hook, &state).err()).collect()
}

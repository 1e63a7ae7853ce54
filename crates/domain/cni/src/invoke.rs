//! One call of one plugin: environment, standard input, time limit, and what it prints.

use std::{
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{
    CniError, INTERFACE, Pod,
    talk::{self, Said},
};

/// How long a plugin may take to attach or detach a pod: kubelet gives up on one after four minutes.
const LIMIT: Duration = Duration::from_secs(110);

/// How long it may take for what others wait for meanwhile: GC lets no pod on or off its network, CHECK holds the pod's own task, and
/// without STATUS's answer nobody hears anything of the machine.
const SHORT: Duration = Duration::from_secs(20);

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
    let input = call.config.to_string();
    let mut child = spawn(call, &program).map_err(failed)?;
    let said = talk::with(&mut child, input.as_bytes(), [MAX_OUTPUT, MAX_COMPLAINT], call.limit);
    let Said { output, complaint, status } = said.map_err(failed)?;
    let Some(status) = status else {
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

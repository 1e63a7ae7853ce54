//! Further processes in a running container.

use std::collections::BTreeMap;

/// What `exec create` was called with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// A pseudo terminal.
    pub tty: bool,
    /// Terminal height and width.
    pub console_size: Option<(u32, u32)>,
    /// Give it standard input.
    pub attach_stdin: bool,
    /// Send its standard output.
    pub attach_stdout: bool,
    /// Send its standard error.
    pub attach_stderr: bool,
    /// Detach keys; empty is the default.
    pub detach_keys: String,
    /// Environment added to the container's.
    pub env: Vec<String>,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// All capabilities.
    pub privileged: bool,
    /// `user[:group]`; empty is the container's.
    pub user: String,
    /// Working directory; empty is the container's.
    pub working_dir: String,
}

/// An exec and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exec {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The container's id.
    pub container_id: String,
    /// What was asked.
    pub spec: ExecSpec,
    /// Whether it runs.
    pub running: bool,
    /// `None` until it ended.
    pub exit_code: Option<i32>,
    /// In the host's pid namespace; 0 before it started.
    pub pid: i32,
    /// Labels of the container, for events.
    pub labels: BTreeMap<String, String>,
}

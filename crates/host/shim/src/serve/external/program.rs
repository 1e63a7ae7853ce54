//! A runtime's program: one call of it, and what it says about it.

use std::{
    cell::Cell,
    ffi::OsStr,
    fs,
    io::{self, Read, Seek, SeekFrom},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use ferry_runtime::Stdio;
use ferry_sys::{pidfd, process};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

/// A runtime that has not ended for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(100);

/// How much of the end of a runtime's log is looked at.
const MAX_LOG: u64 = 64 << 10;

/// What a runtime and its hooks find programs by.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program with runc's command line.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    args: Vec<String>,
    state: PathBuf,
    log: PathBuf,
    last_call: Cell<Option<Instant>>,
}

impl Program {
    pub(super) fn new(path: PathBuf, args: Vec<String>, run_dir: &Path) -> Program {
        let (state, log) = (run_dir.join("runtime"), run_dir.join("runtime.log"));
        Program { path, args, state, log, last_call: Cell::new(None) }
    }

    /// When it ended last.
    pub(super) fn last_call(&self) -> Option<Instant> {
        self.last_call.get()
    }

    /// Runs one of its commands with nothing to read and nowhere to write to.
    pub(super) fn run(&self, args: &[String]) -> Result<(), String> {
        self.run_in(args, None, || Ok(()))
    }

    /// Runs one of its commands with these standard files, after `prepare` in the new process. An error is what it logged
    /// last.
    pub(super) fn run_in(
        &self,
        args: &[String],
        stdio: Option<Stdio>,
        prepare: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let started = fs::metadata(&self.log).map_or(0, |log| log.len());
        let name = self.path.display();
        let child = match process::fork() {
            Ok(0) => {
                let words = match prepare() {
                    Ok(()) => {
                        let error = self.command(args, stdio).exec();
                        format!("fork/exec {name}: {}", ferry_runtime::io_words(&error))
                    }
                    Err(words) => words,
                };
                // The way in which the runtime itself would say it.
                self.note(&words).ok();
                process::exit_now(127)
            }
            Ok(pid) => pidfd::open(pid).map_err(|errno| format!("{name}: {errno}"))?,
            Err(errno) => return Err(format!("fork for {name}: {errno}")),
        };
        drop(stdio);
        let ended = wait(child.as_fd());
        self.last_call.set(Some(Instant::now()));
        match ended {
            Ok(pidfd::Ended::Exited(0)) => Ok(()),
            Ok(ended) => Err(self.last_error(started).unwrap_or_else(|| match ended {
                pidfd::Ended::Exited(code) => format!("{name}: exit status {code}"),
                pidfd::Ended::Signaled(signal) => format!("{name}: killed by signal {signal}"),
            })),
            Err(words) => Err(format!("{name}: {words}")),
        }
    }

    fn command(&self, args: &[String], stdio: Option<Stdio>) -> Command {
        let mut command = Command::new(&self.path);
        command
            .env_clear()
            .env("PATH", PATH)
            .current_dir("/")
            .args(&self.args)
            .args([OsStr::new("--root"), self.state.as_os_str()])
            .args([OsStr::new("--log"), self.log.as_os_str()])
            .args(["--log-format", "json"])
            .args(args);
        match stdio {
            Some(Stdio { stdin, stdout, stderr }) => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
            }
            None => {
                let null = std::process::Stdio::null;
                command.stdin(null()).stdout(null()).stderr(null());
            }
        }
        command
    }

    fn note(&self, words: &str) -> io::Result<()> {
        let line = serde_json::json!({"level": "error", "msg": words}).to_string();
        let mut log = fs::OpenOptions::new().create(true).append(true).open(&self.log)?;
        io::Write::write_all(&mut log, format!("{line}\n").as_bytes())
    }

    /// The last error in the log from `start` on.
    fn last_error(&self, start: u64) -> Option<String> {
        let mut log = fs::File::open(&self.log).ok()?;
        let end = log.metadata().ok()?.len();
        log.seek(SeekFrom::Start(start.max(end.saturating_sub(MAX_LOG)))).ok()?;
        let mut bytes = Vec::new();
        log.take(MAX_LOG).read_to_end(&mut bytes).ok()?;
        last_error(&String::from_utf8_lossy(&bytes))
    }
}

fn last_error(log: &str) -> Option<String> {
    let message = |line: &str| -> Option<String> {
        let record: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_error = matches!(record.get("level")?.as_str()?, "error" | "fatal");
        let words = record.get("msg")?.as_str()?.trim();
        (is_error && !words.is_empty()).then(|| words.to_owned())
    };
    log.lines().rev().find_map(message)
}

/// Waits for a child, but not for ever.
fn wait(child: BorrowedFd<'_>) -> Result<pidfd::Ended, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            pidfd::send_signal(child, 9).ok();
            pidfd::wait(child).ok();
            return Err(format!("did not end in {} seconds", PATIENCE.as_secs()));
        }
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(0),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::from_borrowed_fd(child, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return pidfd::wait(child).map_err(|errno| errno.to_string()),
            Err(errno) => return Err(errno.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_of_a_log_is_the_reason() {
        let log = concat!(
            r#"{"level":"error","msg":"first","time":"2024-01-01T00:00:00Z"}"#,
            "\n",
            r#"{"level":"error","msg":"runc create failed: because","time":"…"}"#,
            "\n",
            r#"{"level":"warning","msg":"something else"}"#,
            "\nnot json\n",
        );
        assert_eq!(last_error(log).as_deref(), Some("runc create failed: because"));
        assert_eq!(last_error(""), None);
        assert_eq!(last_error(r#"{"level":"info","msg":"fine"}"#), None);
    }
}

//! A container that another OCI runtime makes: its bundle, and the commands of runc's command line in the order of a life.
//!
//! The runtime's init is this process's child all the same: it is the nearest subreaper above the runtime, which ends when
//! the container is made. So everything after that (exit code, output, log, execs) is as with Ferry's own runtime.

mod bundle;
mod console;
mod program;

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use ferry_oci::runtime::{Process, Spec, User};
use ferry_runtime::{Rootfs, Running, Stdio, StdioRequest};
use ferry_sys::{pidfd, root::InRoot};

use console::ConsoleSocket;
use program::Program;

/// Exit code and words of something that the runtime did not do.
pub(super) type Refusal = (i32, String);

/// How long after a call a runtime's own children may be on their way out.
const UNREST: Duration = Duration::from_secs(2);

/// One container of another runtime.
#[derive(Debug)]
pub(super) struct External {
    program: Program,
    id: String,
    run_dir: PathBuf,
}

/// A container that waits for its start.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) master: Option<OwnedFd>,
    mounts: Option<OwnedFd>,
    user: Option<User>,
}

impl Waiting {
    /// What it is once its program runs.
    pub(super) fn started(self) -> Running {
        let Waiting { pid, pidfd, master, mounts, user } = self;
        Running { pid, pidfd, master, mounts, user, warnings: Vec::new() }
    }
}

impl External {
    /// A runtime's program with the arguments that come before its own.
    pub(super) fn new(path: PathBuf, args: Vec<String>, id: &str, run_dir: PathBuf) -> External {
        External { program: Program::new(path, args, &run_dir), id: id.to_owned(), run_dir }
    }

    /// Whether it was called a moment ago, so that processes of it may still be ending.
    pub(super) fn is_restless(&self) -> bool {
        self.program.last_call().is_some_and(|at| at.elapsed() < UNREST)
    }

    /// `create`. When it returns, everything but the program's start is done.
    pub(super) fn create(
        &self,
        spec: &Spec,
        rootfs: &Rootfs,
        stdio: StdioRequest,
    ) -> Result<Waiting, Refusal> {
        let mut mounted = bundle::write(&self.run_dir, spec, rootfs).map_err(internal)?;
        let pid_file = self.run_dir.join("init.pid");
        let mut args = vec![
            "create".to_owned(),
            "--bundle".to_owned(),
            bundle::dir(&self.run_dir).to_string_lossy().into_owned(),
            "--pid-file".to_owned(),
            pid_file.to_string_lossy().into_owned(),
        ];
        let (stdio, console) = self.stdio(stdio, &mut args)?;
        args.push(self.id.clone());
        let made = self.program.run_in(&args, stdio, || mounted.attach());
        let user = mounted.user.take();
        drop(mounted);
        if let Err(words) = made {
            self.delete();
            let (code, words) = ferry_runtime::judge(words);
            return Err((i32::from(code), words));
        }
        let made = self.made(&pid_file, console).inspect_err(|_| self.delete())?;
        Ok(Waiting { user, ..made })
    }

    fn made(&self, pid_file: &Path, console: Option<ConsoleSocket>) -> Result<Waiting, Refusal> {
        let (pid, pidfd) = read_pid(pid_file)?;
        let master = console.map(|console| console.receive().map_err(internal)).transpose()?;
        // Spares the end of the container the wait for its mounts; without it everything works, too.
        let mounts = fs::File::open(format!("/proc/{pid}/ns/mnt")).ok().map(OwnedFd::from);
        Ok(Waiting { pid, pidfd, master, mounts, user: None })
    }

    /// What the runtime gets as its standard files, which it passes on; a terminal comes over a socket.
    fn stdio(
        &self,
        stdio: StdioRequest,
        args: &mut Vec<String>,
    ) -> Result<(Option<Stdio>, Option<ConsoleSocket>), Refusal> {
        match stdio {
            StdioRequest::Files(files) => Ok((Some(files), None)),
            StdioRequest::Terminal { .. } => {
                let console = ConsoleSocket::listen(&self.run_dir).map_err(internal)?;
                args.extend(["--console-socket".to_owned(), console.path()]);
                Ok((None, Some(console)))
            }
        }
    }

    /// `start`.
    pub(super) fn start(&self) -> Result<(), Refusal> {
        self.program.run(&["start".to_owned(), self.id.clone()]).map_err(|words| {
            let (code, words) = ferry_runtime::judge(words);
            (i32::from(code), words)
        })
    }

    /// `kill`: what a signal means is the runtime's to say, one that runs a machine in between has to pass it on.
    pub(super) fn kill(&self, signal: i32) -> Result<(), String> {
        self.program.run(&["kill".to_owned(), self.id.clone(), signal.to_string()])
    }

    /// `delete --force`: nothing of it is to stay, whatever its state. That it knows nothing of it is no error here.
    pub(super) fn delete(&self) {
        // The words are in its log; the caller removes the cgroup and the run directory in any case.
        self.program.run(&["delete".to_owned(), "--force".to_owned(), self.id.clone()]).ok();
    }

    /// `exec`, detached: the process becomes this one's child.
    pub(super) fn exec(
        &self,
        target_pid: i32,
        process: &Process,
        terminal: bool,
        stdio: StdioRequest,
    ) -> Result<Running, Refusal> {
        let mut process = process.clone();
        process.terminal = terminal;
        let root = InRoot::open(format!("/proc/{target_pid}/root").as_ref())
            .map_err(|errno| internal(format!("open the container's root: {errno}")))?;
        ferry_runtime::resolve_user(&root, &mut process)
            .map_err(|error| (i32::from(error.exit_code()), ferry_errkind::chain(&error)))?;
        drop(root);
        let (file, pid_file) = (self.run_dir.join("exec.json"), self.run_dir.join("exec.pid"));
        let written = serde_json::to_vec(&process).map_err(io::Error::from);
        written
            .and_then(|bytes| fs::write(&file, bytes))
            .map_err(|error| internal(format!("write {}: {error}", file.display())))?;
        let mut args: Vec<String> =
            ["exec", "--detach", "--process"].iter().map(|word| (*word).to_owned()).collect();
        args.push(file.to_string_lossy().into_owned());
        args.extend(["--pid-file".to_owned(), pid_file.to_string_lossy().into_owned()]);
        let (stdio, console) = self.stdio(stdio, &mut args)?;
        args.push(self.id.clone());
        self.program.run_in(&args, stdio, || Ok(())).map_err(|words| {
            // The daemon says this itself.
            let words = words.strip_prefix("exec failed: ").unwrap_or(&words).to_owned();
            let (code, words) = ferry_runtime::judge(words);
            (i32::from(code), words)
        })?;
        let Waiting { pid, pidfd, master, .. } = self.made(&pid_file, console)?;
        Ok(Running { pid, pidfd, master, mounts: None, user: None, warnings: Vec::new() })
    }
}

fn internal(words: impl Into<String>) -> Refusal {
    (128, words.into())
}

/// The process that the runtime made, by descriptor. It is ours to reap, so that its pid cannot be anybody else's yet.
fn read_pid(file: &Path) -> Result<(i32, OwnedFd), Refusal> {
    let failed = |why: String| internal(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    let pid: i32 = text.trim().parse().map_err(|_| failed(format!("not a pid: {text:?}")))?;
    let pidfd = pidfd::open(pid).map_err(|errno| failed(errno.to_string()))?;
    Ok((pid, pidfd))
}

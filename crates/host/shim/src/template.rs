//! The template: a process that was exec'ed once and from which every shim is forked, which takes a fraction of the time of
//! an exec and shares the template's memory.

use std::{
    io::{self, Read},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use ferry_cgroup::BUS_VARIABLE;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_sys::{exe, fdpass, process, signals};
use rustix::fs::{MemfdFlags, SeekFrom};

use crate::{
    launch::{Launch, MAX_LAUNCH},
    serve,
};

/// How the answer of a shim that listens begins; after it comes the container's first process, if there is one.
pub(crate) const READY: &[u8] = b"ready";

/// The daemon's end of a template.
#[derive(Debug)]
pub struct Template {
    socket: Mutex<OwnedFd>,
    child: Mutex<Child>,
}

/// A shim could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The template process could not be started.
    #[error("cannot start the shim template")]
    Spawn(#[source] io::Error),
    /// The request could not be handed over.
    #[error("cannot hand container {id} to the shim template")]
    Send {
        /// The container.
        id: String,
        /// Why.
        source: io::Error,
    },
    /// The shim could not set itself up.
    #[error("the shim of container {id} did not start: {reason}")]
    Shim {
        /// The container.
        id: String,
        /// What the shim said.
        reason: String,
    },
}

impl Kinded for LaunchError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

impl Template {
    /// Starts the template: `executable shim-template`.
    ///
    /// # Errors
    /// When the program cannot be run.
    pub fn spawn(executable: &Path) -> Result<Template, LaunchError> {
        let spawn = |error: io::Error| LaunchError::Spawn(error);
        let (ours, theirs) = fdpass::pair().map_err(|errno| spawn(errno.into()))?;
        // Containers see this program as `/proc/1/exe` of their shim's children: it must not be one they could write to.
        let program = exe::protected(executable).map_err(|errno| spawn(errno.into()))?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command.arg0("ferry").arg("shim-template").env_clear();
        // systemd is asked for scopes over the daemon's bus.
        command.envs(std::env::var_os(BUS_VARIABLE).map(|named| (BUS_VARIABLE, named)));
        // The socket travels as standard input: no descriptor number to agree upon.
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).current_dir("/").process_group(0);
        let child = command.spawn().map_err(spawn)?;
        Ok(Template { socket: Mutex::new(ours), child: Mutex::new(child) })
    }

    /// Forks a shim and waits until it listens on its socket. Blocks for some milliseconds. Answers the container's first process, whose
    /// namespaces are there; `None` when it could not be made: why, the shim tells whoever connects to it.
    ///
    /// # Errors
    /// When the request does not get through or the shim cannot set itself up.
    pub fn launch(&self, launch: &Launch) -> Result<Option<i32>, LaunchError> {
        let send = |source: io::Error| LaunchError::Send { id: launch.id.clone(), source };
        let request = memory_file(launch).map_err(send)?;
        let answers = fdpass::pair().map_err(|errno| send(errno.into()))?;
        {
            let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
            fdpass::send(&*socket, b"launch", &[request.as_fd(), answers.1.as_fd()])
                .map_err(|errno| send(errno.into()))?;
        }
        drop(answers.1);
        let mut answer = vec![0; 4096];
        let (length, _) =
            fdpass::receive(&answers.0, &mut answer).map_err(|errno| send(errno.into()))?;
        let answer = &answer[..length];
        if let Some(pid) = answer.strip_prefix(READY) {
            return Ok(std::str::from_utf8(pid).ok().and_then(|pid| pid.trim().parse().ok()));
        }
        match answer {
            b"" => Err(LaunchError::Shim { id: launch.id.clone(), reason: "it died".to_owned() }),
            reason => Err(LaunchError::Shim {
                id: launch.id.clone(),
                reason: String::from_utf8_lossy(reason).into_owned(),
            }),
        }
    }

    /// The template's process id, for those who count the engine's memory.
    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap_or_else(PoisonError::into_inner).id()
    }
}

impl Drop for Template {
    /// The template ends by itself when its socket closes; it only has to be reaped.
    fn drop(&mut self) {
        let socket = self.socket.get_mut().unwrap_or_else(PoisonError::into_inner);
        rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both).ok();
        self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait().ok();
    }
}

fn memory_file(launch: &Launch) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("ferry-launch", MemfdFlags::CLOEXEC)?;
    let mut writer = io::BufWriter::new(std::fs::File::from(file));
    serde_json::to_writer(&mut writer, launch)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}

/// `ferry shim-template`: forks a shim for each request on standard input until that closes.
pub fn template_main() -> ! {
    process::set_name(c"ferry-template").ok();
    let Some(socket) = take_stdin() else { process::exit_now(2) };
    // Without this every shim that ends would stay as a zombie.
    signals::ignore(rustix::process::Signal::CHILD.as_raw()).ok();
    let mut buffer = [0; 64];
    loop {
        match fdpass::receive(&socket, &mut buffer) {
            Ok((0, _)) => process::exit_now(0),
            Ok((_, fds)) => {
                let Ok([request, answer]) = <[OwnedFd; 2]>::try_from(fds) else { continue };
                if fork_shim(&answer) == Side::Shim {
                    // Ours must not keep the socket open, or the template would never see the daemon go.
                    drop(socket);
                    shim_main(request, answer);
                }
            }
            Err(ferry_sys::Errno::INTR) => {}
            Err(_) => process::exit_now(1),
        }
    }
}

/// The socket, moved away from descriptor 0, which becomes `/dev/null`.
fn take_stdin() -> Option<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).ok()?;
    let null = std::fs::File::open("/dev/null").ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    Some(socket)
}

#[derive(PartialEq, Eq)]
enum Side {
    Template,
    Shim,
}

/// Forks once: the template's shims are reaped by the kernel (it ignores SIGCHLD), and nothing happens to a shim when the
/// template ends before it.
fn fork_shim(answer: &OwnedFd) -> Side {
    match process::fork() {
        Ok(0) => {
            // The shim does wait for its children.
            signals::default_all();
            return Side::Shim;
        }
        Ok(_) => {}
        Err(errno) => {
            fdpass::send(answer, format!("fork: {errno}").as_bytes(), &[]).ok();
        }
    }
    Side::Template
}

fn shim_main(request: OwnedFd, answer: OwnedFd) -> ! {
    rustix::process::setsid().ok();
    match read_launch(request) {
        Ok(launch) => serve::run(launch, answer),
        Err(error) => {
            fdpass::send(&answer, format!("bad request: {error}").as_bytes(), &[]).ok();
            process::exit_now(1)
        }
    }
}

fn read_launch(request: OwnedFd) -> io::Result<Launch> {
    let mut text = Vec::new();
    std::fs::File::from(request).take(MAX_LAUNCH as u64 + 1).read_to_end(&mut text)?;
    if text.len() > MAX_LAUNCH {
        return Err(io::Error::other("request is larger than the limit"));
    }
    let launch: Launch = serde_json::from_slice(&text)?;
    if launch.version != crate::wire::VERSION {
        return Err(io::Error::other("the daemon speaks another version"));
    }
    Ok(launch)
}

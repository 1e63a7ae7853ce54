//! A further process for a running container, from the side of its maker.

use std::os::fd::{AsFd, OwnedFd};

use ferry_sys::namespace::flag;
use ferry_sys::process::Forked;
use ferry_sys::{fdpass, pidfd};
use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::bundle::{ExecRequest, Running, StdioRequest};
use crate::child::{self, Joining};
use crate::create::{clone_into, give_to_root};
use crate::error::{CreateError, ExecError, Failure};
use crate::message::{self, FromChild, ToChild};
use crate::plan::{self, Shape};

/// Runs a further process in a container: its namespaces, its cgroup. When this returns it has exec'ed.
pub fn exec(request: &ExecRequest<'_>, stdio: StdioRequest) -> Result<Running, ExecError> {
    let mut shape =
        Shape::read(request.spec, request.process, request.filter).map_err(of_create)?;
    let mut warnings = std::mem::take(&mut shape.warnings);
    let kinds = plan::kinds_to_join(request.spec);
    let pid_namespace = match kinds & flag::PID {
        0 => None,
        _ => Some(open_pid_namespace(request.target_pid)?),
    };
    let into = match request.cgroup {
        Some(cgroup) => {
            cgroup.clone_target().map_err(|error| ExecError::Config(error.to_string()))?
        }
        None => None,
    };
    if kinds & flag::USER != 0
        && let StdioRequest::Files(files) = &stdio
    {
        give_to_root(request.spec, files);
    }
    let joining = Joining {
        process: request.process,
        shape,
        stdio,
        target: request.target,
        kinds: kinds & !flag::PID,
        cgroup: request.cgroup,
        in_cgroup: into.is_some(),
        preserve_fds: request.preserve_fds,
    };
    let (socket, theirs) = fdpass::pair().map_err(|errno| Failure::errno("socketpair", errno))?;
    let forked = clone_into(0, into.as_ref(), pid_namespace.as_ref()).map_err(of_create)?;
    let (pid, pidfd) = match forked {
        Forked::Child => {
            drop(socket);
            child::join(joining, theirs)
        }
        Forked::Parent { pid, pidfd } => (pid, pidfd),
    };
    drop(theirs);
    drop(joining);
    match follow(&socket, &mut warnings) {
        Ok(master) => Ok(Running { pid, pidfd, master, mounts: None, user: None, warnings }),
        Err(failure) => {
            // It has given up by itself, or is of no use any more.
            let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = pidfd::wait(pidfd.as_fd());
            Err(failure.into())
        }
    }
}

/// Sees the child through until it has exec'ed.
fn follow(socket: &OwnedFd, warnings: &mut Vec<String>) -> Result<Option<OwnedFd>, Failure> {
    let mut master = None;
    let mut ready = false;
    loop {
        let news = message::receive(socket)
            .map_err(|errno| Failure::errno("reading from the process", errno))?;
        match news {
            FromChild::Warning(words) => warnings.push(words),
            FromChild::Master(fd) => master = Some(fd),
            FromChild::Failed(failure) => return Err(failure),
            FromChild::Ready(_) => {
                ready = true;
                message::tell(socket, ToChild::Go)
                    .map_err(|errno| Failure::errno("telling the process to go on", errno))?;
            }
            FromChild::End if ready => return Ok(master),
            FromChild::End => return Err(Failure::new("the process died before it was started")),
            FromChild::Hooks => return Err(Failure::new("the process is out of step")),
        }
    }
}

/// The pid namespace of the container's init. If init is gone, so is its namespace.
fn open_pid_namespace(pid: i32) -> Result<OwnedFd, Failure> {
    let path = format!("/proc/{pid}/ns/pid");
    openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Failure::errno(format!("open {path}"), errno))
}

/// The words without those about creating containers.
fn of_create(error: CreateError) -> ExecError {
    match error {
        CreateError::Config(words) => ExecError::Config(words),
        CreateError::Prepare { what, source } => Failure::errno(what, source).into(),
        CreateError::Init(words) => Failure::new(words).into(),
    }
}

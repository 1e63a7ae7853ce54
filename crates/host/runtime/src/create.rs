//! A container's first process, from the side of its maker.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_oci::runtime::{Spec, User};
use ferry_sys::namespace::{self, flag};
use ferry_sys::pidfd;
use ferry_sys::process::{self, Forked};
use ferry_sys::{Errno, fdpass, idmap};
use rustix::fs::{CWD, FileType, Gid, Mode, OFlags, Uid, fchown, fstat, openat};

use crate::bundle::{Bundle, Running, Stdio, StdioRequest};
use crate::child::{self, Birth};
use crate::error::{CreateError, Failure, StartError};
use crate::mapped::Maps;
use crate::message::{self, FromChild, ToChild};
use crate::plan::{self, Namespaces, Shape};
use crate::{fork, hooks, usher};

/// A container whose namespaces exist and whose root file system is being set up, or waits.
///
/// Dropping it kills and reaps its process.
#[derive(Debug)]
pub struct Created {
    child: Option<Child>,
    socket: OwnedFd,
    master: Option<OwnedFd>,
    warnings: Vec<String>,
    ready: bool,
    /// Who its program will run as, once it is ready.
    user: Option<User>,
}

/// A container that waits at its [`crate::Gate`].
#[derive(Debug)]
pub struct Left {
    /// The pid of its first process.
    pub pid: i32,
    /// The master of its terminal, if it has one.
    pub master: Option<OwnedFd>,
    /// What could not be done as asked.
    pub warnings: Vec<String>,
}

#[derive(Debug)]
struct Child {
    pid: i32,
    pidfd: OwnedFd,
}

/// Forks the first process of a container. When this returns its namespaces exist, so that networks can be wired; the
/// root file system is set up meanwhile.
pub fn create(bundle: &Bundle<'_>, stdio: StdioRequest) -> Result<Created, CreateError> {
    let spec = bundle.spec;
    let program = spec.process.as_ref().ok_or_else(|| config("no process to run"))?;
    refuse_unsupported(bundle)?;
    let mut shape = Shape::read(spec, program, bundle.filter)?;
    let warnings = std::mem::take(&mut shape.warnings);
    let list = spec.linux.as_ref().map_or(&[][..], |linux| &linux.namespaces);
    let namespaces = Namespaces::read(list)?;
    let sysctls = plan::sysctls(spec)?;
    let time_offsets = plan::time_offsets(spec, namespaces.new_time)?;
    let new_user = namespaces.new & flag::USER != 0;
    let (uids, gids) = spec.linux.as_ref().map(plan::maps).unwrap_or_default();
    if new_user {
        plan::check_maps(&uids, &gids)?;
    }
    let joins_user = namespaces.join.iter().any(|(kind, _)| *kind == flag::USER);
    let into = match bundle.cgroup {
        Some(cgroup) => cgroup.clone_target().map_err(|error| config(&error.to_string()))?,
        None => None,
    };
    // In a user namespace the child has no right to the host's directories any more: this side opens them. It also
    // makes the namespaces that mounts are mapped through.
    let in_user = new_user || joins_user;
    let rootfs = in_user.then(|| child::open_rootfs(bundle).map_err(init)).transpose()?;
    let out_here = in_user || spec.mounts.iter().any(child::is_opened_outside);
    let sources =
        out_here.then(|| child::open_sources(spec, bundle.bundle_dir).map_err(init)).transpose()?;
    if in_user && let StdioRequest::Files(files) = &stdio {
        give_to_root(spec, files);
    }
    let birth = Birth {
        bundle: *bundle,
        shape,
        stdio,
        join: namespaces.join,
        new_cgroup: namespaces.new_cgroup,
        new_time: namespaces.new_time.then(|| time_offsets.clone()),
        new_user,
        in_cgroup: into.is_some() && !joins_user,
        sysctls,
        personality: plan::personality(spec)?,
        rootfs,
        sources,
        led: false,
    };
    let (socket, theirs) = fdpass::pair().map_err(|source| prepare("socketpair", source))?;
    let child = if joins_user {
        let (pid, pidfd) = usher::lead(birth, namespaces.new, namespaces.join_pid, theirs)?;
        Child { pid, pidfd }
    } else {
        let forked = clone_into(namespaces.new, into.as_ref(), namespaces.join_pid.as_ref())?;
        match forked {
            Forked::Child => {
                drop(socket);
                child::be_born(birth, theirs)
            }
            Forked::Parent { pid, pidfd } => {
                drop(theirs);
                Child { pid, pidfd }
            }
        }
    };
    let mut created =
        Created { child: Some(child), socket, master: None, warnings, ready: false, user: None };
    if new_user {
        created.write_maps(&uids, &gids)?;
    }
    created.run_runtime_hooks(bundle)?;
    Ok(created)
}

/// In a user namespace a file of an id that is not mapped belongs to nobody, and cannot be given to anybody: `/dev/stdout`
/// could not be opened. One that cannot be given away (`/dev/null`, something read-only) stays as it is.
pub(crate) fn give_to_root(spec: &Spec, files: &Stdio) {
    let Some((uid, gid)) = Maps::of(spec).and_then(|maps| maps.root()) else { return };
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    for file in [&files.stdin, &files.stdout, &files.stderr] {
        let is_pipe =
            fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe {
            let _ = fchown(file, Some(uid), Some(gid));
        }
    }
}

fn config(words: &str) -> CreateError {
    CreateError::Config(words.to_owned())
}

fn prepare(what: &str, source: Errno) -> CreateError {
    CreateError::Prepare { what: what.to_owned(), source }
}

fn init(failure: Failure) -> CreateError {
    CreateError::Init(failure.message)
}

/// Parts of the specification that are not done are refused by name.
fn refuse_unsupported(bundle: &Bundle<'_>) -> Result<(), CreateError> {
    let Some(linux) = &bundle.spec.linux else { return Ok(()) };
    match &linux.intel_rdt {
        Some(_) => Err(CreateError::Config("linux.intelRdt is not supported".to_owned())),
        None => Ok(()),
    }
}

/// Clones, into another pid namespace if one is given: this process joins it for its children, and comes back.
pub(crate) fn clone_into(
    flags: u64,
    cgroup: Option<&OwnedFd>,
    pid_namespace: Option<&OwnedFd>,
) -> Result<Forked, CreateError> {
    // From the first instruction on, nobody in the container may look into the new process: it still is the maker's
    // memory, and its program file is the host's.
    process::set_dumpable(false).map_err(|source| prepare("prctl(SET_DUMPABLE)", source))?;
    let home = match pid_namespace {
        None => None,
        Some(target) => {
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let home = openat(CWD, "/proc/self/ns/pid", flags, Mode::empty())
                .map_err(|source| prepare("open /proc/self/ns/pid", source))?;
            namespace::join(target.as_fd(), flag::PID)
                .map_err(|source| prepare("join the pid namespace", source))?;
            Some(home)
        }
    };
    let forked = fork::clone3(flags, cgroup.map(AsFd::as_fd));
    let is_child = matches!(forked, Ok(Forked::Child));
    if let Some(home) = home
        && !is_child
    {
        namespace::join(home.as_fd(), flag::PID)
            .map_err(|source| prepare("leave the pid namespace", source))?;
    }
    forked.map_err(|source| prepare("clone3", source))
}

impl Created {
    /// The pid of the container's first process, as this process sees it.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().map_or(0, |child| child.pid)
    }

    /// Its pidfd.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.as_ref().map_or_else(|| self.socket.as_fd(), |child| child.pidfd.as_fd())
    }

    /// Readable when there is news of the set-up. It may take more than one [`Created::ready`] that way, but after news
    /// none of them blocks for long.
    pub fn channel(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Waits until everything but exec is done: root file system, user, capabilities, look-up of the program.
    pub fn ready(&mut self) -> Result<(), StartError> {
        while !self.ready {
            match message::receive(&self.socket) {
                Ok(FromChild::Ready(user)) => {
                    self.ready = true;
                    self.user = user;
                }
                Ok(other) => self.take(other)?,
                Err(errno) => return Err(Failure::errno("reading from init", errno).into()),
            }
        }
        Ok(())
    }

    /// The master of the container's terminal, once [`Created::ready`] has returned.
    pub fn master(&self) -> Option<BorrowedFd<'_>> {
        self.master.as_ref().map(AsFd::as_fd)
    }

    /// Takes the master; [`Running::master`] is `None` then.
    pub fn take_master(&mut self) -> Option<OwnedFd> {
        self.master.take()
    }

    /// What could not be done here, so far.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Executes the program.
    pub fn start(mut self) -> Result<Running, StartError> {
        self.ready()?;
        // Spares half a millisecond at the end; without it everything works, too.
        let path = format!("/proc/{}/ns/mnt", self.pid());
        let mounts = openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok();
        message::tell(&self.socket, ToChild::Go)
            .map_err(|errno| Failure::errno("telling init to go on", errno))?;
        loop {
            match message::receive(&self.socket) {
                Ok(FromChild::End) => break,
                Ok(other) => self.take(other)?,
                Err(errno) => return Err(Failure::errno("reading from init", errno).into()),
            }
        }
        match self.child.take() {
            Some(Child { pid, pidfd }) => Ok(Running {
                pid,
                pidfd,
                mounts,
                master: self.master.take(),
                user: self.user.take(),
                warnings: std::mem::take(&mut self.warnings),
            }),
            None => Err(Failure::new("container has no process").into()),
        }
    }

    /// Leaves it waiting at the gate of its bundle, which it must have: this process may end. Its first process is the
    /// nearest subreaper's then.
    pub fn leave(mut self) -> Result<Left, StartError> {
        self.ready()?;
        let Some(Child { pid, pidfd: _ }) = self.child.take() else {
            return Err(Failure::new("container has no process").into());
        };
        let warnings = std::mem::take(&mut self.warnings);
        Ok(Left { pid, master: self.master.take(), warnings })
    }

    /// Kills and reaps what was never started.
    pub fn kill(self) {
        drop(self);
    }

    fn take(&mut self, news: FromChild) -> Result<(), StartError> {
        match news {
            FromChild::Warning(words) => self.warnings.push(words),
            FromChild::Master(master) => self.master = Some(master),
            FromChild::Failed(failure) => {
                self.reap();
                return Err(failure.into());
            }
            FromChild::End => {
                let how = match self.reap() {
                    Some(pidfd::Ended::Signaled(signal)) => format!("killed by signal {signal}"),
                    Some(pidfd::Ended::Exited(code)) => format!("exit status {code}"),
                    None => "unknown reason".to_owned(),
                };
                return Err(Failure::new(format!("init died: {how}")).into());
            }
            FromChild::Ready(_) | FromChild::Hooks => {
                return Err(Failure::new("init is out of step").into());
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Option<pidfd::Ended> {
        let child = self.child.take()?;
        // It has ended or is about to.
        pidfd::wait(child.pidfd.as_fd()).ok()
    }

    fn write_maps(&self, uids: &[idmap::Range], gids: &[idmap::Range]) -> Result<(), CreateError> {
        let path = format!("/proc/{}", self.pid());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = openat(CWD, &path, flags, Mode::empty())
            .map_err(|source| prepare(&format!("open {path}"), source))?;
        idmap::write(proc.as_fd(), uids, gids)
            .map_err(|source| prepare("write the id maps", source))?;
        message::tell(&self.socket, ToChild::Mapped)
            .map_err(|source| prepare("tell init about its id maps", source))
    }

    /// `prestart` and `createRuntime` hooks run out here, when the mounts are done and before the root is entered.
    fn run_runtime_hooks(&mut self, bundle: &Bundle<'_>) -> Result<(), CreateError> {
        let Some(hooks) = &bundle.spec.hooks else { return Ok(()) };
        if hooks.prestart.is_empty() && hooks.create_runtime.is_empty() {
            return Ok(());
        }
        loop {
            let news = message::receive(&self.socket)
                .map_err(|source| prepare("reading from init", source))?;
            match news {
                FromChild::Hooks => break,
                other => self.take(other).map_err(|error| CreateError::Init(error.message))?,
            }
        }
        let state = hooks::state(bundle, "creating", self.pid());
        hooks::run("prestart", &hooks.prestart, &state).map_err(CreateError::Init)?;
        hooks::run("createRuntime", &hooks.create_runtime, &state).map_err(CreateError::Init)?;
        message::tell(&self.socket, ToChild::HooksDone)
            .map_err(|source| prepare("tell init about the hooks", source))
    }
}

impl Drop for Created {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            // One that has ended by itself is only to be reaped.
            let _ = pidfd::send_signal(child.pidfd.as_fd(), libc::SIGKILL);
        }
        self.reap();
    }
}

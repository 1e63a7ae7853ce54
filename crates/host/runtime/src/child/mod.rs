//! The new process, from `clone3` to `execve`, in the kernel's order.
//!
//! It is a plain fork of a process with one thread: it may allocate. It never returns: it execs, or tells why not and
//! exits.

mod console;
mod copy_up;
mod dev;
mod filesystems;
mod finish;
mod host;
mod init;
mod lookup;
mod mounts;
mod options;
mod protect;
mod rootfs;
mod sources;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_cgroup::Cgroup;
use ferry_oci::runtime::{Linux, Process};
use ferry_sys::namespace::{self, flag};
use ferry_sys::overlay::MountNamespace;
use ferry_sys::process::{self, CloneFlags};
use ferry_sys::root::InRoot;
use ferry_sys::signals;

use ferry_oci::runtime::Spec;

use crate::bundle::{Bundle, Rootfs, StdioRequest};
use crate::error::{Failure, Outcome};
use crate::gate::Gate;
use crate::hooks;
use crate::message::{self, ToChild};
use crate::plan::Shape;

pub use init::HOLDER_ANNOTATION;
pub use init::stand_alone;
pub use rootfs::VOLATILE_ANNOTATION;
pub(crate) use sources::{Source, is_opened_outside, open_source, open_sources};

/// The root file system as a detached mount, opened by the maker.
pub(crate) fn open_rootfs(bundle: &Bundle<'_>) -> Outcome<OwnedFd> {
    rootfs::open(bundle.rootfs, bundle.spec, MountNamespace::Shared)
}

/// The same, for another runtime.
pub(crate) fn detached_rootfs(rootfs: &Rootfs, spec: &Spec) -> Outcome<OwnedFd> {
    rootfs::open(rootfs, spec, MountNamespace::Shared)
}

/// What the maker prepared for the first process of a container.
#[derive(Debug)]
pub(crate) struct Birth<'a> {
    pub(crate) bundle: Bundle<'a>,
    pub(crate) shape: Shape,
    pub(crate) stdio: StdioRequest,
    /// Namespaces to join.
    pub(crate) join: Vec<(CloneFlags, OwnedFd)>,
    pub(crate) new_cgroup: bool,
    /// The offsets of a new time namespace.
    pub(crate) new_time: Option<String>,
    /// Whether it starts in a user namespace that gets id maps from its maker.
    pub(crate) new_user: bool,
    /// Whether it is in its cgroup already.
    pub(crate) in_cgroup: bool,
    /// Sysctls as paths below `/proc/sys`.
    pub(crate) sysctls: Vec<(String, String)>,
    /// `personality(2)`.
    pub(crate) personality: Option<u64>,
    /// Opened by the maker where the child could not (user namespaces).
    pub(crate) rootfs: Option<OwnedFd>,
    pub(crate) sources: Option<Vec<Source>>,
    /// Whether [`go_ahead`] has been here.
    pub(crate) led: bool,
}

/// What the maker prepared for a further process of a running container.
#[derive(Debug)]
pub(crate) struct Joining<'a> {
    pub(crate) process: &'a Process,
    pub(crate) shape: Shape,
    pub(crate) stdio: StdioRequest,
    pub(crate) target: BorrowedFd<'a>,
    pub(crate) kinds: CloneFlags,
    pub(crate) cgroup: Option<&'a Cgroup>,
    pub(crate) in_cgroup: bool,
    pub(crate) preserve_fds: u32,
}

/// Lives as the first process of a container.
pub(crate) fn be_born(birth: Birth<'_>, socket: OwnedFd) -> ! {
    let result = first(birth, socket.as_fd());
    give_up(result, socket.as_fd())
}

/// Lives as a further process.
pub(crate) fn join(joining: Joining<'_>, socket: OwnedFd) -> ! {
    let result = further(joining, socket.as_fd());
    give_up(result, socket.as_fd())
}

/// Nobody ever execs and comes here.
fn give_up(result: Outcome<std::convert::Infallible>, socket: BorrowedFd<'_>) -> ! {
    let Err(failure) = result;
    // If the maker is gone, there is nobody to tell.
    let _ = message::send_failure(socket, &failure);
    process::exit_now(255)
}

fn first(mut birth: Birth<'_>, socket: BorrowedFd<'_>) -> Outcome<std::convert::Infallible> {
    let bundle = birth.bundle;
    let spec = bundle.spec;
    let default = Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&default);
    let Some(program) = &spec.process else { return Err(Failure::new("no process to run")) };
    leave_the_maker()?;

    // Everything that needs the host's ids and files goes first.
    let host = host::Proc::open()?;
    let label = host.open_label(program)?;
    if !birth.led {
        prepare_on_host(&mut birth, &host, socket)?;
        join_all(&mut birth)?;
    }
    if birth.new_user {
        become_mapped_root(socket)?;
    }
    if birth.new_cgroup {
        namespace::unshare(flag::CGROUP)
            .map_err(|errno| Failure::errno("unable to make a cgroup namespace", errno))?;
    }
    if let Some(offsets) = &birth.new_time {
        host.enter_new_time(offsets)?;
    }
    process::new_session().map_err(|errno| Failure::errno("setsid", errno))?;
    join_keyring(bundle.id, socket);

    // The root file system, in a mount namespace that nothing of leaves any more.
    let sources = match birth.sources.take() {
        Some(sources) => sources,
        None => open_sources(spec, bundle.bundle_dir)?,
    };
    rootfs::make_private()?;
    let rootfs = match birth.rootfs.take() {
        Some(rootfs) => rootfs,
        None => rootfs::open(bundle.rootfs, spec, MountNamespace::Own)?,
    };
    let root = rootfs::attach(rootfs, bundle.rootfs)?;
    let mounted = mounts::mount_all(&root, spec, sources, bundle.cgroup, birth.new_cgroup, socket)?;
    let own_dev = mounts::makes_own_dev(spec);
    if own_dev {
        dev::populate(&root, &linux.devices)?;
    }
    ask_for_hooks(&bundle, socket)?;
    let standard = match birth.stdio {
        StdioRequest::Files(files) => console::Standard::Files(files),
        StdioRequest::Terminal { rows, cols } => {
            let devpts = mounted.devpts.as_ref().map(AsFd::as_fd);
            let slave = console::open(devpts, (rows, cols), socket)?;
            if own_dev {
                console::show(&root, &slave)?;
            }
            console::Standard::Terminal(slave)
        }
    };
    protect::read_only_paths(&root, &linux.readonly_paths)?;
    protect::mask_paths(&root, &linux.masked_paths, filesystems::labelled(spec))?;
    mounted.make_read_only()?;
    rootfs::ensure_cwd(&root, &program.cwd)?;

    rootfs::enter(&root)?;
    rootfs::finish(spec)?;
    host.write_sysctls(&birth.sysctls)?;
    rootfs::set_names(spec)?;
    if let Some(domain) = birth.personality {
        process::set_personality(domain)
            .map_err(|errno| Failure::errno("unable to set personality", errno))?;
    }

    standard.install()?;
    let root =
        InRoot::open(std::path::Path::new("/")).map_err(|errno| Failure::errno("open /", errno))?;
    set_rlimits(&mut birth.shape, socket)?;
    let mut ending =
        finish::Ending::prepare(&root, program, birth.shape, label, bundle.preserve_fds)?;
    drop(root);
    ending.become_user(program)?;

    if spec.annotations.get(HOLDER_ANNOTATION).is_some_and(|value| value == "true") {
        return init::hold(ending, socket);
    }
    if bundle.init {
        // Looked up before "ready", so that a missing program is known at once; executed by init's child.
        return init::run(ending, socket, bundle.gate);
    }
    ready_and_wait(&mut ending, !has_start_hooks(&bundle), socket, bundle.gate)?;
    run_start_hooks(&bundle)?;
    ending.exec(|_| 255)
}

/// What takes privilege on the host, or goes by its ids.
fn prepare_on_host(
    birth: &mut Birth<'_>,
    host: &host::Proc,
    socket: BorrowedFd<'_>,
) -> Outcome<()> {
    let spec = birth.bundle.spec;
    host.set_oom_score(spec.process.as_ref().and_then(|program| program.oom_score_adj), socket)?;
    if !birth.in_cgroup
        && let Some(cgroup) = birth.bundle.cgroup
    {
        join_cgroup(cgroup)?;
    }
    if birth.new_user || birth.join.iter().any(|(kind, _)| *kind == flag::USER) {
        // Raising limits is no right of a user namespace.
        set_rlimits(&mut birth.shape, socket)?;
    }
    Ok(())
}

fn join_all(birth: &mut Birth<'_>) -> Outcome<()> {
    for (kind, fd) in std::mem::take(&mut birth.join) {
        namespace::join(fd.as_fd(), kind)
            .map_err(|errno| Failure::errno("unable to join a namespace", errno))?;
    }
    Ok(())
}

/// For the process that goes into a user namespace before the container's first one is made there: everything up to having
/// joined, so that its child is root there and has it all.
pub(crate) fn go_ahead(birth: &mut Birth<'_>, socket: BorrowedFd<'_>) -> Outcome<()> {
    leave_the_maker()?;
    let host = host::Proc::open()?;
    prepare_on_host(birth, &host, socket)?;
    join_all(birth)?;
    birth.led = true;
    drop_to_root()
}

fn further(mut joining: Joining<'_>, socket: BorrowedFd<'_>) -> Outcome<std::convert::Infallible> {
    let program = joining.process;
    leave_the_maker()?;
    let host = host::Proc::open()?;
    host.set_oom_score(program.oom_score_adj, socket)?;
    let label = host.open_label(program)?;
    if !joining.in_cgroup
        && let Some(cgroup) = joining.cgroup
    {
        join_cgroup(cgroup)?;
    }
    if joining.kinds & flag::USER != 0 {
        set_rlimits(&mut joining.shape, socket)?;
    }
    namespace::join(joining.target, joining.kinds)
        .map_err(|errno| Failure::errno("unable to join the container's namespaces", errno))?;
    if joining.kinds & flag::USER != 0 {
        // The caller's groups mean nothing there.
        drop_to_root()?;
    }
    drop(host);
    process::new_session().map_err(|errno| Failure::errno("setsid", errno))?;
    join_keyring("exec", socket);

    let root =
        InRoot::open(std::path::Path::new("/")).map_err(|errno| Failure::errno("open /", errno))?;
    let standard = match joining.stdio {
        StdioRequest::Files(files) => console::Standard::Files(files),
        StdioRequest::Terminal { rows, cols } => {
            let devpts = console::find_devpts(&root);
            let devpts = devpts.as_ref().map(AsFd::as_fd);
            console::Standard::Terminal(console::open(devpts, (rows, cols), socket)?)
        }
    };
    standard.install()?;
    set_rlimits(&mut joining.shape, socket)?;
    let mut ending =
        finish::Ending::prepare(&root, program, joining.shape, label, joining.preserve_fds)?;
    drop(root);
    ending.become_user(program)?;
    ready_and_wait(&mut ending, true, socket, None)?;
    ending.exec(|_| 255)
}

/// A fork of the first process, for init.
fn fork() -> Outcome<i32> {
    crate::fork::fork().map_err(|errno| Failure::errno("fork", errno))
}

/// Cuts what a fork inherits and a container must not have.
fn leave_the_maker() -> Outcome<()> {
    // Half made, it dies with its maker. Changing ids clears this, exec does not, so `finish` clears it.
    process::set_parent_death_signal(libc::SIGKILL)
        .map_err(|errno| Failure::errno("prctl(SET_PDEATHSIG)", errno))?;
    signals::default_all();
    signals::unblock_all().map_err(|errno| Failure::errno("sigprocmask", errno))?;
    // Modes are given in full everywhere below.
    process::set_umask(0);
    Ok(())
}

/// Waits for id maps, then becomes root of the new user namespace.
fn become_mapped_root(socket: BorrowedFd<'_>) -> Outcome<()> {
    message::expect(socket, ToChild::Mapped)
        .map_err(|errno| Failure::errno("waiting for id maps", errno))?;
    drop_to_root()
}

fn drop_to_root() -> Outcome<()> {
    // Some containers may not change groups (setgroups "deny"); then there are none to drop either.
    let _ = process::set_groups(&[]);
    process::set_gid(0).map_err(|errno| Failure::errno("setgid", errno))?;
    process::set_uid(0).map_err(|errno| Failure::errno("setuid", errno))
}

fn join_cgroup(cgroup: &Cgroup) -> Outcome<()> {
    cgroup.join_self().map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::new(format!("unable to apply cgroup configuration: {error}: {cause}"))
    })
}

/// The parent's session keyring is not the container's to see. Where keyrings cannot be had there is nothing to hide.
fn join_keyring(id: &str, socket: BorrowedFd<'_>) {
    let Ok(name) = std::ffi::CString::new(format!("_ses.{id}")) else { return };
    if let Err(errno) = process::join_session_keyring(&name)
        && errno != ferry_sys::Errno::NOSYS
    {
        warn(socket, &format!("unable to join session keyring: {}", crate::error::words(errno)));
    }
}

fn warn(socket: BorrowedFd<'_>, words: &str) {
    // Its maker being gone shows soon enough.
    let _ = message::send_warning(socket, words);
}

/// Once. As late as can be: a limit of five open files would hinder us, too. Raising a limit needs CAP_SYS_RESOURCE,
/// which even root may lack.
fn set_rlimits(shape: &mut Shape, socket: BorrowedFd<'_>) -> Outcome<()> {
    for limit in std::mem::take(&mut shape.rlimits) {
        let refused = match process::set_rlimit(limit.resource, limit.soft, limit.hard) {
            Ok(()) => continue,
            Err(errno) => errno,
        };
        let words = format!("error setting rlimit type {}", limit.resource);
        if !limit.lenient {
            let words = format!("error setting rlimits for ready process: {words}");
            return Err(Failure::errno(words, refused));
        }
        let (_, most) = process::rlimit(limit.resource)
            .map_err(|errno| Failure::errno(words.as_str(), errno))?;
        let hard = limit.hard.min(most);
        process::set_rlimit(limit.resource, limit.soft.min(hard), hard)
            .map_err(|errno| Failure::errno(words.as_str(), errno))?;
        warn(socket, &format!("{words}: {}; using {hard}", crate::error::words(refused)));
    }
    Ok(())
}

/// Before the root is entered: hooks of the runtime's namespaces run outside, `createContainer` ones here.
fn ask_for_hooks(bundle: &Bundle<'_>, socket: BorrowedFd<'_>) -> Outcome<()> {
    let Some(hooks) = &bundle.spec.hooks else { return Ok(()) };
    if !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty() {
        message::send_hooks(socket)
            .and_then(|()| message::expect(socket, ToChild::HooksDone))
            .map_err(|errno| Failure::errno("waiting for hooks", errno))?;
    }
    let state = hooks::state(bundle, "created", rustix::process::getpid().as_raw_nonzero().get());
    hooks::run("createContainer", &hooks.create_container, &state).map_err(Failure::new)
}

fn run_start_hooks(bundle: &Bundle<'_>) -> Outcome<()> {
    let Some(hooks) = &bundle.spec.hooks else { return Ok(()) };
    let state = hooks::state(bundle, "created", rustix::process::getpid().as_raw_nonzero().get());
    hooks::run("startContainer", &hooks.start_container, &state).map_err(Failure::new)
}

fn has_start_hooks(bundle: &Bundle<'_>) -> bool {
    bundle.spec.hooks.as_ref().is_some_and(|hooks| !hooks.start_container.is_empty())
}

/// Says that all is ready, and waits for the word.
fn tell_ready_and_wait(socket: BorrowedFd<'_>) -> Outcome<()> {
    message::send_ready(socket, None).map_err(|errno| Failure::errno("sync ready", errno))?;
    message::expect(socket, ToChild::Go).map_err(|errno| Failure::errno("waiting for start", errno))
}

/// Finds the program, says so, and waits for the word. `early`: nothing but exec comes after it. With a gate the word comes
/// from whoever knocks there, and the maker may be gone.
fn ready_and_wait(
    ending: &mut finish::Ending,
    early: bool,
    socket: BorrowedFd<'_>,
    gate: Option<&Gate>,
) -> Outcome<()> {
    ending.look_up()?;
    let ready = |ending: &finish::Ending| {
        message::send_ready(socket, Some(ending.identity()))
            .map_err(|errno| Failure::errno("sync ready", errno))
    };
    match gate {
        Some(gate) => {
            process::set_parent_death_signal(0)
                .map_err(|errno| Failure::errno("prctl(SET_PDEATHSIG)", errno))?;
            ready(ending)?;
            gate.wait(socket).map_err(|errno| Failure::errno("waiting for start", errno))?;
        }
        None => {
            if early && ending.can_lock_down_early() {
                ending.lock_down()?;
            }
            ready(ending)?;
        }
    }
    message::expect(socket, ToChild::Go).map_err(|errno| Failure::errno("waiting for start", errno))
}

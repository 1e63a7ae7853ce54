//! Making a process and shaping it: clone3, exec, ids, limits, prctl bits, sessions, close-on-exec.
#![expect(
    unsafe_code,
    reason = "raw system calls that neither std nor rustix offers, or only per thread"
)]

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::raw::{check, check_int};
use crate::{Errno, Result};

/// `CLONE_*` bits for [`clone3`] and `setns`, as the kernel has them.
pub type CloneFlags = u64;

/// Who returned from [`clone3`].
#[derive(Debug)]
pub enum Forked {
    /// This is the new process.
    Child,
    /// This is the old one.
    Parent {
        /// The child's pid in this pid namespace.
        pid: i32,
        /// Its pidfd.
        pidfd: OwnedFd,
    },
}

/// `struct clone_args`, version 2 (Linux 5.7: with `cgroup`).
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks with new namespaces, optionally straight into a v2 cgroup (which spares the migration and its RCU wait).
///
/// # Safety
/// The calling process must have one thread only: the child goes on with a copy of this thread alone, so a lock that
/// another thread held would stay locked for ever. `CLONE_VM` and friends must not be among `flags`.
pub unsafe fn clone3(flags: CloneFlags, into_cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // A sibling tells its parent as its maker does; the kernel takes no word about it.
    let signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD } else { 0 };
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: &raw mut pidfd as u64,
        exit_signal: signal as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = into_cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid clone_args of the size passed, `pidfd` outlives the call, no stack or VM is shared.
    let answer =
        unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, std::mem::size_of::<CloneArgs>()) };
    match check(answer)? {
        0 => Ok(Forked::Child),
        pid => {
            // SAFETY: the kernel stored a new descriptor there, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent { pid: pid as i32, pidfd })
        }
    }
}

/// Forks, after making sure that this process has one thread (`BUSY` otherwise). Answers the child's pid, and 0 in the
/// child. Needs `/proc`.
pub fn fork() -> Result<i32> {
    // Each thread is a directory, and each directory a link; `.` and `..` are two more.
    if rustix::fs::stat("/proc/self/task")?.st_nlink != 3 {
        return Err(Errno::BUSY);
    }
    // SAFETY: there is one thread, and only it could start another one.
    unsafe { fork_unchecked() }
}

/// Forks the old way (`clone`, not `clone3`, which Docker's seccomp profile answers with ENOSYS). Answers the child's
/// pid, and 0 in the child.
///
/// # Safety
/// As for [`clone3`]: one thread only.
pub unsafe fn fork_unchecked() -> Result<i32> {
    // SAFETY: passed on to the caller.
    check_int(unsafe { libc::fork() })
}

/// Reaps any child, sleeping until one ends if `block`: its pid and raw status. `None` if none has ended.
pub fn wait_any(block: bool) -> Result<Option<(i32, i32)>> {
    let mut status = 0;
    let options = if block { 0 } else { libc::WNOHANG };
    // SAFETY: waitpid stores the status in the integer given.
    match check_int(unsafe { libc::waitpid(-1, &raw mut status, options) })? {
        0 => Ok(None),
        pid => Ok(Some((pid, status))),
    }
}

/// A child that has ended, without reaping it: whoever asks may want to know whose it is first.
pub fn peek_any() -> Result<Option<i32>> {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: waitid stores what it knows in the siginfo given.
    check_int(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) })?;
    // SAFETY: all bytes zero are a valid siginfo, and the kernel may have written a more telling one.
    let info = unsafe { info.assume_init() };
    // SAFETY: for waitid this part of the union is the pid; it stays 0 when no child has ended.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Ends this process at once, without destructors or exit handlers: what a forked child must do.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit has no preconditions.
    unsafe { libc::_exit(code) }
}

/// An argument or environment vector in the form execve wants.
#[derive(Debug)]
pub struct CStrings {
    owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl CStrings {
    /// Copies the strings; `None` if one has a NUL inside.
    pub fn new<I, S>(strings: I) -> Option<CStrings>
    where
        I: IntoIterator<Item = S>,
        S: Into<Vec<u8>>,
    {
        let owned: Vec<CString> =
            strings.into_iter().map(|s| CString::new(s).ok()).collect::<Option<_>>()?;
        let mut pointers: Vec<_> = owned.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Some(CStrings { owned, pointers })
    }

    /// The strings.
    pub fn as_slice(&self) -> &[CString] {
        &self.owned
    }
}

/// Replaces the program. Returns only if that failed.
pub fn execve(path: &CStr, argv: &CStrings, envp: &CStrings) -> Errno {
    // SAFETY: all three are NUL-terminated and live until the call ends; the vectors end with a null pointer.
    let answer =
        unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    check_int(answer).err().unwrap_or(Errno::IO)
}

/// Marks every descriptor from `first` up as close-on-exec, whoever opened it.
pub fn cloexec_from(first: u32) -> Result<()> {
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 1 << 2;
    // SAFETY: changes flags only.
    let answer = unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC)
    };
    check(answer).map(drop)
}

/// Closes every descriptor from `first` up. Only for a process that is about to become something else: owners of those
/// descriptors in this process must never run again.
///
/// # Safety
/// No `OwnedFd` of a descriptor in the range may be used or dropped afterwards.
pub unsafe fn close_from(first: u32) -> Result<()> {
    // SAFETY: passed on to the caller.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) }).map(drop)
}

/// Makes `fd` descriptor number `target`, not close-on-exec. Meant for 0, 1 and 2 of a process about to exec.
pub fn dup_to(fd: BorrowedFd<'_>, target: i32) -> Result<()> {
    if fd.as_raw_fd() == target {
        return rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty());
    }
    // SAFETY: both are descriptor numbers; the standard ones have no Rust owner.
    check_int(unsafe { libc::dup2(fd.as_raw_fd(), target) }).map(drop)
}

/// Makes the number of `old` stand for what `new` is, close-on-exec. Whoever owns `old` owns that from then on.
pub fn replace(new: BorrowedFd<'_>, old: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: both are open descriptors; the second keeps its owner and stays open under its number.
    check_int(unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) }).map(drop)
}

/// A `prctl` with plain integers.
fn prctl(option: libc::c_int, a: libc::c_ulong, b: libc::c_ulong) -> Result<i32> {
    // SAFETY: only options with integer arguments are used in this module.
    check_int(unsafe { libc::prctl(option, a, b, 0 as libc::c_ulong, 0 as libc::c_ulong) })
}

/// `PR_SET_PDEATHSIG`; 0 switches it off. Changing ids switches it off, too.
pub fn set_parent_death_signal(signal: i32) -> Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0).map(drop)
}

/// Whether other processes of the same user may ptrace us or look at `/proc/<pid>/exe` and `fd`.
pub fn set_dumpable(on: bool) -> Result<()> {
    prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(on), 0).map(drop)
}

/// `PR_SET_NO_NEW_PRIVS`, for good.
pub fn set_no_new_privs() -> Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0).map(drop)
}

/// Whether permitted capabilities survive the change away from uid 0.
pub fn set_keep_caps(on: bool) -> Result<()> {
    prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(on), 0).map(drop)
}

/// Makes orphaned descendants ours to reap.
pub fn set_child_subreaper() -> Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop)
}

/// The name in `ps` (15 bytes count).
pub fn set_name(name: &CStr) -> Result<()> {
    // SAFETY: the kernel copies at most 16 bytes of a NUL-terminated string.
    check_int(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) }).map(drop)
}

/// Drops all supplementary groups but these.
pub fn set_groups(groups: &[u32]) -> Result<()> {
    // SAFETY: pointer and length belong together. The raw call changes this thread, which is the only one.
    let answer = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    check(answer).map(drop)
}

/// Real, effective and saved group id.
pub fn set_gid(gid: u32) -> Result<()> {
    // SAFETY: integers only; the raw call changes this thread, which is the only one.
    check(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Real, effective and saved user id.
pub fn set_uid(uid: u32) -> Result<()> {
    // SAFETY: as above.
    check(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// The ids that this thread has for file systems (setfsuid(2), setfsgid(2)). Giving up 0 also takes the effective
/// capabilities about files. The kernel does not say whether it worked; with CAP_SETUID and CAP_SETGID it does.
pub fn set_filesystem_ids(uid: u32, gid: u32) {
    // SAFETY: integers only.
    unsafe { libc::setfsgid(gid) };
    // SAFETY: as above.
    unsafe { libc::setfsuid(uid) };
}

/// The file mode creation mask; answers the old one.
pub fn set_umask(mask: u32) -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask as libc::mode_t) }
}

/// `setrlimit` by the kernel's number of the resource.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: prlimit64 reads two u64 from `limit` and writes nothing (null).
    let answer = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, limit.as_ptr(), std::ptr::null_mut::<u64>())
    };
    check(answer).map(drop)
}

/// Soft and hard limit of a resource.
pub fn rlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limit = [0u64; 2];
    // SAFETY: prlimit64 writes two u64 to `limit`.
    let answer = unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, std::ptr::null::<u64>(), limit.as_mut_ptr())
    };
    check(answer).map(|_| (limit[0], limit[1]))
}

/// Starts a session without a controlling terminal.
pub fn new_session() -> Result<()> {
    // SAFETY: no arguments.
    check_int(unsafe { libc::setsid() }).map(drop)
}

/// Makes this process the leader of its own process group.
pub fn new_process_group() -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::setpgid(0, 0) }).map(drop)
}

/// Joins a new session keyring of this name, so that the parent's is not inherited, and lets it be searched by its owner.
pub fn join_session_keyring(name: &CStr) -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: the kernel copies a NUL-terminated string.
    let answer =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    check(answer).map(drop)
}

/// `ioprio_set` for the calling process: the class in the upper bits, as the kernel packs it.
pub fn set_io_priority(class: u32, level: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    let packed = (class << 13) | level;
    // SAFETY: integers only.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, packed) }).map(drop)
}

/// The execution domain (`personality(2)`).
pub fn set_personality(domain: u64) -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::personality(domain as libc::c_ulong) }).map(drop)
}

/// `struct sched_attr`, first version.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct SchedAttr {
    /// Filled in by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_*`.
    pub policy: u32,
    /// `SCHED_FLAG_*`.
    pub flags: u64,
    /// For SCHED_OTHER and SCHED_BATCH.
    pub nice: i32,
    /// For SCHED_FIFO and SCHED_RR.
    pub priority: u32,
    /// For SCHED_DEADLINE, nanoseconds.
    pub runtime: u64,
    /// For SCHED_DEADLINE, nanoseconds.
    pub deadline: u64,
    /// For SCHED_DEADLINE, nanoseconds.
    pub period: u64,
}

/// `sched_setattr` for the calling process.
pub fn set_scheduler(mut attr: SchedAttr) -> Result<()> {
    attr.size = std::mem::size_of::<SchedAttr>() as u32;
    // SAFETY: `attr` is a sched_attr whose size field tells its length.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) }).map(drop)
}

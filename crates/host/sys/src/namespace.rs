//! Joining and leaving namespaces.
#![expect(unsafe_code, reason = "setns with several namespaces at once, unshare")]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Result;
use crate::process::CloneFlags;
use crate::raw::check_int;

/// `CLONE_NEW*` bits by kind.
pub mod flag {
    use crate::process::CloneFlags;

    /// No namespace: this thread's own root and working directory, apart from the process's other threads.
    pub const FS: CloneFlags = 0x200;
    /// No namespace: the new process is a sibling of its maker, not its child.
    pub const PARENT: CloneFlags = 0x8000;
    /// Time (boot and monotonic clock offsets).
    pub const TIME: CloneFlags = 0x80;
    /// Mounts.
    pub const MOUNT: CloneFlags = 0x2_0000;
    /// The root of the cgroup tree.
    pub const CGROUP: CloneFlags = 0x200_0000;
    /// Host and domain name.
    pub const UTS: CloneFlags = 0x400_0000;
    /// System V IPC and POSIX message queues.
    pub const IPC: CloneFlags = 0x800_0000;
    /// User and group ids, capabilities.
    pub const USER: CloneFlags = 0x1000_0000;
    /// Process ids.
    pub const PID: CloneFlags = 0x2000_0000;
    /// The network stack.
    pub const NET: CloneFlags = 0x4000_0000;
}

/// Joins the namespace `fd` stands for, which must be of this kind; with a pidfd, all of these kinds of that process. Only this
/// thread moves; for the mount namespace it must have left the others with [`flag::FS`].
pub fn join(fd: BorrowedFd<'_>, kinds: CloneFlags) -> Result<()> {
    // SAFETY: integers only; the kernel moves the calling thread alone.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), kinds as libc::c_int) }).map(drop)
}

/// Moves this thread into new namespaces (for PID and TIME: its future children).
pub fn unshare(kinds: CloneFlags) -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::unshare(kinds as libc::c_int) }).map(drop)
}

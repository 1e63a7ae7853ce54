//! Joining and leaving namespaces.
#![expect(unsafe_code, reason = "setns with several namespaces at once, unshare")]

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Result;
use crate::process::CloneFlags;
use crate::raw::check_int;

/// `CLONE_NEW*` bits by kind.
pub mod flag {
    use crate::process::CloneFlags;

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

/// Joins the namespace `fd` stands for, which must be of this kind; with a pidfd, all of these kinds of that process.
pub fn join(fd: BorrowedFd<'_>, kinds: CloneFlags) -> Result<()> {
    // SAFETY: integers only. The process has one thread, so nobody else's view changes.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), kinds as libc::c_int) }).map(drop)
}

/// Moves this thread into new namespaces (for PID and TIME: its future children).
pub fn unshare(kinds: CloneFlags) -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::unshare(kinds as libc::c_int) }).map(drop)
}

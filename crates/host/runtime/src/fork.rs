//! The only unsafe lines of this crate: forking, and closing descriptors under their owners' feet.
#![expect(
    unsafe_code,
    reason = "a fork is sound in a process with one thread only, which the compiler cannot know"
)]

use std::os::fd::BorrowedFd;

use ferry_sys::Result;
use ferry_sys::process::{self, CloneFlags, Forked};

/// See [`process::clone3`].
pub(crate) fn clone3(flags: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> Result<Forked> {
    // SAFETY: this crate is documented to be used from processes with one thread (the shim, which is forked from a
    // template that never starts one), and no flag that shares memory is ever passed.
    unsafe { process::clone3(flags, cgroup) }
}

/// See [`process::fork_unchecked`]: a container need not have a `/proc` to count threads in.
pub(crate) fn fork() -> Result<i32> {
    // SAFETY: the first process of a container is a fork with one thread, and starts none.
    unsafe { process::fork_unchecked() }
}

/// For an init that stays: nothing of what it inherited must stay open.
pub(crate) fn close_all_but_standard() {
    // SAFETY: the caller, init's loop, never returns and uses no descriptor from here on; it ends by `_exit`, which
    // runs no destructor.
    let _ = unsafe { process::close_from(3) };
}

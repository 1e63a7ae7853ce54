//! Signals for a process between fork and exec, and for a small init.
#![expect(unsafe_code, reason = "sigset and sigaction calls of libc")]

use std::mem::MaybeUninit;

use crate::raw::check_int;
use crate::{Errno, Result};

/// What a waiting init was woken by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// The signal's number.
    pub signal: i32,
}

fn full_set() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: sigfillset initialises what it is given and cannot fail for a valid pointer.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: initialised above (and zeroes are a valid sigset_t).
    unsafe { set.assume_init() }
}

/// Gives every signal its default action. Ignored ones stay ignored over execve, and Rust programs ignore SIGPIPE.
pub fn default_all() {
    for signal in 1..=64 {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        default_one(signal);
    }
}

fn default_one(signal: i32) {
    // The raw call: libc keeps two or three real-time signals to itself and would refuse them.
    let action = [0u64; 4]; // struct kernel_sigaction: handler (SIG_DFL), flags, restorer, 64-bit mask
    // SAFETY: rt_sigaction reads the structure above and writes nothing (null); the mask has 8 bytes.
    let _ = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            std::ptr::null_mut::<u64>(),
            8usize,
        )
    };
}

/// Ignores one signal.
pub fn ignore(signal: i32) -> Result<()> {
    // SAFETY: SIG_IGN is a valid disposition for every signal a caller may name; others answer EINVAL.
    let old = unsafe { libc::signal(signal, libc::SIG_IGN) };
    if old == libc::SIG_ERR { Err(Errno::INVAL) } else { Ok(()) }
}

/// Blocks every signal that can be blocked.
pub fn block_all() -> Result<()> {
    let set = full_set();
    // SAFETY: `set` is initialised, the old set is not asked for.
    check_int(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) })
        .map(drop)
}

/// Blocks nothing.
pub fn unblock_all() -> Result<()> {
    // SAFETY: all zeroes is the empty set.
    let set: libc::sigset_t = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    check_int(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut()) })
        .map(drop)
}

/// Takes the next pending signal, sleeping until there is one. All signals must be blocked.
pub fn wait() -> Result<Received> {
    let set = full_set();
    loop {
        // SAFETY: `set` is initialised; no siginfo is asked for.
        let answer = unsafe { libc::sigwaitinfo(&raw const set, std::ptr::null_mut()) };
        match check_int(answer) {
            Ok(signal) => return Ok(Received { signal }),
            Err(Errno::INTR) => {}
            Err(other) => return Err(other),
        }
    }
}

/// `kill(2)`.
pub fn kill(pid: i32, signal: i32) -> Result<()> {
    // SAFETY: integers only.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

//! Sockets that systemd opened for this process: sd_listen_fds(3).
#![expect(unsafe_code, reason = "descriptors by number become owned ones")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The first of them.
const FIRST: RawFd = 3;

/// Most sockets that are taken.
const MOST: i32 = 64;

/// The sockets, once: the environment that names them is only believed when it names this process.
///
/// Call it before other threads run and before anything else is opened: it takes what is there at those numbers.
pub fn sockets() -> Vec<OwnedFd> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<i32>().ok());
    let own = number("LISTEN_PID").is_some_and(|pid| pid.unsigned_abs() == std::process::id());
    let count = number("LISTEN_FDS").filter(|count| own && (1..=MOST).contains(count)).unwrap_or(0);
    let mut sockets = Vec::new();
    for fd in FIRST..FIRST + count {
        // SAFETY: whoever set the variables for this very process has opened these numbers for it to own; a wrong number only
        // makes the calls below fail.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        if rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).is_ok() {
            sockets.push(socket);
        } else {
            // Closing what is not open is a mistake that debug builds end with.
            std::mem::forget(socket);
        }
    }
    sockets
}

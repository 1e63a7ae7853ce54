//! The process that a scope begins with.

use std::os::fd::{AsFd, OwnedFd};

use ferry_sys::{Errno, pidfd, process, signals};

/// A process that does nothing, for as long as this is not dropped: systemd makes no scope without a process, and the
/// container's first one is cloned into the directory that is there then.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    pidfd: OwnedFd,
}

impl Holder {
    /// Forks it. The calling process must have one thread.
    pub(crate) fn start() -> Result<Holder, Errno> {
        let parent = rustix::process::getpid();
        match process::fork()? {
            0 => hold(parent),
            pid => match pidfd::open(pid) {
                Ok(pidfd) => Ok(Holder { pid, pidfd }),
                Err(errno) => {
                    // Nobody else would end it before this process ends.
                    let _ = signals::kill(pid, libc::SIGKILL);
                    Err(errno)
                }
            },
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Somebody may have killed and even reaped it: then there is nothing to do.
        if pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL).is_ok() {
            let _ = pidfd::wait(self.pidfd.as_fd());
        }
    }
}

/// Sleeps until it is killed, by its maker or with it.
fn hold(parent: rustix::process::Pid) -> ! {
    let told = process::set_parent_death_signal(libc::SIGKILL);
    // The maker may have been gone before the kernel knew that this matters.
    while told.is_ok() && rustix::process::getppid() == Some(parent) {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
    process::exit_now(0)
}

//! The process that a scope begins with.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ferry_sys::{Errno, pidfd, process, signals};

use crate::file;

/// A process that does nothing, for as long as this is not dropped: systemd makes no scope without a process, and the
/// container's first one is cloned into the directory that is there then.
#[derive(Debug)]
pub struct Holder {
    pid: i32,
    pidfd: OwnedFd,
    /// The group's `pids.max`, and what is in it without this process.
    limit: Option<(PathBuf, u64)>,
}

impl Holder {
    /// Forks it. The calling process must have one thread.
    pub(crate) fn start() -> Result<Holder, Errno> {
        let parent = rustix::process::getpid();
        match process::fork()? {
            0 => hold(parent),
            pid => match pidfd::open(pid) {
                Ok(pidfd) => Ok(Holder { pid, pidfd, limit: None }),
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

    /// Lets one process more into its group as long as it is there: the limit is the container's alone.
    pub(crate) fn make_room(&mut self, pids_max: PathBuf) {
        let limit = file::number(&pids_max).filter(|limit| *limit != u64::MAX);
        let Some(limit) = limit else { return };
        if file::write(&pids_max, &(limit + 1).to_string()).is_ok() {
            self.limit = Some((pids_max, limit));
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Somebody may have killed and even reaped it: then there is nothing to do.
        if pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL).is_ok() {
            let _ = pidfd::wait(self.pidfd.as_fd());
        }
        // Unless somebody has set another one, or the group is gone.
        if let Some((pids_max, limit)) = &self.limit
            && file::number(pids_max) == Some(limit + 1)
        {
            let _ = file::write(pids_max, &limit.to_string());
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

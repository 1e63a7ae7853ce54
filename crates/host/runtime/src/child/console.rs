//! Standard files, and terminals from the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_sys::mount;
use ferry_sys::root::InRoot;
use ferry_sys::{process, pty};

use crate::bundle::Stdio;
use crate::error::{Failure, Outcome};
use crate::message;

/// `f_type` of devpts.
const DEVPTS_MAGIC: u64 = 0x1cd1;

/// What becomes descriptors 0, 1 and 2.
pub(crate) enum Standard {
    Files(Stdio),
    Terminal(OwnedFd),
}

impl Standard {
    pub(crate) fn install(self) -> Outcome<()> {
        let told = |errno| Failure::errno("dup2", errno);
        match self {
            Standard::Files(files) => {
                let three = [files.stdin, files.stdout, files.stderr];
                // One of them may have a number another one is about to take.
                let mut safe = Vec::with_capacity(3);
                for fd in three {
                    safe.push(rustix::io::fcntl_dupfd_cloexec(&fd, 3).map_err(told)?);
                }
                for (number, fd) in (0..).zip(&safe) {
                    process::dup_to(fd.as_fd(), number).map_err(told)?;
                }
            }
            Standard::Terminal(slave) => {
                pty::make_controlling(slave.as_fd())
                    .map_err(|errno| Failure::errno("ioctl(setctty)", errno))?;
                for number in 0..3 {
                    process::dup_to(slave.as_fd(), number).map_err(told)?;
                }
            }
        }
        Ok(())
    }
}

/// Opens a terminal and hands its master to the maker.
pub(crate) fn open(
    devpts: Option<BorrowedFd<'_>>,
    (rows, cols): (u16, u16),
    socket: BorrowedFd<'_>,
) -> Outcome<OwnedFd> {
    let pair = match devpts {
        Some(devpts) => pty::open_in(devpts),
        // A container that shows the host's /dev has the host's terminals.
        None => pty::open_host(),
    };
    let pair = pair.map_err(|errno| Failure::errno("open a terminal", errno))?;
    if rows != 0 && cols != 0 {
        pty::set_size(&pair.master, rows, cols)
            .map_err(|errno| Failure::errno("set the terminal's size", errno))?;
    }
    message::send_master(socket, pair.master.as_fd())
        .map_err(|errno| Failure::errno("hand over the terminal", errno))?;
    Ok(pair.slave)
}

/// Shows the terminal as `/dev/console`.
pub(crate) fn show(root: &InRoot, slave: &OwnedFd) -> Outcome<()> {
    let told = |errno| Failure::errno("mount /dev/console", errno);
    let place = root.create_file(Path::new("/dev/console"), 0o600).map_err(told)?;
    let tree = mount::clone_tree(slave.as_fd(), Path::new(""), false).map_err(told)?;
    mount::attach(tree.as_fd(), place.as_fd()).map_err(told)
}

/// The devpts of a running container; `None` if there is none at `/dev/pts`.
pub(crate) fn find_devpts(root: &InRoot) -> Option<OwnedFd> {
    let dir = root.resolve(Path::new("/dev/pts")).ok()?;
    mount::is_on(&dir, DEVPTS_MAGIC).ok()?.then_some(dir)
}

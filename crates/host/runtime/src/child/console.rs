//! Standard files, and terminals from the container's own devpts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_sys::mount;
use ferry_sys::root::InRoot;
use ferry_sys::{process, pty};
use rustix::fs::{FileType, Mode, OFlags, makedev};

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
                let null = own_null(&safe);
                for (number, fd) in (0..).zip(&safe) {
                    let fd = null.as_ref().filter(|_| is_null(fd)).unwrap_or(fd);
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

/// Whether it is `/dev/null`, by its numbers.
fn is_null(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == makedev(1, 3)
    })
}

/// The container's own `/dev/null`, if one of these is one: the host's is a file on a mount that the container has not, by which it could
/// be told where it runs, and with which nobody could restore its memory. A container without one keeps the host's.
fn own_null(files: &[OwnedFd]) -> Option<OwnedFd> {
    if !files.iter().any(is_null) {
        return None;
    }
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = Path::new("/dev/null");
    // Looked at before it is opened: what the image put there may be anything.
    let place =
        rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    place.ok().filter(is_null)?;
    rustix::fs::open(path, flags, Mode::empty()).ok().filter(is_null)
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

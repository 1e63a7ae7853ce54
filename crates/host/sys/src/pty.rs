//! Pseudo terminals from a given devpts instance.
#![expect(unsafe_code, reason = "TIOCSCTTY and TIOCSPTLCK ioctls")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer};
use rustix::termios::Winsize;

use crate::Result;
use crate::raw::check_int;

/// Both ends of a terminal.
#[derive(Debug)]
pub struct Pair {
    /// The end that emulates the terminal.
    pub master: OwnedFd,
    /// The end the program sees.
    pub slave: OwnedFd,
}

/// Opens a new terminal through the `ptmx` in `devpts`, the root of a devpts mount. The slave comes from the master
/// itself, not by name, so that nothing in the tree can stand in for it.
pub fn open_in(devpts: BorrowedFd<'_>) -> Result<Pair> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = rustix::fs::openat(devpts, "ptmx", flags, Mode::empty())?;
    peer_of(master)
}

/// Opens a new terminal of the host's devpts.
pub fn open_host() -> Result<Pair> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    peer_of(rustix::pty::openpt(flags)?)
}

fn peer_of(master: OwnedFd) -> Result<Pair> {
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads an int.
    let answer =
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK as _, &raw const unlocked) };
    check_int(answer)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    Ok(Pair { master, slave })
}

/// Tells the terminal its size.
pub fn set_size(terminal: impl AsFd, rows: u16, cols: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(terminal, size)
}

/// Makes `slave` the controlling terminal of this session leader.
pub fn make_controlling(slave: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: TIOCSCTTY takes an int by value.
    check_int(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}

/// Makes this process's group the one in the foreground of its terminal.
pub fn take_foreground(terminal: BorrowedFd<'_>) -> Result<()> {
    let group = rustix::process::getpgrp();
    rustix::termios::tcsetpgrp(terminal, group)
}

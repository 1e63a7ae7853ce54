//! Where a container that was left by its maker waits for its start: a socket in a directory, which another process may knock
//! at later. The container's first process holds the listening end, so that nobody answers when it is gone.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ferry_sys::{Errno, process};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};

use crate::error::{Failure, StartError};
use crate::message::{self, FromChild, ToChild};

/// The socket's name.
const NAME: &str = "start.sock";

/// The listening end.
#[derive(Debug)]
pub struct Gate {
    listener: OwnedFd,
}

/// A socket's path has at most 107 bytes: the directory is named by its descriptor.
fn address(dir: &File) -> Result<SocketAddrUnix, Errno> {
    SocketAddrUnix::new(format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd()))
}

fn new_socket() -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

impl Gate {
    /// Makes the socket in a directory.
    pub fn make(dir: &Path) -> Result<Gate, Errno> {
        let dir = open(dir)?;
        let listener = new_socket()?;
        bind(&listener, &address(&dir)?)?;
        listen(&listener, 1)?;
        Ok(Gate { listener })
    }

    /// Whether a container in this directory was not started yet.
    pub fn is_closed(dir: &Path) -> bool {
        dir.join(NAME).exists()
    }

    /// Starts the container whose gate is in this directory. When this returns without an error, its program runs. From then
    /// on there is no gate.
    pub fn open(dir: &Path) -> Result<(), StartError> {
        let told = |errno| StartError::from(Failure::errno("telling init to go on", errno));
        let place = open(dir).map_err(told)?;
        let socket = new_socket().map_err(told)?;
        connect(&socket, &address(&place).map_err(told)?).map_err(told)?;
        message::tell(&socket, ToChild::Go).map_err(told)?;
        // Nobody may knock twice.
        let _ = std::fs::remove_file(dir.join(NAME));
        loop {
            match message::receive(&socket) {
                Ok(FromChild::End) => return Ok(()),
                Ok(FromChild::Failed(failure)) => return Err(failure.into()),
                Ok(FromChild::Warning(_) | FromChild::Master(_)) => {}
                Ok(FromChild::Ready(_) | FromChild::Hooks) => {
                    return Err(Failure::new("init is out of step").into());
                }
                Err(errno) => return Err(Failure::errno("reading from init", errno).into()),
            }
        }
    }

    /// Waits, in the container's first process, and makes `socket` the way to whoever came.
    pub(crate) fn wait(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        loop {
            match accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(visitor) => return process::replace(visitor.as_fd(), socket),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn open(dir: &Path) -> Result<File, Errno> {
    File::open(dir).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

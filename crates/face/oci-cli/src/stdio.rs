//! The standard files of a process: this program's own, or a terminal whose master goes to somebody else.

use std::{
    fs,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
};

use ferry_errkind::Failure;
use ferry_oci::runtime::Process;
use ferry_runtime::{Stdio, StdioRequest};
use ferry_sys::fdpass;

use crate::report::{failed, invalid};

/// What a process is to have.
pub(crate) fn request(process: &Process) -> Result<StdioRequest, Failure> {
    if process.terminal {
        let size = process.console_size.unwrap_or_default();
        let side = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        return Ok(StdioRequest::Terminal { rows: side(size.height), cols: side(size.width) });
    }
    let copy = |fd: std::os::fd::BorrowedFd<'_>| -> Result<OwnedFd, Failure> {
        fd.try_clone_to_owned().map_err(|error| failed("cannot pass on a standard file", error))
    };
    Ok(StdioRequest::Files(Stdio {
        stdin: copy(std::io::stdin().as_fd())?,
        stdout: copy(std::io::stdout().as_fd())?,
        stderr: copy(std::io::stderr().as_fd())?,
    }))
}

/// runc's rules for `--console-socket`.
pub(crate) fn check(terminal: bool, detach: bool, socket: Option<&str>) -> Result<(), Failure> {
    match (terminal, detach, socket) {
        (true, true, None) => {
            Err(invalid("cannot allocate tty if runc will detach without setting console socket"))
        }
        (false, _, Some(_)) | (_, false, Some(_)) => {
            Err(invalid("cannot use console socket if runc will not detach or allocate tty"))
        }
        _ => Ok(()),
    }
}

/// Sends the master of a terminal to whoever listens there.
pub(crate) fn hand_over(master: &OwnedFd, socket: &str) -> Result<(), Failure> {
    let wrong = |why: &dyn std::fmt::Display| failed(format!("console socket {socket}"), why);
    // A socket's path has at most 107 bytes; a longer one is reached by its directory.
    let path = Path::new(socket);
    let (dir, name) = match (path.parent(), path.file_name()) {
        (Some(dir), Some(name)) if socket.len() > 100 => (dir, Path::new(name)),
        _ => (Path::new(""), path),
    };
    let stream = if dir.as_os_str().is_empty() {
        UnixStream::connect(name)
    } else {
        fs::File::open(dir).and_then(|dir| {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&dir);
            UnixStream::connect(Path::new(&format!("/proc/self/fd/{fd}")).join(name))
        })
    };
    let stream = stream.map_err(|error| wrong(&error))?;
    fdpass::send(&stream, b"/dev/ptmx", &[master.as_fd()]).map_err(|errno| wrong(&errno))?;
    Ok(())
}

/// Writes a pid where the caller wants it, whole or not at all.
pub(crate) fn write_pid(file: Option<&str>, pid: i32) -> Result<(), Failure> {
    let Some(file) = file else { return Ok(()) };
    let path = Path::new(file);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scratch = path.with_file_name(format!(".{name}"));
    fs::write(&scratch, pid.to_string())
        .and_then(|()| fs::rename(&scratch, path))
        .map_err(|error| failed(format!("write {file}"), error))
}

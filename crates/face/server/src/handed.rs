//! What a client of this machine has open, taken out of its process.

use std::os::fd::{AsFd, OwnedFd};

use ferry_docker_api::handed::Handed;
use ferry_errkind::{ErrorKind, Failure};
use rustix::{
    fs::{FileType, OFlags},
    process::{Pid, PidfdFlags, PidfdGetfdFlags},
};

/// Takes what the client handed over. What the client could not open for reading, it cannot hand over.
///
/// # Errors
/// `Conflict` where it cannot be taken (the client is in another PID namespace, or has closed it) or is something else than was said: then
/// the client has to send the bytes.
pub(crate) fn take(handed: Handed, peer: Option<i32>, kind: FileType) -> Result<OwnedFd, Failure> {
    let refused = |why: String| {
        let what = if kind == FileType::Directory { "directory" } else { "file" };
        let words = format!("the {what} cannot be handed over: {why}");
        Failure::new(ErrorKind::Conflict, words)
    };
    let pid = peer.and_then(Pid::from_raw).ok_or_else(|| refused("who are you?".to_owned()))?;
    let process = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    let process = process.map_err(|errno| refused(errno.to_string()))?;
    let taken =
        rustix::process::pidfd_getfd(process.as_fd(), handed.descriptor, PidfdGetfdFlags::empty());
    let taken = taken.map_err(|errno| refused(errno.to_string()))?;
    let stat = rustix::fs::fstat(&taken).map_err(|errno| refused(errno.to_string()))?;
    let found = FileType::from_raw_mode(stat.st_mode);
    if found != kind || (stat.st_dev, stat.st_ino) != (handed.device, handed.inode) {
        return Err(refused("it is another one".to_owned()));
    }
    let flags = rustix::fs::fcntl_getfl(&taken).map_err(|errno| refused(errno.to_string()))?;
    if flags.intersects(OFlags::WRONLY | OFlags::PATH) {
        return Err(refused("it is not open for reading".to_owned()));
    }
    Ok(taken)
}

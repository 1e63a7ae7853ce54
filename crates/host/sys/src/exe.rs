//! A copy of our own program that nobody in a container can write to, even by reopening `/proc/<pid>/exe`.
//!
//! A process that joins a container has the host's binary as its `exe`. CVE-2019-5736 overwrote it from there. Run from
//! here instead, that link leads to a read-only overlay (or a sealed memfd), which cannot be opened for writing.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, memfd_create};

use crate::mount::{Filesystem, MountError, attr};
use crate::overlay::{Overlay, detached};
use crate::{Errno, Result};

/// Opens `program` through a read-only overlay of its directory, which costs no memory; a sealed copy in memory where
/// overlays are not to be had. Execute it by `/proc/self/fd/<n>` or `execveat`.
pub fn protected(program: &Path) -> Result<OwnedFd> {
    match through_overlay(program) {
        Ok(fd) => Ok(fd),
        Err(_) => sealed_copy(program),
    }
}

fn through_overlay(program: &Path) -> std::result::Result<OwnedFd, MountError> {
    let failed = |errno| MountError { step: "open".to_owned(), errno, log: String::new() };
    let (Some(dir), Some(name)) = (program.parent(), program.file_name()) else {
        return Err(failed(Errno::INVAL));
    };
    // Overlayfs wants two layers where there is no upper one: an empty file system that is nowhere is the second.
    let empty = Filesystem::open("tmpfs")?.mount(attr::RDONLY)?;
    let second = format!("/proc/self/fd/{}", empty.as_raw_fd());
    let overlay = Overlay { lower: vec![dir.into(), second.into()], ..Overlay::default() };
    let root = detached(&overlay)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(root.as_fd(), name, flags, Mode::empty()).map_err(failed)
}

fn sealed_copy(program: &Path) -> Result<OwnedFd> {
    let to_errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = memfd_create("ferry", flags)?;
    let mut from = std::fs::File::open(program).map_err(to_errno)?;
    let mut to = std::fs::File::from(copy.try_clone().map_err(to_errno)?);
    std::io::copy(&mut from, &mut to).map_err(to_errno)?;
    drop(to);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    // A descriptor that is open for writing cannot be executed (ETXTBSY).
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sealed memfd can be opened for writing, but not written to.
    fn cannot_be_written(fd: &OwnedFd) -> bool {
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        match std::fs::OpenOptions::new().write(true).open(path) {
            Ok(mut file) => std::io::Write::write_all(&mut file, b"x").is_err(),
            Err(_) => true,
        }
    }

    #[test]
    fn neither_copy_can_be_reopened_for_writing() {
        let program = std::env::current_exe().unwrap();
        assert!(cannot_be_written(&sealed_copy(&program).unwrap()));
        if rustix::process::geteuid().is_root() {
            assert!(cannot_be_written(&through_overlay(&program).unwrap()));
        }
    }

    #[test]
    fn both_copies_run() {
        let program = Path::new("/bin/true").canonicalize().unwrap();
        for copy in [protected(&program).unwrap(), sealed_copy(&program).unwrap()] {
            // Not close-on-exec for the moment: the child finds it by its number.
            rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
            let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
            let mut command = std::process::Command::new(path);
            std::os::unix::process::CommandExt::arg0(&mut command, "true");
            assert!(command.status().unwrap().success());
        }
    }
}

//! `tmpcopyup`: what a directory of the image has goes into the tmpfs that is about to cover it. Directories, files and links
//! with owner, mode and times; everything else (devices, sockets) is not worth carrying over, as in runc.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_sys::{Errno, Result};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, futimens, mkdirat, openat, readlinkat, symlinkat,
};

/// How deep a directory is followed.
const MAX_DEPTH: usize = 64;

/// Copies the content of `from` into `to`, which is empty. Both are directories.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let source =
        openat(from, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    directory(&source, to, 0)
}

fn directory(from: &OwnedFd, to: BorrowedFd<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Errno::LOOP);
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match entry.file_type() {
            FileType::Symlink => {
                let target = readlinkat(from, name, Vec::new())?;
                symlinkat(target.as_c_str(), to, name)?;
                let status = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let (uid, gid) = owner(&status);
                chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source = openat(from, name, flags, Mode::empty())?;
                mkdirat(to, name, Mode::RWXU)?;
                let copy = openat(to, name, flags, Mode::empty())?;
                directory(&source, copy.as_fd(), depth + 1)?;
                dress(&copy, &fstat(&source)?)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let source = openat(from, name, flags, Mode::empty())?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let copy = openat(to, name, flags, Mode::RUSR | Mode::WUSR)?;
                let status = fstat(&source)?;
                let (mut source, mut copy) = (File::from(source), File::from(copy));
                std::io::copy(&mut source, &mut copy)
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                dress(&copy.into(), &status)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn owner(status: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid))
}

/// Owner first: changing it takes set-id bits away.
fn dress(copy: &OwnedFd, status: &Stat) -> Result<()> {
    let (uid, gid) = owner(status);
    fchown(copy, Some(uid), Some(gid))?;
    fchmod(copy, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    let time = |seconds, nanos: u64| Timespec { tv_sec: seconds, tv_nsec: nanos as i64 };
    let times = Timestamps {
        last_access: time(status.st_atime, status.st_atime_nsec),
        last_modification: time(status.st_mtime, status.st_mtime_nsec),
    };
    futimens(copy, &times)
}

//! Removes a tree without following a symlink and without a descriptor or stack frame for each level: a hostile
//! archive may nest deeper than either allows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes the directory `name` in `parent` with all that is in it. Nobody else may be moving things in there.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mut descent: Vec<Vec<u8>> = Vec::new();
    let mut current = open(parent, name)?;
    loop {
        if let Some(child) = empty_until_directory(current.as_fd())? {
            current = open(current.as_fd(), &child)?;
            descent.push(child);
        } else if let Some(emptied) = descent.pop() {
            current = open(current.as_fd(), b"..")?;
            rustix::fs::unlinkat(&current, &*emptied, AtFlags::REMOVEDIR)?;
        } else {
            return Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?);
        }
    }
}

/// Unlinks what is no directory until the first directory shows up; `None` when all is gone.
fn empty_until_directory(directory: BorrowedFd<'_>) -> Result<Option<Vec<u8>>, Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        if kind == FileType::Directory {
            return Ok(Some(name.to_bytes().to_vec()));
        }
        rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
    }
    Ok(None)
}

fn open(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

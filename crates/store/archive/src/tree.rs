//! Reading a tree that somebody else filled: directories and attributes by descriptor and name, no link followed.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::whiteout::{OPAQUE_VALUE, OPAQUE_XATTR};

/// The names in a directory, the last first: to be popped.
pub(crate) fn names_reversed(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

/// Opens a directory to list it.
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Opens a directory by its clean path, for names in it to be looked up.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

/// Whether a directory hides what lies below it.
pub(crate) fn is_opaque(parent: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    let value = get_xattr(parent, name, OPAQUE_XATTR.as_bytes())?;
    Ok(value.is_some_and(|value| value == OPAQUE_VALUE))
}

/// A file by its directory's descriptor, for calls that take only paths.
pub(crate) fn proc_path(parent: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    [format!("/proc/self/fd/{}/", parent.as_raw_fd()).as_bytes(), name].concat()
}

/// The names of the extended attributes of a file.
pub(crate) fn list_xattrs(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let path = proc_path(parent, name);
    // Nearly every file has none, which an empty first answer tells in one call.
    let length = match rustix::fs::llistxattr_query(&*path) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        length => length?,
    };
    let mut list = vec![0; length];
    let length = rustix::fs::llistxattr(&*path, &mut list[..])?;
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

/// The value of an extended attribute, if the file has it.
pub(crate) fn get_xattr(
    parent: BorrowedFd<'_>,
    name: &[u8],
    xattr: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    let path = proc_path(parent, name);
    let length = match rustix::fs::lgetxattr_query(&*path, xattr) {
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(None),
        length => length?,
    };
    let mut value = vec![0; length];
    if length > 0 {
        let length = rustix::fs::lgetxattr(&*path, xattr, &mut value[..])?;
        value.truncate(length);
    }
    Ok(Some(value))
}

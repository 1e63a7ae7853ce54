//! What an upper directory changes in what lies below it, as `docker diff` tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_errkind::{ErrorKind, Kinded};
use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use crate::path::{join, show};
use crate::tree::{get_xattr, is_opaque, names_reversed, open_below, open_directory};
use crate::whiteout::is_whiteout;

/// One path that is not as below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Path below the root, without a slash at either end.
    pub path: Vec<u8>,
    /// What became of it.
    pub kind: ChangeKind,
}

/// What became of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is not what it was, or something in it is not.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// Compares the upper directory of an overlay with the merged view of all below it. Parents come before what is in them,
/// siblings by their bytes. `skip` leaves a path out, with all that is in it.
///
/// The rules are Docker's: a directory's size and times do not count, a file's do; what was removed with its directory is
/// not listed on its own.
pub fn changes(
    upper: BorrowedFd<'_>,
    lower: BorrowedFd<'_>,
    skip: &dyn Fn(&[u8]) -> bool,
) -> Result<Vec<Change>, ChangesError> {
    let mut comparison = Comparison { upper, lower, skip, found: BTreeMap::new() };
    let opaque = is_opaque(upper, b".").map_err(|errno| failed(b"/", errno))?;
    let mut todo = vec![Level { path: Vec::new(), below: Below::Directory, opaque }];
    while let Some(level) = todo.pop() {
        comparison.directory(&level, &mut todo)?;
    }
    let change = |(path, kind)| Change { path: path_of(path), kind };
    Ok(comparison.found.into_iter().map(change).collect())
}

/// A directory of the upper layer that is still to be looked at.
struct Level {
    path: Vec<u8>,
    below: Below,
    /// It hides what lies below.
    opaque: bool,
}

/// What a directory of the upper layer covers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Below {
    Directory,
    /// Nothing, or a file: whatever is in the directory is new.
    Other,
}

struct Comparison<'a> {
    upper: BorrowedFd<'a>,
    lower: BorrowedFd<'a>,
    skip: &'a dyn Fn(&[u8]) -> bool,
    /// By sort key.
    found: BTreeMap<Vec<u8>, ChangeKind>,
}

impl Comparison<'_> {
    fn directory(&mut self, level: &Level, todo: &mut Vec<Level>) -> Result<(), ChangesError> {
        let failed = |errno| failed(&level.path, errno);
        let directory = match open_below(self.upper, &level.path) {
            // A container that runs may have removed it just now.
            Err(Errno::NOENT) => return Ok(()),
            place => open_directory(place.map_err(failed)?.as_fd(), b".").map_err(failed)?,
        };
        let below = match level.below {
            Below::Directory => Some(open_below(self.lower, &level.path).map_err(failed)?),
            Below::Other => None,
        };
        let names = names_reversed(directory.as_fd()).map_err(failed)?;
        for name in &names {
            let path = join(&level.path, name);
            if !(self.skip)(&path) {
                self.entry(directory.as_fd(), below.as_ref(), name, path, todo)?;
            }
        }
        if let (true, Some(below)) = (level.opaque, &below) {
            let names: BTreeSet<&Vec<u8>> = names.iter().collect();
            let below = open_directory(below.as_fd(), b".").map_err(failed)?;
            for name in names_reversed(below.as_fd()).map_err(failed)? {
                if !names.contains(&name) {
                    self.note(&join(&level.path, &name), ChangeKind::Deleted);
                }
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        directory: BorrowedFd<'_>,
        below: Option<&OwnedFd>,
        name: &[u8],
        path: Vec<u8>,
        todo: &mut Vec<Level>,
    ) -> Result<(), ChangesError> {
        let failed = |errno| failed(&path, errno);
        let Some(new) = lstat(directory, name).map_err(failed)? else { return Ok(()) };
        let old = match below {
            Some(below) => lstat(below.as_fd(), name).map_err(failed)?,
            None => None,
        };
        if is_whiteout(&new) {
            if old.is_some() {
                self.note(&path, ChangeKind::Deleted);
            }
            return Ok(());
        }
        let is_directory = |stat: &Stat| kind(stat) == FileType::Directory;
        let both = old.as_ref().is_some_and(is_directory) && is_directory(&new);
        match (&old, below) {
            (Some(old), Some(below)) => {
                let differ = differ(old, &new)
                    || capability(below.as_fd(), name, old).map_err(failed)?
                        != capability(directory, name, &new).map_err(failed)?;
                if differ {
                    self.note(&path, ChangeKind::Modified);
                }
            }
            _ => self.note(&path, ChangeKind::Added),
        }
        if is_directory(&new) {
            let opaque = is_opaque(directory, name).map_err(failed)?;
            let below = if both { Below::Directory } else { Below::Other };
            todo.push(Level { path, below, opaque });
        }
        Ok(())
    }

    /// Notes a change; the directories that it is in have changed with it.
    fn note(&mut self, path: &[u8], kind: ChangeKind) {
        let key = sort_key(path);
        let above = key.iter().enumerate().filter(|(_, byte)| **byte == 0).map(|(at, _)| at);
        for end in above {
            self.found.entry(key[..end].to_vec()).or_insert(ChangeKind::Modified);
        }
        self.found.insert(key, kind);
    }
}

/// Slashes sort before everything else, so that a directory's content follows it before `directory-2` does.
fn sort_key(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

fn path_of(key: Vec<u8>) -> Vec<u8> {
    key.into_iter().map(|byte| if byte == 0 { b'/' } else { byte }).collect()
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn lstat(directory: BorrowedFd<'_>, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// What was copied up but not changed looks as it did.
fn differ(old: &Stat, new: &Stat) -> bool {
    let inode = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    if inode(old) != inode(new) {
        return true;
    }
    // Archives may have whole seconds only.
    let same_fraction =
        old.st_mtime_nsec == new.st_mtime_nsec || old.st_mtime_nsec == 0 || new.st_mtime_nsec == 0;
    let same_time = old.st_mtime == new.st_mtime && same_fraction;
    kind(new) != FileType::Directory && (!same_time || old.st_size != new.st_size)
}

fn capability(
    directory: BorrowedFd<'_>,
    name: &[u8],
    stat: &Stat,
) -> Result<Option<Vec<u8>>, Errno> {
    if kind(stat) != FileType::RegularFile {
        return Ok(None);
    }
    match get_xattr(directory, name, b"security.capability") {
        Err(Errno::NOENT) => Ok(None),
        found => found,
    }
}

fn failed(path: &[u8], source: Errno) -> ChangesError {
    ChangesError { path: show(path), source }
}

/// Something in one of the trees cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot compare {path:?} with the layers below")]
pub struct ChangesError {
    path: String,
    source: Errno,
}

impl Kinded for ChangesError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

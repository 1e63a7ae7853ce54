//! Paths inside a tree that somebody else filled: every look-up stays in it, whatever its symbolic links say.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat2, readlinkat};

use crate::{Errno, Result};

/// How many dangling links `mkdir_all` and `create_file` follow before they call it a loop, as the kernel (40).
const MAX_LINKS: usize = 40;

/// How often a look-up is repeated that raced with a rename (`EAGAIN`).
const MAX_RACES: usize = 128;

/// A directory that acts as `/` for every path given to it.
///
/// Look-ups go through `openat2` with `RESOLVE_IN_ROOT`: absolute links and `..` are held inside by the kernel, in one
/// step, so that swapping a component for a link meanwhile wins nothing. Magic links (`/proc/<pid>/root`, `fd/n`) are
/// not followed at all: through them a look-up could leave even so.
#[derive(Debug)]
pub struct InRoot {
    dir: OwnedFd,
}

impl InRoot {
    /// Takes the directory at `path` (host's view) as a root.
    pub fn open(path: &Path) -> Result<InRoot> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(InRoot { dir: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// Takes an open directory (or detached mount) as a root.
    pub fn from_fd(dir: OwnedFd) -> InRoot {
        InRoot { dir }
    }

    /// The directory.
    pub fn as_dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Gives the directory back.
    pub fn into_fd(self) -> OwnedFd {
        self.dir
    }

    /// The object at a relative `path` as an `O_PATH` descriptor; `XDEV` where links lead out of the root, instead of holding them inside.
    /// `more` may forbid links altogether.
    pub fn open_beneath(&self, path: &Path, more: ResolveFlags) -> Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | more;
        self.look_up(path, OFlags::PATH, Mode::empty(), resolve)
    }

    /// Opens with any flags. The last component is followed unless `NOFOLLOW` is given. Close-on-exec is added.
    pub fn open_with(&self, path: &Path, flags: OFlags, mode: u32) -> Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // openat2 refuses a mode without O_CREAT.
        let mode =
            if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(mode) } else { Mode::empty() };
        self.look_up(path, flags, mode, resolve)
    }

    fn look_up(
        &self,
        path: &Path,
        flags: OFlags,
        mode: Mode,
        resolve: ResolveFlags,
    ) -> Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        for _ in 0..MAX_RACES {
            match openat2(&self.dir, path, flags | OFlags::CLOEXEC, mode, resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// The object at `path` as an `O_PATH` descriptor, links followed.
    pub fn resolve(&self, path: &Path) -> Result<OwnedFd> {
        self.open_with(path, OFlags::PATH, 0)
    }

    /// The object at `path` itself, be it a link.
    pub fn resolve_nofollow(&self, path: &Path) -> Result<OwnedFd> {
        self.open_with(path, OFlags::PATH | OFlags::NOFOLLOW, 0)
    }

    /// Whether there is something at `path`, and of what type.
    pub fn file_type(&self, path: &Path) -> Result<Option<FileType>> {
        match self.resolve(path) {
            Ok(fd) => file_type(fd.as_fd()).map(Some),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The target of the link at `path`, as written.
    pub fn read_link(&self, path: &Path) -> Result<PathBuf> {
        let link = self.resolve_nofollow(path)?;
        let target = readlinkat(&link, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    /// The content of a regular file of at most `limit` bytes (`FBIG` if it is longer, `INVAL` if it is no file).
    pub fn read(&self, path: &Path, limit: usize) -> Result<Vec<u8>> {
        // NONBLOCK: the tree's owner may have put a FIFO there to hang us.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open_with(path, flags, 0)?;
        if file_type(fd.as_fd())? != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let mut bytes = Vec::new();
        let read = File::from(fd).take(limit as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        if bytes.len() > limit { Err(Errno::FBIG) } else { Ok(bytes) }
    }

    /// Makes the directory `path` with everything above it that is missing; what is there is followed in-root, and a
    /// dangling link gets its target made. Answers an `O_PATH` descriptor of it.
    pub fn mkdir_all(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        self.mkdir_steps(path, mode, MAX_LINKS)
    }

    fn mkdir_steps(&self, path: &Path, mode: u32, links: usize) -> Result<OwnedFd> {
        match self.open_with(path, OFlags::PATH | OFlags::DIRECTORY, 0) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let Some((parent, name)) = split(path) else { return Err(Errno::NOENT) };
        let parent_dir = self.mkdir_steps(parent, mode, links)?;
        match mkdirat(&parent_dir, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                // Somebody was quicker, or it is a link to nowhere.
                if let Some(target) = self.dangling(parent, &parent_dir, name, links)? {
                    return self.mkdir_steps(&target, mode, links - 1);
                }
            }
            Err(error) => return Err(error),
        }
        self.open_with(path, OFlags::PATH | OFlags::DIRECTORY, 0)
    }

    /// Where the link `name` in `parent` points, as a path in this root; `None` if it is no link.
    fn dangling(
        &self,
        parent: &Path,
        parent_dir: &OwnedFd,
        name: &OsStr,
        links: usize,
    ) -> Result<Option<PathBuf>> {
        let target = match readlinkat(parent_dir, name, Vec::new()) {
            Ok(target) => PathBuf::from(OsString::from_vec(target.into_bytes())),
            Err(Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error),
        };
        if links == 0 {
            return Err(Errno::LOOP);
        }
        Ok(Some(parent.join(target)))
    }

    /// An `O_PATH` descriptor of the file `path`, made empty (and its directories, mode 0755) if there is nothing.
    pub fn create_file(&self, path: &Path, mode: u32) -> Result<OwnedFd> {
        self.create_steps(path, mode, MAX_LINKS)
    }

    fn create_steps(&self, path: &Path, mode: u32, links: usize) -> Result<OwnedFd> {
        match self.resolve(path) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let Some((parent, name)) = split(path) else { return Err(Errno::NOENT) };
        let parent_dir = self.mkdir_steps(parent, 0o755, links)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&parent_dir, name, flags, Mode::from_raw_mode(mode)) {
            Ok(file) => drop(file),
            Err(Errno::EXIST) => {
                if let Some(target) = self.dangling(parent, &parent_dir, name, links)? {
                    return self.create_steps(&target, mode, links - 1);
                }
            }
            Err(error) => return Err(error),
        }
        self.resolve(path)
    }

    /// Where something that was opened in this root is, without links, relative to the root (empty: the root itself). It is text:
    /// whoever renames a directory meanwhile makes it wrong, and a look-up of it must go through this root again.
    pub fn real_path(&self, found: BorrowedFd<'_>) -> Result<PathBuf> {
        let (root, path) = (proc_link(self.dir.as_fd())?, proc_link(found)?);
        match path.strip_prefix(&root) {
            Ok(below) => Ok(below.to_owned()),
            // It was moved out, or deleted.
            Err(_) => Err(Errno::NOENT),
        }
    }

    /// The directory a path is in, and its last component: for calls that work on names (mknodat, symlinkat, unlinkat).
    pub fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        let (parent, name) = split(path).ok_or(Errno::INVAL)?;
        Ok((self.open_with(parent, OFlags::PATH | OFlags::DIRECTORY, 0)?, name))
    }
}

/// The type of an open file.
pub fn file_type(fd: BorrowedFd<'_>) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// What `/proc` says of an open file's place.
fn proc_link(fd: BorrowedFd<'_>) -> Result<PathBuf> {
    let target = rustix::fs::readlink(format!("/proc/self/fd/{}", fd.as_raw_fd()), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
}

/// Parent and last component, `None` for a path that ends in none (`/`, `..`).
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    match path.components().next_back()? {
        Component::Normal(name) if !name.as_bytes().contains(&0) => {
            Some((path.parent().unwrap_or(Path::new("")), name))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

//! A directory as a layer's tar: sorted, so that the same tree gives the same bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use ferry_errkind::{ErrorKind, Kinded};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::Sink;
use crate::entry::{Entry, Kind, Mtime, Xattr};
use crate::ids::IdShift;
use crate::path::{join, show};
use crate::tree::{get_xattr, is_opaque, list_xattrs, names_reversed, open_below, open_directory};
use crate::whiteout::{OPAQUE_NAME, PREFIX, is_whiteout};

/// What kind of directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upper directory of an overlay mount: its whiteouts and opaque directories become `.wh.` names.
    Upper,
    /// A plain directory: everything is what it looks like.
    Plain,
}

/// How a tree is written.
#[derive(Clone, Copy)]
pub struct TreeOptions<'a> {
    /// What kind of directory it is.
    pub source: Source,
    /// What is kept of files.
    pub keep: Keep,
    /// The tree may change meanwhile: what vanishes is left out, and a file that shrinks ends in zeros.
    pub live: bool,
    /// The tree is reached from the host, and its owners are to be a container's.
    pub ids: Option<&'a IdShift>,
    /// Paths that are left out, with all that is in them.
    pub skip: &'a dyn Fn(&[u8]) -> bool,
}

impl std::fmt::Debug for TreeOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeOptions")
            .field("source", &self.source)
            .field("keep", &self.keep)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl TreeOptions<'_> {
    /// A layer out of a tree that nobody changes.
    pub const fn layer(source: Source) -> Self {
        TreeOptions { source, keep: Keep::Layer, live: false, ids: None, skip: &|_| false }
    }

    /// What `docker cp` copies.
    pub const COPY: Self = TreeOptions {
        source: Source::Plain,
        keep: Keep::Copy,
        live: true,
        ids: None,
        skip: &|_| false,
    };
}

/// What is kept of files besides content, owner and mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Times with their fractions; `user.*`, `trusted.*` (without overlayfs' own) and `security.capability`.
    Layer,
    /// As `docker cp` does: times in seconds, and of attributes only `security.capability`.
    Copy,
}

/// Writes the tree below `root` as a layer, without its two closing blocks. Paths are relative and sorted, parents
/// first; hard links stay links; the root itself is left out, as Docker leaves it out of its layers. Sockets are left out.
pub fn write_tree<S: Sink>(
    root: BorrowedFd<'_>,
    options: &TreeOptions<'_>,
    tar: &mut S,
) -> Result<(), WriteTreeError> {
    write_tree_in(root, None, options, tar)
}

/// The same in a directory of the archive, which is not written itself.
pub fn write_tree_in<S: Sink>(
    root: BorrowedFd<'_>,
    directory: Option<&[u8]>,
    options: &TreeOptions<'_>,
    tar: &mut S,
) -> Result<(), WriteTreeError> {
    let mut walk = Walk { options: *options, name: directory, tar, links: HashMap::new() };
    let top = open_directory(root, b".").map_err(|error| failed(b"/", error))?;
    if options.source == Source::Upper
        && is_opaque(root, b".").map_err(|error| failed(b"/", error))?
    {
        let stat = rustix::fs::fstat(&top).map_err(|error| failed(b"/", error))?;
        walk.opaque(b"", &stat)?;
    }
    walk.below(&top)
}

/// Writes what is called `name` in the directory `parent`, with all that is in it, under the name `shown`: `.` makes
/// `./`, `./a`, …, and nothing at all makes `/`, `/a`, …
pub fn write_resource<S: Sink>(
    parent: BorrowedFd<'_>,
    name: &[u8],
    shown: &[u8],
    options: &TreeOptions<'_>,
    tar: &mut S,
) -> Result<(), WriteTreeError> {
    let mut walk = Walk { options: *options, name: Some(shown), tar, links: HashMap::new() };
    let Some(names) = walk.visit(parent, name, b"")? else { return Ok(()) };
    drop(names);
    let top = open_directory(parent, name).map_err(|error| failed(b"", error))?;
    walk.below(&top)
}

/// A directory whose children are being written; the names are in reverse, to be popped.
struct Level {
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
}

struct Walk<'a, S> {
    options: TreeOptions<'a>,
    /// What all names start with.
    name: Option<&'a [u8]>,
    tar: &'a mut S,
    /// First path of every inode that has several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<S: Sink> Walk<'_, S> {
    /// Writes everything in a directory.
    fn below(&mut self, top: &OwnedFd) -> Result<(), WriteTreeError> {
        // An explicit stack: a tree may nest deeper than threads have stack.
        let names = names_reversed(top.as_fd()).map_err(|error| failed(b"/", error))?;
        let mut stack = vec![Level { path: Vec::new(), names }];
        let mut open: Option<(Vec<u8>, OwnedFd)> = None;
        while let Some(level) = stack.last_mut() {
            let Some(name) = level.names.pop() else {
                stack.pop();
                continue;
            };
            let path = join(&level.path, &name);
            if (self.options.skip)(&path) {
                continue;
            }
            // One descriptor at a time, kept while siblings come: a deep tree would use up more.
            if open.as_ref().is_none_or(|(path, _)| *path != level.path) {
                let Some(fd) = self.there(&path, open_below(top.as_fd(), &level.path))? else {
                    level.names.clear();
                    continue;
                };
                open = Some((level.path.clone(), fd));
            }
            let Some((_, parent)) = &open else { continue };
            if let Some(names) = self.visit(parent.as_fd(), &name, &path)? {
                stack.push(Level { path, names });
            }
        }
        Ok(())
    }

    /// What is not there any more in a tree that changes is `None`.
    fn there<T>(&self, path: &[u8], found: Result<T, Errno>) -> Result<Option<T>, WriteTreeError> {
        match found {
            Ok(found) => Ok(Some(found)),
            // A symlink or a file in the place of a directory is not what was there, either.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) if self.options.live => Ok(None),
            Err(errno) => Err(failed(path, errno)),
        }
    }

    /// A path as the archive calls it.
    fn named(&self, path: &[u8]) -> Vec<u8> {
        match self.name {
            None => path.to_vec(),
            Some(name) if path.is_empty() => name.to_vec(),
            Some(name) => [name, b"/", path].concat(),
        }
    }

    /// Writes one path; for a directory, answers what is in it.
    fn visit(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Vec<Vec<u8>>>, WriteTreeError> {
        let failed = |error| failed(path, error);
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = self.there(path, stat)? else { return Ok(None) };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let upper = self.options.source == Source::Upper;
        if upper && is_whiteout(&stat) {
            return self.whiteout(path, &stat).map(|()| None);
        }
        let mut entry = self.entry_of(path, &stat);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                return self.append(&entry).map(|()| None);
            }
        }
        entry.xattrs = self.xattrs(parent, name, path)?;
        match kind {
            FileType::Directory => {
                entry.kind = Kind::Directory;
                let Some(directory) = self.there(path, open_directory(parent, name))? else {
                    return Ok(None);
                };
                self.append(&entry)?;
                if upper && is_opaque(parent, name).map_err(failed)? {
                    self.opaque(path, &stat)?;
                }
                return names_reversed(directory.as_fd()).map(Some).map_err(failed);
            }
            FileType::RegularFile => {
                return self.file(parent, name, path, entry, &stat).map(|()| None);
            }
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                let link = rustix::fs::readlinkat(parent, name, Vec::new());
                let Some(link) = self.there(path, link)? else { return Ok(None) };
                entry.link = link.into_bytes();
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            FileType::CharacterDevice => entry.kind = Kind::CharDevice,
            FileType::BlockDevice => entry.kind = Kind::BlockDevice,
            // A socket is bound to its process, which is not in the image.
            FileType::Socket | FileType::Unknown => return Ok(None),
        }
        self.note_link(&stat, &entry);
        self.append(&entry).map(|()| None)
    }

    /// Further names of this inode will be links to the one that was just written.
    fn note_link(&mut self, stat: &Stat, entry: &Entry) {
        if stat.st_nlink > 1 {
            self.links.insert((stat.st_dev, stat.st_ino), entry.path.clone());
        }
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
        mut entry: Entry,
        stat: &Stat,
    ) -> Result<(), WriteTreeError> {
        let Some(file) = self.there(path, open_file(parent, name))? else { return Ok(()) };
        entry.kind = Kind::File;
        self.note_link(stat, &entry);
        let written = self.tar.append_open(&entry, file, self.options.live);
        written.map_err(|source| WriteTreeError::Write { path: show(path), source })
    }

    fn append(&mut self, entry: &Entry) -> Result<(), WriteTreeError> {
        self.tar
            .append(entry)
            .map_err(|source| WriteTreeError::Write { path: show(&entry.path), source })
    }

    fn whiteout(&mut self, path: &[u8], stat: &Stat) -> Result<(), WriteTreeError> {
        let (parent, name) = crate::path::split(path);
        let marker = join(parent, &[PREFIX, name].concat());
        // Docker writes them as empty files of mode 0 with the whiteout's owner and time.
        let entry = Entry { mode: 0, ..self.entry_of(&marker, stat) };
        self.append(&Entry { size: 0, stored: 0, device: (0, 0), ..entry })
    }

    fn opaque(&mut self, directory: &[u8], stat: &Stat) -> Result<(), WriteTreeError> {
        let marker = self.entry_of(&join(directory, OPAQUE_NAME), stat);
        let mode = marker.mode & 0o777;
        self.append(&Entry { mode, size: 0, stored: 0, device: (0, 0), ..marker })
    }

    fn entry_of(&self, path: &[u8], stat: &Stat) -> Entry {
        let size = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or_default(),
            _ => 0,
        };
        let nanos = match self.options.keep {
            Keep::Layer => u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
            Keep::Copy => 0,
        };
        let owner = (stat.st_uid, stat.st_gid);
        let (uid, gid) = self.options.ids.map_or(owner, |ids| ids.to_container(owner));
        Entry {
            path: self.named(path),
            mode: stat.st_mode & 0o7777,
            uid,
            gid,
            mtime: Mtime { seconds: stat.st_mtime, nanos },
            device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
            size,
            stored: size,
            ..Entry::default()
        }
    }

    fn xattrs(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Vec<Xattr>, WriteTreeError> {
        let mut xattrs = Vec::new();
        let listed = list_xattrs(parent, name);
        for xattr in self.there(path, listed)?.unwrap_or_default() {
            let overlays = xattr.starts_with(b"trusted.overlay.");
            if self.options.source == Source::Upper && overlays {
                // Such a directory's or file's content is elsewhere; a tar of it would lack it.
                if matches!(&xattr[16..], b"redirect" | b"metacopy") {
                    return Err(WriteTreeError::Redirected { path: show(path) });
                }
            }
            let kept = self.options.keep == Keep::Layer
                && (xattr.starts_with(b"user.") || xattr.starts_with(b"trusted."));
            if overlays || !(kept || xattr == b"security.capability") {
                continue;
            }
            let value = get_xattr(parent, name, &xattr);
            if let Some(Some(value)) = self.there(path, value)? {
                xattrs.push(Xattr { name: xattr, value });
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}

/// Opens a regular file to read it; whatever else has taken its place is `NOENT`. It is looked at before it is opened: to
/// open a device may do something.
fn open_file(parent: BorrowedFd<'_>, name: &[u8]) -> Result<File, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).map(File::from)
}

fn failed(path: &[u8], source: Errno) -> WriteTreeError {
    WriteTreeError::Read { path: show(path), source }
}

/// Why a tree cannot be written as a layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteTreeError {
    /// Something in the tree cannot be read.
    #[error("cannot read {path:?} for the archive")]
    Read {
        /// Path below the root.
        path: String,
        /// Why not.
        source: Errno,
    },
    /// The output failed, or a file changed while it was read.
    #[error("cannot write {path:?} to the archive")]
    Write {
        /// Path below the root.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The overlay was mounted with redirects or metadata-only copies: the upper directory is not the whole change.
    #[error(
        "{path:?} refers to a lower layer; mount overlays with redirect_dir=nofollow,metacopy=off"
    )]
    Redirected {
        /// Path below the root.
        path: String,
    },
}

impl Kinded for WriteTreeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

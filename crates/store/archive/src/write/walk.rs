//! A directory as a layer's tar: sorted, so that the same tree gives the same bytes.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_errkind::{ErrorKind, Kinded};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::TarWriter;
use crate::entry::{Entry, Kind, Mtime, Xattr};
use crate::path::{join, show};
use crate::tree::{get_xattr, is_opaque, list_xattrs, names_reversed, open_below, open_directory};
use crate::whiteout::{OPAQUE_NAME, PREFIX};

/// What kind of directory is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The upper directory of an overlay mount: its whiteouts and opaque directories become `.wh.` names.
    Upper,
    /// A plain directory: everything is what it looks like.
    Plain,
}

/// Writes the tree below `root` as a layer, without its two closing blocks. Paths are relative and sorted, parents
/// first; hard links stay links; the root itself is left out, as Docker leaves it out of its layers. Attributes kept:
/// `user.*`, `trusted.*` (without overlayfs' own) and `security.capability`. Sockets are left out. The tree must not
/// change meanwhile.
pub fn write_tree<W: Write>(
    root: BorrowedFd<'_>,
    source: Source,
    tar: &mut TarWriter<W>,
) -> Result<(), WriteTreeError> {
    let mut walk = Walk { source, tar, links: HashMap::new() };
    let top = open_directory(root, b".").map_err(|error| failed(b"/", error))?;
    // An explicit stack: a tree may nest deeper than threads have stack.
    let names = names_reversed(top.as_fd()).map_err(|error| failed(b"/", error))?;
    if source == Source::Upper && is_opaque(root, b".").map_err(|error| failed(b"/", error))? {
        let stat = rustix::fs::fstat(&top).map_err(|error| failed(b"/", error))?;
        walk.opaque(b"", &stat)?;
    }
    let mut stack = vec![Level { path: Vec::new(), names }];
    let mut open: Option<(Vec<u8>, OwnedFd)> = None;
    while let Some(level) = stack.last_mut() {
        let Some(name) = level.names.pop() else {
            stack.pop();
            continue;
        };
        let path = join(&level.path, &name);
        // One descriptor at a time, kept while siblings come: a deep tree would use up more.
        if open.as_ref().is_none_or(|(path, _)| *path != level.path) {
            let fd = open_below(top.as_fd(), &level.path).map_err(|error| failed(&path, error))?;
            open = Some((level.path.clone(), fd));
        }
        let Some((_, parent)) = &open else { continue };
        if let Some(names) = walk.visit(parent.as_fd(), &name, &path)? {
            stack.push(Level { path, names });
        }
    }
    Ok(())
}

/// A directory whose children are being written; the names are in reverse, to be popped.
struct Level {
    path: Vec<u8>,
    names: Vec<Vec<u8>>,
}

struct Walk<'a, W> {
    source: Source,
    tar: &'a mut TarWriter<W>,
    /// First path of every inode that has several names.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Walk<'_, W> {
    /// Writes one path; for a directory, answers what is in it.
    fn visit(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<Vec<Vec<u8>>>, WriteTreeError> {
        let failed = |error| failed(path, error);
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let upper = self.source == Source::Upper;
        if upper && kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return self.whiteout(path, &stat).map(|()| None);
        }
        let mut entry = entry_of(path, &stat);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&inode) {
                entry.kind = Kind::HardLink;
                entry.link.clone_from(first);
                return self.append(&entry).map(|()| None);
            }
            self.links.insert(inode, path.to_vec());
        }
        entry.xattrs = self.xattrs(parent, name, path)?;
        match kind {
            FileType::Directory => {
                entry.kind = Kind::Directory;
                self.append(&entry)?;
                let directory = open_directory(parent, name).map_err(failed)?;
                if upper && is_opaque(parent, name).map_err(failed)? {
                    self.opaque(path, &stat)?;
                }
                return names_reversed(directory.as_fd()).map(Some).map_err(failed);
            }
            FileType::RegularFile => return self.file(parent, name, entry).map(|()| None),
            FileType::Symlink => {
                entry.kind = Kind::Symlink;
                let target = rustix::fs::readlinkat(parent, name, Vec::new()).map_err(failed)?;
                entry.link = target.into_bytes();
                // A symlink's mode means nothing; writers agree on 0777.
                entry.mode = 0o777;
            }
            FileType::Fifo => entry.kind = Kind::Fifo,
            FileType::CharacterDevice => entry.kind = Kind::CharDevice,
            FileType::BlockDevice => entry.kind = Kind::BlockDevice,
            // A socket is bound to its process, which is not in the image.
            FileType::Socket | FileType::Unknown => return Ok(None),
        }
        self.append(&entry).map(|()| None)
    }

    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        mut entry: Entry,
    ) -> Result<(), WriteTreeError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(parent, name, flags, Mode::empty());
        let file = File::from(file.map_err(|error| failed(&entry.path, error))?);
        entry.kind = Kind::File;
        self.tar
            .append_file(&entry, file)
            .map_err(|source| WriteTreeError::Write { path: show(&entry.path), source })
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
        let entry = Entry { mode: 0, ..entry_of(&marker, stat) };
        self.append(&Entry { size: 0, stored: 0, device: (0, 0), ..entry })
    }

    fn opaque(&mut self, directory: &[u8], stat: &Stat) -> Result<(), WriteTreeError> {
        let marker = entry_of(&join(directory, OPAQUE_NAME), stat);
        let mode = marker.mode & 0o777;
        self.append(&Entry { mode, size: 0, stored: 0, device: (0, 0), ..marker })
    }

    fn xattrs(
        &self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        path: &[u8],
    ) -> Result<Vec<Xattr>, WriteTreeError> {
        let failed = |error| failed(path, error);
        let mut xattrs = Vec::new();
        for xattr in list_xattrs(parent, name).map_err(failed)? {
            let overlays = xattr.starts_with(b"trusted.overlay.");
            if self.source == Source::Upper && overlays {
                // Such a directory's or file's content is elsewhere; a tar of it would lack it.
                if matches!(&xattr[16..], b"redirect" | b"metacopy") {
                    return Err(WriteTreeError::Redirected { path: show(path) });
                }
            }
            let kept = xattr.starts_with(b"user.") || xattr.starts_with(b"trusted.");
            if overlays || !(kept || xattr == b"security.capability") {
                continue;
            }
            if let Some(value) = get_xattr(parent, name, &xattr).map_err(failed)? {
                xattrs.push(Xattr { name: xattr, value });
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}

fn entry_of(path: &[u8], stat: &Stat) -> Entry {
    let size = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => u64::try_from(stat.st_size).unwrap_or_default(),
        _ => 0,
    };
    Entry {
        path: path.to_vec(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Mtime {
            seconds: stat.st_mtime,
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
        },
        device: (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        size,
        stored: size,
        ..Entry::default()
    }
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

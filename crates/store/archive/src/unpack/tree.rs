//! The directory being filled: opened parents, what was put where, and making room for the next.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::{Attempt, Options, Owner, UnpackError, remove_tree};
use crate::path::{clean, join, show, split};
use crate::recipe::RecipeWriter;
use crate::whiteout::is_whiteout;

/// Archives walk depth first, so the parents in use at one time are few.
const OPEN_PARENTS: usize = 16;
/// As many symlinks to nowhere as the kernel would follow in one path.
const MOST_SYMLINKS: u32 = 40;

pub(super) struct Tree {
    root: OwnedFd,
    keep_types: bool,
    /// Whose the directories are that no entry describes.
    implied_owner: Option<(u32, u32)>,
    /// Most recently used first.
    parents: Vec<Rc<Parent>>,
    placed: BTreeMap<Box<[u8]>, Placed>,
}

/// A directory that entries are put into.
pub(super) struct Parent {
    pub(super) fd: OwnedFd,
    /// The clean path by which it was asked for.
    asked: Vec<u8>,
    /// Its path without symlinks.
    real: Vec<u8>,
    /// Who owns what we make in here: looked at once, so that most files need no change of owner.
    pub(super) makes: Cell<Option<(u32, u32)>>,
}

/// Where an entry goes.
pub(super) struct Spot {
    pub(super) parent: Rc<Parent>,
    pub(super) name: Vec<u8>,
    /// Path without symlinks.
    pub(super) real: Vec<u8>,
}

/// What is remembered about a path.
enum Placed {
    /// The n-th payload of the archive.
    Payload(u64),
    /// What the directory shall be like in the end.
    Directory(Attributes),
}

/// What stood where an entry goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupant {
    /// A directory, and a directory is to be put there: it stays.
    Directory,
    /// It was removed; it had been a whiteout.
    RemovedWhiteout,
    /// It was removed, if there was anything.
    Removed,
}

impl Tree {
    pub(super) fn new(root: BorrowedFd<'_>, options: &Options<'_>) -> Result<Self, UnpackError> {
        let root = open_parent(root, b"").map_err(Attempt::OpenDirectory.on(b"/"))?;
        let implied_owner = (options.owner != Owner::Unpacker)
            .then(|| options.ids.map_or((0, 0), |ids| ids.to_host((0, 0)).unwrap_or_default()));
        let keep_types = options.keep_types;
        Ok(Self { root, keep_types, implied_owner, parents: Vec::new(), placed: BTreeMap::new() })
    }

    /// Where the entry with this clean, non-empty path goes; missing parents are made.
    pub(super) fn spot(&mut self, path: &[u8]) -> Result<Spot, UnpackError> {
        let (parent, name) = split(path);
        let parent = self.parent(parent)?;
        Ok(Spot { name: name.to_vec(), real: join(&parent.real, name), parent })
    }

    /// Where something that must be there already is, if its directory is there.
    pub(super) fn find(&mut self, path: &[u8]) -> Result<Spot, Errno> {
        let (parent, name) = split(path);
        let parent = self.lookup(parent)?;
        Ok(Spot { name: name.to_vec(), real: join(&parent.real, name), parent })
    }

    /// Removes what is in the place of an entry, unless both are directories.
    pub(super) fn make_room(
        &mut self,
        spot: &Spot,
        for_directory: bool,
        recipe: Option<&mut RecipeWriter>,
    ) -> Result<Occupant, UnpackError> {
        let failed = |error| Attempt::Replace.on(&spot.real)(error);
        let stat = match lstat(spot) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Occupant::Removed),
            Err(error) => return Err(failed(error)),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if self.keep_types && is_directory != for_directory {
            let path = show(&spot.real);
            return Err(UnpackError::OtherType { path, is_directory });
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory if for_directory => return Ok(Occupant::Directory),
            FileType::Directory => self.remove_directory(spot, recipe)?,
            kind => {
                self.remove_file(spot, recipe)?;
                if kind == FileType::Symlink {
                    // Directories may have been reached through it.
                    self.parents.clear();
                }
            }
        }
        Ok(if is_whiteout(&stat) { Occupant::RemovedWhiteout } else { Occupant::Removed })
    }

    pub(super) fn note_payload(&mut self, spot: Spot, payload: u64) {
        self.placed.insert(spot.real.into(), Placed::Payload(payload));
    }

    pub(super) fn note_directory(&mut self, real: Vec<u8>, attributes: Attributes) {
        self.placed.insert(real.into(), Placed::Directory(attributes));
    }

    /// Gives the directories their final attributes, the deepest first: a parent may end up closed to us.
    pub(super) fn finish(self, refused: &mut u64) -> Result<(), UnpackError> {
        for (path, placed) in self.placed.iter().rev() {
            let Placed::Directory(attributes) = placed else { continue };
            let fd = open_beneath(self.root.as_fd(), path, OFlags::RDONLY)
                .map_err(Attempt::OpenDirectory.on(path))?;
            attributes.apply(fd.as_fd(), None, path, refused)?;
        }
        Ok(())
    }

    fn remove_file(
        &mut self,
        spot: &Spot,
        recipe: Option<&mut RecipeWriter>,
    ) -> Result<(), UnpackError> {
        let placed = self.placed.remove(&*spot.real);
        let parent = spot.parent.fd.as_fd();
        if let (Some(Placed::Payload(payload)), Some(recipe)) = (placed, recipe) {
            return recipe.keep(payload, parent, &spot.name).map_err(UnpackError::Record);
        }
        let unlinked = rustix::fs::unlinkat(parent, &*spot.name, AtFlags::empty());
        unlinked.map_err(Attempt::Replace.on(&spot.real))
    }

    fn remove_directory(
        &mut self,
        spot: &Spot,
        mut recipe: Option<&mut RecipeWriter>,
    ) -> Result<(), UnpackError> {
        // All paths inside: from "dir/" up to what would follow it ('0' is the byte behind '/').
        let first: Box<[u8]> = [&*spot.real, b"/"].concat().into();
        let behind: Box<[u8]> = [&*spot.real, b"0"].concat().into();
        let mut inside = self.placed.split_off(&first);
        self.placed.append(&mut inside.split_off(&behind));
        self.placed.remove(&*spot.real);
        for (path, placed) in inside {
            if let (Placed::Payload(payload), Some(recipe)) = (placed, recipe.as_deref_mut()) {
                let (parent, name) = split(&path);
                let parent = open_beneath(self.root.as_fd(), parent, OFlags::PATH)
                    .map_err(Attempt::OpenDirectory.on(parent))?;
                recipe.keep(payload, parent.as_fd(), name).map_err(UnpackError::Record)?;
            }
        }
        self.parents.clear();
        remove_tree(spot.parent.fd.as_fd(), &spot.name).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            Attempt::Replace.on(&spot.real)(errno)
        })
    }

    fn parent(&mut self, path: &[u8]) -> Result<Rc<Parent>, UnpackError> {
        match self.lookup(path) {
            Err(Errno::NOENT) => self.make_parents(path, 0),
            found => found.map_err(Attempt::OpenDirectory.on(path)),
        }
    }

    /// Makes the missing directories of a path, from the top, each opened from the one above: whole paths would
    /// make a deep tree cost the square of its depth.
    fn make_parents(&mut self, path: &[u8], symlinks: u32) -> Result<Rc<Parent>, UnpackError> {
        let mut above = self.lookup(b"").map_err(Attempt::OpenDirectory.on(b"/"))?;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in slashes.chain([path.len()]) {
            above = self.make_parent(&above, &path[..end], symlinks)?;
        }
        self.remember(&above);
        Ok(above)
    }

    fn make_parent(
        &mut self,
        above: &Parent,
        path: &[u8],
        symlinks: u32,
    ) -> Result<Rc<Parent>, UnpackError> {
        let name = split(path).1;
        let real = join(&above.real, name);
        let open = || open_parent(above.fd.as_fd(), name);
        let fd = match open() {
            Err(Errno::LOOP) => return self.follow_or_make(above, path, symlinks),
            Err(Errno::NOENT) => {
                rustix::fs::mkdirat(&above.fd, name, Mode::from_raw_mode(0o700))
                    .map_err(Attempt::MakeDirectory.on(path))?;
                self.note_directory(real.clone(), Attributes::implied(self.implied_owner));
                open()
            }
            opened => opened,
        };
        let fd = fd.map_err(Attempt::OpenDirectory.on(path))?;
        Ok(Rc::new(Parent { fd, asked: path.to_vec(), real, makes: Cell::new(None) }))
    }

    /// A parent that is a symlink: to a directory, or to where Docker makes one.
    fn follow_or_make(
        &mut self,
        above: &Parent,
        path: &[u8],
        symlinks: u32,
    ) -> Result<Rc<Parent>, UnpackError> {
        let failed = |error| Attempt::OpenDirectory.on(path)(error);
        match self.lookup(path) {
            Err(Errno::NOENT) if symlinks < MOST_SYMLINKS => {}
            found => return found.map_err(failed),
        }
        let name = split(path).1;
        let target = rustix::fs::readlinkat(&above.fd, name, Vec::new()).map_err(failed)?;
        // As in a container: the root is the layer's, and `..` does not leave it.
        let target = match target.as_bytes() {
            absolute @ [b'/', ..] => absolute.to_vec(),
            relative => [b"/", &*above.real, b"/", relative].concat(),
        };
        let target = clean(&target).map_err(|_| failed(Errno::NOENT))?;
        self.make_parents(&target, symlinks + 1)?;
        self.lookup(path).map_err(failed)
    }

    fn lookup(&mut self, path: &[u8]) -> Result<Rc<Parent>, Errno> {
        if let Some(at) = self.parents.iter().position(|parent| parent.asked == path) {
            self.parents[..=at].rotate_right(1);
            return Ok(Rc::clone(&self.parents[0]));
        }
        let (fd, real) = match open_parent(self.root.as_fd(), path) {
            Ok(fd) => (fd, path.to_vec()),
            Err(Errno::LOOP) => self.follow(path)?,
            Err(error) => return Err(error),
        };
        let parent = Rc::new(Parent { fd, asked: path.to_vec(), real, makes: Cell::new(None) });
        self.remember(&parent);
        Ok(parent)
    }

    fn remember(&mut self, parent: &Rc<Parent>) {
        self.parents.truncate(OPEN_PARENTS - 1);
        self.parents.insert(0, Rc::clone(parent));
    }

    /// Opens a directory through symlinks that the archive made, as if the root were `/`, and tells where it is.
    fn follow(&self, path: &[u8]) -> Result<(OwnedFd, Vec<u8>), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)?;
        let (real, root) = (path_of(fd.as_fd())?, path_of(self.root.as_fd())?);
        let below = match real.strip_prefix(&*root) {
            Some(b"") => Vec::new(),
            Some([b'/', below @ ..]) => below.to_vec(),
            Some(below) if root == b"/" => below.to_vec(),
            _ => return Err(Errno::XDEV),
        };
        // What /proc says is text; it must lead to the same directory, or it is not used.
        let again = open_parent(self.root.as_fd(), &below)?;
        let (one, other) = (rustix::fs::fstat(&fd)?, rustix::fs::fstat(&again)?);
        if (one.st_dev, one.st_ino) != (other.st_dev, other.st_ino) {
            return Err(Errno::XDEV);
        }
        Ok((again, below))
    }
}

pub(super) fn lstat(spot: &Spot) -> Result<Stat, Errno> {
    rustix::fs::statat(&spot.parent.fd, &*spot.name, AtFlags::SYMLINK_NOFOLLOW)
}

fn open_parent(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_beneath(root, path, OFlags::PATH)
}

fn open_beneath(root: BorrowedFd<'_>, path: &[u8], how: OFlags) -> Result<OwnedFd, Errno> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    // Without O_NOFOLLOW, which would turn the tell-tale ELOOP of a symlink at the end into ENOTDIR.
    let flags = how | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

fn path_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::readlink(link, Vec::new())?.into_bytes())
}

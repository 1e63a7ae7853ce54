//! Puts one entry into the tree.

use std::io::BufRead;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use crc32fast::Hasher as Crc;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, XattrFlags};
use rustix::io::Errno;

use super::attributes::Attributes;
use super::input::Input;
use super::tree::{Occupant, Parent, Spot, Tree, lstat};
use super::{Attempt, Options, Owner, Rename, UnpackError, Whiteouts};
use crate::clones::Clones;
use crate::entry::{Entry, Kind, Segment};
use crate::ids::IdShift;
use crate::path::{clean, show, split};
use crate::recipe::Payload;
use crate::whiteout::{self, Marker, OPAQUE_VALUE, OPAQUE_XATTR, is_whiteout};

pub(super) struct Placer<'a> {
    tree: Tree,
    rename: Option<Rename<'a>>,
    whiteouts: Whiteouts,
    owner: Owner,
    ids: Option<&'a IdShift>,
    keep_root: bool,
    clones: Option<&'a Clones>,
    files_size: u64,
    refused_xattrs: u64,
}

impl<'a> Placer<'a> {
    pub(super) fn new(
        root: BorrowedFd<'_>,
        rename: Option<Rename<'a>>,
        options: &Options<'a>,
    ) -> Result<Self, UnpackError> {
        Ok(Self {
            tree: Tree::new(root, options)?,
            rename,
            whiteouts: options.whiteouts,
            owner: options.owner,
            ids: options.ids,
            keep_root: options.keep_root,
            clones: options.clones,
            files_size: 0,
            refused_xattrs: 0,
        })
    }

    /// Where a name of the archive is below the root.
    fn below(&self, name: &[u8]) -> Result<Vec<u8>, UnpackError> {
        let Some((old, new)) = self.rename else { return cleaned(name) };
        match rest_behind(name, old) {
            Some(rest) => cleaned(&[new, b"/", rest].concat()),
            None => cleaned(name),
        }
    }

    /// What the entry says of its inode, as far as it counts.
    fn attributes(&self, entry: &mut Entry) -> Attributes {
        Attributes { owner: self.owner_of(entry), ..Attributes::of(entry) }
    }

    fn owner_of(&self, entry: &Entry) -> Option<(u32, u32)> {
        let owner = match self.owner {
            Owner::Archived => (entry.uid, entry.gid),
            Owner::Fixed { uid, gid } => (uid, gid),
            Owner::Unpacker => return None,
        };
        // An owner that the container cannot have is one that the kernel refuses.
        Some(self.ids.map_or(owner, |ids| ids.to_host(owner).unwrap_or(owner)))
    }

    /// Takes the entry's payload and padding from the input, whatever becomes of them.
    pub(super) fn place<R: BufRead>(
        &mut self,
        mut entry: Entry,
        input: &mut Input<'_, R>,
    ) -> Result<(), UnpackError> {
        let stored = entry.stored;
        let path = self.below(&entry.path)?;
        if path.is_empty() && entry.kind == Kind::Directory && self.keep_root {
            return input.skip(stored).and_then(|()| input.padding(stored));
        }
        let marker = match self.whiteouts {
            Whiteouts::Overlay => whiteout::marker(&path),
            Whiteouts::Literal => Marker::None,
        };
        match marker {
            Marker::None if path.is_empty() && entry.kind == Kind::Directory => {
                let attributes = self.attributes(&mut entry);
                self.tree.note_directory(path, attributes);
            }
            Marker::None if path.is_empty() => return Err(UnpackError::RootNotDirectory),
            Marker::None => self.make(entry, &path, input)?,
            // Markers carry no data, but nothing stops an archive from giving them some.
            Marker::Opaque => {
                input.skip(stored)?;
                self.mark_opaque(split(&path).0)?;
            }
            Marker::Whiteout(target) => {
                input.skip(stored)?;
                self.whiteout(&entry, &target)?;
            }
            Marker::Internal => input.skip(stored)?,
            Marker::Invalid => return Err(UnpackError::Whiteout { name: show(&entry.path) }),
        }
        input.padding(stored)
    }

    /// Sets the attributes of all directories. Answers the size of all files and how many attributes were refused.
    pub(super) fn finish(mut self) -> Result<(u64, u64), UnpackError> {
        self.tree.finish(&mut self.refused_xattrs)?;
        Ok((self.files_size, self.refused_xattrs))
    }

    fn make<R: BufRead>(
        &mut self,
        mut entry: Entry,
        path: &[u8],
        input: &mut Input<'_, R>,
    ) -> Result<(), UnpackError> {
        match entry.kind {
            Kind::File => self.file(entry, path, input),
            Kind::Directory => self.directory(&mut entry, path, input),
            Kind::HardLink => self.hard_link(&mut entry, path, input),
            Kind::Symlink => self.node(entry, path, input, Attempt::MakeSymlink, |spot, entry| {
                rustix::fs::symlinkat(&*entry.link, &spot.parent.fd, &*spot.name)
            }),
            Kind::CharDevice => {
                self.node(entry, path, input, Attempt::MakeDevice, |spot, entry| {
                    mknod(spot, entry, FileType::CharacterDevice)
                })
            }
            Kind::BlockDevice => {
                self.node(entry, path, input, Attempt::MakeDevice, |spot, entry| {
                    mknod(spot, entry, FileType::BlockDevice)
                })
            }
            Kind::Fifo => self.node(entry, path, input, Attempt::MakeFifo, |spot, entry| {
                mknod(spot, entry, FileType::Fifo)
            }),
        }
    }

    fn file<R: BufRead>(
        &mut self,
        mut entry: Entry,
        path: &[u8],
        input: &mut Input<'_, R>,
    ) -> Result<(), UnpackError> {
        let spot = self.tree.spot(path)?;
        let clone = self.clones.and_then(|clones| clones.take(&entry.path)).map(OwnedFd::from);
        let cloned = clone.is_some();
        let file = match clone {
            Some(clone) => self.name(&spot, clone, input)?,
            None => self.create(&spot, input)?,
        };
        let crc = match &entry.sparse {
            None if cloned => checksum(entry.stored, input)?,
            None => write_plain(&file, entry.stored, &spot.real, input)?,
            Some(map) => write_sparse(&file, entry.size, map, &spot.real, input)?,
        };
        let mut payload = None;
        if entry.stored > 0 {
            let (path, size) = (&*spot.real, entry.size);
            let map = entry.sparse.as_deref();
            payload = input.record_file(&Payload { path, size, crc, map })?;
        }
        self.files_size = self.files_size.saturating_add(entry.size);
        // A clone was made elsewhere, where something else may decide whose it is.
        let owner = match cloned {
            true => None,
            false => Some(made_owner(&spot.parent, file.as_fd(), &spot.real)?),
        };
        let attributes = self.attributes(&mut entry);
        attributes.apply(file.as_fd(), owner, &spot.real, &mut self.refused_xattrs)?;
        if let Some(payload) = payload {
            self.tree.note_payload(spot, payload);
        }
        Ok(())
    }

    fn create<R: BufRead>(
        &mut self,
        spot: &Spot,
        input: &mut Input<'_, R>,
    ) -> Result<OwnedFd, UnpackError> {
        self.made(spot, input, || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o600);
            rustix::fs::openat(&spot.parent.fd, &*spot.name, flags | OFlags::NOFOLLOW, mode)
        })
    }

    /// Gives a file without a name its name.
    fn name<R: BufRead>(
        &mut self,
        spot: &Spot,
        file: OwnedFd,
        input: &mut Input<'_, R>,
    ) -> Result<OwnedFd, UnpackError> {
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.made(spot, input, || {
            let (parent, follow) = (&spot.parent.fd, AtFlags::SYMLINK_FOLLOW);
            rustix::fs::linkat(rustix::fs::CWD, &*own, parent, &*spot.name, follow)
        })?;
        Ok(file)
    }

    /// Makes a file, in the place of what is there.
    fn made<R: BufRead, T>(
        &mut self,
        spot: &Spot,
        input: &mut Input<'_, R>,
        make: impl Fn() -> Result<T, Errno>,
    ) -> Result<T, UnpackError> {
        let mut made = make();
        if matches!(made, Err(Errno::EXIST)) {
            self.tree.make_room(spot, false, input.recipe())?;
            made = make();
        }
        made.map_err(Attempt::MakeFile.on(&spot.real))
    }

    fn directory<R: BufRead>(
        &mut self,
        entry: &mut Entry,
        path: &[u8],
        input: &mut Input<'_, R>,
    ) -> Result<(), UnpackError> {
        let spot = self.tree.spot(path)?;
        let make = || {
            let mode = Mode::from_raw_mode(0o700);
            rustix::fs::mkdirat(&spot.parent.fd, &*spot.name, mode)
        };
        let mut made = make();
        let mut occupant = Occupant::Removed;
        if made == Err(Errno::EXIST) {
            occupant = self.tree.make_room(&spot, true, input.recipe())?;
            made = if occupant == Occupant::Directory { Ok(()) } else { make() };
        }
        made.map_err(Attempt::MakeDirectory.on(&spot.real))?;
        // First "what lies below is gone", then a new directory: nothing below may show through it.
        if occupant == Occupant::RemovedWhiteout && self.whiteouts == Whiteouts::Overlay {
            self.mark_opaque(&spot.real)?;
        }
        let attributes = self.attributes(entry);
        self.tree.note_directory(spot.real, attributes);
        Ok(())
    }

    fn hard_link<R: BufRead>(
        &mut self,
        entry: &mut Entry,
        path: &[u8],
        input: &mut Input<'_, R>,
    ) -> Result<(), UnpackError> {
        let target = self.below(&entry.link).map_err(|error| error.of_link())?;
        let from = self.tree.find(&target).map_err(Attempt::MakeLink.on(path))?;
        let spot = self.tree.spot(path)?;
        // A link to itself says nothing new, and making room for it would lose the file.
        if from.real == spot.real && lstat(&from).is_ok() {
            return Ok(());
        }
        let link = || {
            let (old, new) = (&from.parent.fd, &spot.parent.fd);
            rustix::fs::linkat(old, &*from.name, new, &*spot.name, AtFlags::empty())
        };
        let mut linked = link();
        if linked == Err(Errno::EXIST) {
            self.tree.make_room(&spot, false, input.recipe())?;
            linked = link();
        }
        linked.map_err(Attempt::MakeLink.on(&spot.real))?;
        self.describe_link(entry, &spot)
    }

    /// Docker gives the inode what the link's header says. That is what its first name said, unless the archive
    /// was made by hand; so look first: a change of owner, even to the same, would drop a file capability.
    fn describe_link(&mut self, entry: &mut Entry, spot: &Spot) -> Result<(), UnpackError> {
        let stat = lstat(spot).map_err(Attempt::MakeLink.on(&spot.real))?;
        let symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        let owner = (stat.st_uid, stat.st_gid);
        let same_mode = symlink || stat.st_mode & 0o7777 == entry.mode;
        let same_time = stat.st_mtime == entry.mtime.seconds
            && u32::try_from(stat.st_mtime_nsec) == Ok(entry.mtime.nanos);
        let same_owner = self.owner_of(entry).is_none_or(|wanted| wanted == owner);
        if same_mode && same_time && same_owner && entry.xattrs.is_empty() {
            return Ok(());
        }
        let attributes = self.attributes(entry);
        attributes.apply_by_name(spot, symlink, Some(owner), &mut self.refused_xattrs)
    }

    /// Symlinks, devices and fifos: made by one call, described by name.
    fn node<R: BufRead>(
        &mut self,
        mut entry: Entry,
        path: &[u8],
        input: &mut Input<'_, R>,
        attempt: Attempt,
        make: impl Fn(&Spot, &Entry) -> Result<(), Errno>,
    ) -> Result<(), UnpackError> {
        let spot = self.tree.spot(path)?;
        let mut made = make(&spot, &entry);
        if made == Err(Errno::EXIST) {
            self.tree.make_room(&spot, false, input.recipe())?;
            made = make(&spot, &entry);
        }
        made.map_err(attempt.on(&spot.real))?;
        let symlink = entry.kind == Kind::Symlink;
        let (attributes, owner) = (self.attributes(&mut entry), spot.parent.makes.get());
        attributes.apply_by_name(&spot, symlink, owner, &mut self.refused_xattrs)
    }

    /// OCI: a whiteout hides what lies below, never what the same layer has. So over a directory of this layer it
    /// means "opaque", over a file of this layer nothing.
    fn whiteout(&mut self, entry: &Entry, target: &[u8]) -> Result<(), UnpackError> {
        let spot = self.tree.spot(target)?;
        let mode = Mode::empty();
        match rustix::fs::mknodat(&spot.parent.fd, &*spot.name, FileType::CharacterDevice, mode, 0)
        {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = lstat(&spot).map_err(Attempt::MakeWhiteout.on(target))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    self.mark_opaque(&spot.real)?;
                }
                if !is_whiteout(&stat) {
                    return Ok(());
                }
            }
            Err(error) => return Err(Attempt::MakeWhiteout.on(target)(error)),
        }
        let attributes = Attributes {
            owner: Some((entry.uid, entry.gid)),
            mode: 0,
            mtime: Some(entry.mtime),
            xattrs: Vec::new(),
        };
        attributes.apply_by_name(&spot, false, None, &mut self.refused_xattrs)
    }

    fn mark_opaque(&mut self, directory: &[u8]) -> Result<(), UnpackError> {
        // Asking for the place of something inside makes the directory where it is missing.
        let inside = crate::path::join(directory, b"x");
        let spot = self.tree.spot(&inside)?;
        let path = format!("/proc/self/fd/{}", spot.parent.fd.as_raw_fd());
        rustix::fs::setxattr(path, OPAQUE_XATTR, OPAQUE_VALUE, XattrFlags::empty())
            .map_err(Attempt::SetXattr.on(directory))
    }
}

/// What follows the first component of a name, if that is `component`; the whole name for an empty one.
fn rest_behind<'n>(name: &'n [u8], component: &[u8]) -> Option<&'n [u8]> {
    let rest = name.strip_prefix(component)?;
    (component.is_empty() || rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

fn cleaned(name: &[u8]) -> Result<Vec<u8>, UnpackError> {
    clean(name).map_err(|source| UnpackError::Name { name: show(name), source })
}

fn mknod(spot: &Spot, entry: &Entry, kind: FileType) -> Result<(), Errno> {
    let device = match kind {
        FileType::Fifo => 0,
        _ => rustix::fs::makedev(entry.device.0, entry.device.1),
    };
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(&spot.parent.fd, &*spot.name, kind, mode, device)
}

/// Whom a new file in this directory belongs to. The same for all of them: only a set-group-id bit or a mount
/// option could change it, and directories get their bits last.
fn made_owner(
    parent: &Rc<Parent>,
    file: BorrowedFd<'_>,
    path: &[u8],
) -> Result<(u32, u32), UnpackError> {
    if let Some(owner) = parent.makes.get() {
        return Ok(owner);
    }
    let stat = rustix::fs::fstat(file).map_err(Attempt::SetOwner.on(path))?;
    parent.makes.set(Some((stat.st_uid, stat.st_gid)));
    Ok((stat.st_uid, stat.st_gid))
}

/// The CRC-32 of what is there already.
fn checksum<R: BufRead>(length: u64, input: &mut Input<'_, R>) -> Result<u32, UnpackError> {
    let mut crc = Crc::new();
    input.payload(length, |bytes| {
        crc.update(bytes);
        Ok(())
    })?;
    Ok(crc.finalize())
}

/// Answers the CRC-32 of what it wrote.
fn write_plain<R: BufRead>(
    file: &OwnedFd,
    length: u64,
    path: &[u8],
    input: &mut Input<'_, R>,
) -> Result<u32, UnpackError> {
    let mut crc = Crc::new();
    let (mut at, mut holes) = (0, false);
    input.payload(length, |mut bytes| {
        crc.update(bytes);
        while !bytes.is_empty() {
            let zeros = leading_zeros(bytes, at);
            if zeros > 0 {
                holes = true;
                at += zeros as u64;
                bytes = &bytes[zeros..];
                continue;
            }
            let data = data_before_zeros(bytes, at);
            let written =
                rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &bytes[..data], at));
            let written = written.map_err(Attempt::WriteFile.on(path))?;
            at += written as u64;
            bytes = &bytes[written..];
        }
        Ok(())
    })?;
    if holes {
        // What ends in a hole is as long as it should be only when it is told so.
        rustix::fs::ftruncate(file, length).map_err(Attempt::WriteFile.on(path))?;
    }
    Ok(crc.finalize())
}

/// Pieces of this length become holes when they are all zeros: archives of layers spell holes out.
const HOLE: usize = 64 << 10;

/// The length of the next piece: up to a multiple of [`HOLE`], or to the end of what is there.
fn piece(bytes: &[u8], at: u64) -> usize {
    let over = usize::try_from(at % HOLE as u64).unwrap_or_default();
    (HOLE - over).min(bytes.len())
}

/// How many of the first bytes need not be written.
fn leading_zeros(bytes: &[u8], at: u64) -> usize {
    let mut end = 0;
    while end < bytes.len() {
        let length = piece(&bytes[end..], at + end as u64);
        if !is_zero(&bytes[end..end + length]) {
            break;
        }
        end += length;
    }
    end
}

/// How many bytes come before the next that need not be written; at least a piece.
fn data_before_zeros(bytes: &[u8], at: u64) -> usize {
    let mut end = piece(bytes, at);
    while end < bytes.len() {
        let length = piece(&bytes[end..], at + end as u64);
        if is_zero(&bytes[end..end + length]) {
            break;
        }
        end += length;
    }
    end
}

fn is_zero(chunk: &[u8]) -> bool {
    // Nearly all data shows itself in its first bytes.
    let first = &chunk[..chunk.len().min(16)];
    first.iter().all(|byte| *byte == 0) && chunk.iter().all(|byte| *byte == 0)
}

/// The same for a file with holes, which stay holes.
fn write_sparse<R: BufRead>(
    file: &OwnedFd,
    size: u64,
    map: &[Segment],
    path: &[u8],
    input: &mut Input<'_, R>,
) -> Result<u32, UnpackError> {
    rustix::fs::ftruncate(file, size).map_err(Attempt::WriteFile.on(path))?;
    let mut crc = Crc::new();
    for segment in map {
        let mut at = segment.offset;
        input.payload(segment.length, |mut bytes| {
            crc.update(bytes);
            while !bytes.is_empty() {
                let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, at));
                let written = written.map_err(Attempt::WriteFile.on(path))?;
                at += written as u64;
                bytes = &bytes[written..];
            }
            Ok(())
        })?;
    }
    Ok(crc.finalize())
}

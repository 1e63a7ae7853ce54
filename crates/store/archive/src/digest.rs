//! A digest of a tree: names, kinds, modes, owners, links, attributes and contents, not times. Start with [`digest_tree`].
//!
//! Every entry costs one `statx`. What a file holds is read only where the [`Memory`] does not know the file as it stands.
//! Directories are looked at by all processors at the same time, large ones in pieces of [`PIECE`] names; what they
//! come to is put together in the order of the names, so it does not depend on who was faster.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::{Digest, Hasher};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::path::{join, show};
use crate::tree::{get_xattr, list_xattrs, open_below, open_directory};

/// Names that one thread takes at once.
const PIECE: usize = 512;
/// Tasks that one thread does alone.
const ALONE: usize = 4;
/// Most threads that look at one tree.
const MAX_THREADS: usize = 8;
/// Bytes read at once.
const BUFFER: usize = 256 << 10;
/// Most directories in one tree.
const MAX_DIRECTORIES: usize = 4_000_000;

/// What tells that a file is the one that was read, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The file system, by a number that a reboot does not change.
    pub file_system: u64,
    /// Its inode.
    pub inode: u64,
    /// Its length.
    pub size: u64,
    /// When its content was changed, seconds and nanoseconds.
    pub modified: (i64, u32),
    /// When anything of it was changed; nobody can set that.
    pub changed: (i64, u32),
}

/// Remembers what files came to. It decides whether what it is told may be believed later.
pub trait Memory: Sync {
    /// The number of the file system that a directory is on; `None` where inodes and times there are not to be trusted.
    fn file_system(&self, directory: BorrowedFd<'_>) -> Option<u64>;
    /// What the file came to.
    fn recall(&self, file: &Identity) -> Option<[u8; 32]>;
    /// What the file came to: it was the same before it was read and afterwards; `started` is when reading began, in
    /// seconds and nanoseconds.
    fn note(&self, file: &Identity, digest: [u8; 32], started: (i64, u32));
}

/// How a tree is looked at.
#[derive(Clone, Copy)]
pub struct DigestOptions<'a> {
    /// Whose everything is taken to be.
    pub owner: Option<(u32, u32)>,
    /// Paths that are left out, with all that is in them.
    pub skip: &'a (dyn Fn(&[u8]) -> bool + Sync),
    /// What is known of files already.
    pub memory: Option<&'a dyn Memory>,
}

impl std::fmt::Debug for DigestOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestOptions").field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Something of a tree cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path:?}")]
pub struct DigestTreeError {
    /// Path below the root.
    path: String,
    /// Why not.
    source: Errno,
}

impl Kinded for DigestTreeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// The digest of what is called `name` in the directory `parent`, with all that is in it. What it is called itself does not
/// count. What vanishes meanwhile is left out, and so are sockets, as in a layer.
pub fn digest_tree(
    parent: BorrowedFd<'_>,
    name: &[u8],
    options: &DigestOptions<'_>,
) -> Result<Digest, DigestTreeError> {
    let failed = |source| DigestTreeError { path: show(name), source };
    let stat = statx(parent, name).map_err(failed)?;
    let mut out = Vec::new();
    if FileType::from_raw_mode(stat.stx_mode.into()) != FileType::Directory {
        let trust = Trust::of(options, parent).map_err(failed)?;
        let mut looker = Looker { options, buffer: vec![0; BUFFER] };
        looker.entry(parent, b"", name, &stat, trust, &mut out).map_err(failed)?;
        return Ok(Digest::sha256_of(&out));
    }
    head(&mut out, b"", &stat, options.owner);
    attributes(parent, name).map_err(failed)?.iter().for_each(|pair| field(&mut out, pair));
    let top = open_directory(parent, name).map_err(failed)?;
    let walk = Walk { options, top: top.as_fd(), state: Mutex::default(), wake: Condvar::new() };
    walk.run()?;
    let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut hasher = Hasher::new();
    hasher.update(&out);
    hasher.update(state.sum().as_bytes());
    Ok(hasher.finish())
}

/// Names of a directory that are to be looked at.
struct Task {
    node: usize,
    path: Vec<u8>,
    /// Which piece of the directory's names; `None` is the directory itself, to be listed.
    piece: Option<(usize, Vec<Vec<u8>>)>,
}

/// What a piece of a directory came to.
#[derive(Default)]
struct Piece {
    /// Of all that is no directory.
    digest: Option<Digest>,
    /// Directories, as they are told, and their numbers.
    below: Vec<(Vec<u8>, usize)>,
}

#[derive(Default)]
struct State {
    todo: Vec<Task>,
    busy: usize,
    /// A directory's number is greater than that of the one that it is in.
    nodes: Vec<BTreeMap<usize, Piece>>,
    /// Files that have several names.
    links: BTreeMap<(u64, u64), Vec<Vec<u8>>>,
    failed: Option<DigestTreeError>,
}

impl State {
    /// Puts everything together, from the leaves up.
    fn sum(&self) -> Digest {
        let mut sums: Vec<Option<Digest>> = vec![None; self.nodes.len()];
        for (number, pieces) in self.nodes.iter().enumerate().rev() {
            let mut hasher = Hasher::new();
            for piece in pieces.values() {
                hasher.update(bytes(piece.digest.as_ref()));
                for (head, node) in &piece.below {
                    hasher.update(head);
                    let sum = sums.get(*node).and_then(Option::as_ref);
                    hasher.update(bytes(sum));
                }
            }
            sums[number] = Some(hasher.finish());
        }
        let mut hasher = Hasher::new();
        hasher.update(bytes(sums.first().and_then(Option::as_ref)));
        // Which names are one file. Only those in the tree count: a link from elsewhere says nothing about it.
        let mut groups: Vec<Vec<&Vec<u8>>> = self
            .links
            .values()
            .filter(|paths| paths.len() > 1)
            .map(|it| it.iter().collect())
            .collect();
        groups.iter_mut().for_each(|paths| paths.sort());
        groups.sort();
        for path in groups.iter().flat_map(|paths| paths.iter().copied().chain([&END])) {
            let mut out = Vec::new();
            field(&mut out, path);
            hasher.update(&out);
        }
        hasher.finish()
    }
}

fn bytes(digest: Option<&Digest>) -> &[u8; 32] {
    digest.map_or(&[0; 32], Digest::as_bytes)
}

/// No path.
static END: Vec<u8> = Vec::new();

struct Walk<'a> {
    options: &'a DigestOptions<'a>,
    top: BorrowedFd<'a>,
    state: Mutex<State>,
    wake: Condvar,
}

impl Walk<'_> {
    fn run(&self) -> Result<(), DigestTreeError> {
        {
            let mut state = self.lock();
            state.nodes.push(BTreeMap::new());
            state.todo.push(Task { node: 0, path: Vec::new(), piece: None });
        }
        let mut looker = Looker { options: self.options, buffer: vec![0; BUFFER] };
        // Most trees are a few directories with a few files; a large one may begin with a directory alone.
        while let Some(task) = self.next_alone() {
            self.look(&mut looker, task);
        }
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let more = self.lock().todo.len().min(threads).saturating_sub(1);
        std::thread::scope(|scope| {
            for _ in 0..more {
                let work = || {
                    self.work(&mut Looker { options: self.options, buffer: vec![0; BUFFER] });
                };
                // One thread less is no reason to fail.
                std::thread::Builder::new()
                    .name("digest".to_owned())
                    .spawn_scoped(scope, work)
                    .ok();
            }
            self.work(&mut looker);
        });
        match self.lock().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The next task, as long as there are too few for another thread.
    fn next_alone(&self) -> Option<Task> {
        let mut state = self.lock();
        let few = state.todo.len() < ALONE && state.failed.is_none();
        few.then(|| state.todo.pop()).flatten()
    }

    /// Takes tasks until nobody has any more.
    fn work(&self, looker: &mut Looker<'_>) {
        loop {
            let task = {
                let mut state = self.lock();
                loop {
                    if state.failed.is_some() {
                        return;
                    }
                    if let Some(task) = state.todo.pop() {
                        state.busy += 1;
                        break task;
                    }
                    if state.busy == 0 {
                        return;
                    }
                    state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            self.look(looker, task);
            self.lock().busy -= 1;
            self.wake.notify_all();
        }
    }

    fn look(&self, looker: &mut Looker<'_>, task: Task) {
        let path = task.path.clone();
        if let Err(source) = self.try_look(looker, task) {
            self.lock().failed.get_or_insert(DigestTreeError { path: show(&path), source });
        }
    }

    fn try_look(&self, looker: &mut Looker<'_>, task: Task) -> Result<(), Errno> {
        let Task { node, path, piece } = task;
        let Some(directory) = there(open_to_list(self.top, &path))? else { return Ok(()) };
        let (number, names) = match piece {
            Some(piece) => piece,
            None => (0, self.list(&directory, node, &path)?),
        };
        let trust = Trust::of(self.options, directory.as_fd())?;
        let (mut out, mut heads, mut links) =
            (Vec::with_capacity(64 * names.len()), Vec::new(), Vec::new());
        for name in &names {
            let own = join(&path, name);
            if (self.options.skip)(&own) {
                continue;
            }
            let Some(stat) = there(statx(directory.as_fd(), name))? else { continue };
            if FileType::from_raw_mode(stat.stx_mode.into()) == FileType::Directory {
                let mut told = Vec::new();
                head(&mut told, name, &stat, self.options.owner);
                let pairs = there(attributes(directory.as_fd(), name))?.unwrap_or_default();
                pairs.iter().for_each(|pair| field(&mut told, pair));
                heads.push((told, own));
                continue;
            }
            looker.entry(directory.as_fd(), name, name, &stat, trust, &mut out)?;
            if stat.stx_nlink > 1 {
                links.push(((device(&stat), stat.stx_ino), own));
            }
        }
        let digest = Some(Digest::sha256_of(&out));
        let mut state = self.lock();
        for (inode, path) in links {
            state.links.entry(inode).or_default().push(path);
        }
        let mut below = Vec::with_capacity(heads.len());
        for (told, path) in heads {
            if state.nodes.len() >= MAX_DIRECTORIES {
                return Err(Errno::TOOBIG);
            }
            let child = state.nodes.len();
            state.nodes.push(BTreeMap::new());
            state.todo.push(Task { node: child, path, piece: None });
            below.push((told, child));
        }
        state.nodes[node].insert(number, Piece { digest, below });
        drop(state);
        self.wake.notify_all();
        Ok(())
    }

    /// The first names of a directory; the others become tasks.
    fn list(&self, directory: &OwnedFd, node: usize, path: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        let rest = names.split_off(names.len().min(PIECE));
        if !rest.is_empty() {
            let mut state = self.lock();
            for (at, piece) in rest.chunks(PIECE).enumerate() {
                let piece = Some((at + 1, piece.to_vec()));
                state.todo.push(Task { node, path: path.to_vec(), piece });
            }
            drop(state);
            self.wake.notify_all();
        }
        Ok(names)
    }

    /// A panic elsewhere leaves whole pieces.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What looks at files.
struct Looker<'a> {
    options: &'a DigestOptions<'a>,
    buffer: Vec<u8>,
}

/// Where files may be recalled: in a directory of this file system and device. What is mounted on a name in it is elsewhere.
#[derive(Clone, Copy)]
struct Trust {
    file_system: u64,
    device: u64,
}

impl Trust {
    fn of(options: &DigestOptions<'_>, directory: BorrowedFd<'_>) -> Result<Option<Trust>, Errno> {
        let Some(file_system) = options.memory.and_then(|it| it.file_system(directory)) else {
            return Ok(None);
        };
        let device = rustix::fs::fstat(directory)?.st_dev;
        Ok(Some(Trust { file_system, device }))
    }
}

impl Looker<'_> {
    /// Tells of anything that is no directory, under the name `shown`.
    fn entry(
        &mut self,
        parent: BorrowedFd<'_>,
        shown: &[u8],
        name: &[u8],
        stat: &Statx,
        trust: Option<Trust>,
        out: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let kind = FileType::from_raw_mode(stat.stx_mode.into());
        if matches!(kind, FileType::Socket | FileType::Unknown) {
            return Ok(());
        }
        let memory = trust
            .filter(|_| matches!(kind, FileType::RegularFile | FileType::Symlink))
            .filter(|trust| trust.device == device(stat))
            .and_then(|trust| Some((self.options.memory?, trust.file_system)));
        let own = memory.map(|(_, number)| identity(stat, number));
        let known = memory.zip(own).and_then(|((memory, _), own)| memory.recall(&own));
        let value = match known {
            Some(known) => known,
            None => {
                let started = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                let Some(value) = there(self.value(parent, name, kind))? else { return Ok(()) };
                if let Some(((memory, number), own)) = memory.zip(own)
                    && there(statx(parent, name))?.is_some_and(|it| identity(&it, number) == own)
                {
                    let nanos = u32::try_from(started.tv_nsec).unwrap_or_default();
                    memory.note(&own, value, (started.tv_sec, nanos));
                }
                value
            }
        };
        head(out, shown, stat, self.options.owner);
        out.extend_from_slice(&value);
        Ok(())
    }

    /// Content and attributes.
    fn value(
        &mut self,
        parent: BorrowedFd<'_>,
        name: &[u8],
        kind: FileType,
    ) -> Result<[u8; 32], Errno> {
        let mut hasher = Hasher::new();
        let mut out = Vec::new();
        attributes(parent, name)?.iter().for_each(|pair| field(&mut out, pair));
        let length = u64::try_from(out.len()).unwrap_or_default();
        hasher.update(&length.to_le_bytes());
        hasher.update(&out);
        match kind {
            FileType::RegularFile => {
                let mut file = open_file(parent, name)?;
                loop {
                    match file.read(&mut self.buffer) {
                        Ok(0) => break,
                        Ok(read) => hasher.update(&self.buffer[..read]),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
                    }
                }
            }
            FileType::Symlink => {
                hasher.update(rustix::fs::readlinkat(parent, name, Vec::new())?.as_bytes());
            }
            _ => {}
        }
        Ok(*hasher.finish().as_bytes())
    }
}

/// What has vanished, or become something else, is not there.
fn there<T>(found: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn statx(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Statx, Errno> {
    rustix::fs::statx(parent, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
}

fn open_to_list(top: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    open_directory(open_below(top, path)?.as_fd(), b".")
}

/// Opens a regular file; it is looked at before: to open a device may do something.
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

fn device(stat: &Statx) -> u64 {
    rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor)
}

fn identity(stat: &Statx, file_system: u64) -> Identity {
    Identity {
        file_system,
        inode: stat.stx_ino,
        size: stat.stx_size,
        modified: (stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec),
        changed: (stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec),
    }
}

/// Attributes that a layer keeps, in order.
fn attributes(parent: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let mut pairs = Vec::new();
    for xattr in list_xattrs(parent, name)? {
        let kept = xattr.starts_with(b"user.") || xattr.starts_with(b"trusted.");
        let overlays = xattr.starts_with(b"trusted.overlay.");
        if overlays || !(kept || xattr == b"security.capability") {
            continue;
        }
        if let Some(value) = get_xattr(parent, name, &xattr)? {
            let mut pair = Vec::new();
            field(&mut pair, &xattr);
            field(&mut pair, &value);
            pairs.push(pair);
        }
    }
    pairs.sort();
    Ok(pairs)
}

/// Name, kind and mode, owner, device, length.
fn head(out: &mut Vec<u8>, name: &[u8], stat: &Statx, owner: Option<(u32, u32)>) {
    field(out, name);
    let kind = FileType::from_raw_mode(stat.stx_mode.into());
    let (uid, gid) = owner.unwrap_or((stat.stx_uid, stat.stx_gid));
    for number in [u32::from(stat.stx_mode), uid, gid] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let size = if kind == FileType::RegularFile { stat.stx_size } else { 0 };
    out.extend_from_slice(&size.to_le_bytes());
    if matches!(kind, FileType::CharacterDevice | FileType::BlockDevice) {
        out.extend_from_slice(&stat.stx_rdev_major.to_le_bytes());
        out.extend_from_slice(&stat.stx_rdev_minor.to_le_bytes());
    }
}

/// Bytes with their length before them.
fn field(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;

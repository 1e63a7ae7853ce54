//! Copies straight into a layer: one tar, made of the files as they are found, unpacked where it stays. Large files of a file system that
//! can do that are not copied: they share their blocks with the layer ([`Clones`]). Where it cannot, they are written from the buffers that
//! they were read into for the digest: to have the kernel copy them (`copy_file_range`) and to read the copy would be more work.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read, Write},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::{Path, PathBuf},
};

use ferry_archive::{Clones, Entry, Kind, Mtime, Owner, Sink, TarWriter, Times};
use ferry_dockerfile::FileMode;
use ferry_errkind::{ErrorKind, Failure};
use ferry_layers::Layer;
use ferry_oci::{Digest, Hasher};
use ferry_sys::{Errno, root::InRoot};
use rustix::fs::FileType;

use super::{
    super::{
        steps::view,
        tree::{Files, Found, invalid, piped},
    },
    Copies, Item,
};
use crate::Shared;

/// Makes the layer; `None` where two sources meet in one path. `before` is what the same step made last time: if it would come out
/// the same, nothing is written. (To make 20,000 files and to remove them again is what costs most, and on ext4 without a journal the next
/// ones are made a hundred times slower for minutes: the kernel looks at every inode that was freed lately.)
pub(super) fn layer(
    copies: &Copies,
    shared: &Shared,
    below: &[Digest],
    from: &Files,
    before: Option<Layer>,
) -> Result<Option<Layer>, Failure> {
    let root = view(shared, below)?;
    let owner = copies.owner(&root, from)?;
    let met = std::sync::atomic::AtomicBool::new(false);
    let write = |out: io::BufWriter<io::PipeWriter>, clones: Option<&Clones>| {
        let mut work = Work {
            copies,
            clones,
            root: &root,
            owner,
            tar: TarWriter::new(out).timed(copies.times),
            seen: BTreeSet::new(),
            new: BTreeSet::new(),
        };
        for item in &copies.items {
            if !work.item(item, from)? {
                met.store(true, std::sync::atomic::Ordering::Relaxed);
                return Err(invalid("two sources have the same file"));
            }
        }
        work.tar.finish().map(drop).map_err(|error| broken(&error))
    };
    if let Some(before) = before
        && piped(|out| write(out, None), digest).is_ok_and(|digest| digest == before.diff_id)
    {
        return Ok(Some(before));
    }
    // Without it all files are written, nothing else.
    let clones = shared.layers.clones().ok();
    let made = piped(
        |out| write(out, clones.as_ref()),
        |input| Ok(shared.layers.ingest_cloned(input, None, clones.as_ref())?),
    );
    match made {
        _ if met.load(std::sync::atomic::Ordering::Relaxed) => Ok(None),
        made => made.map(Some),
    }
}

fn digest(mut input: io::PipeReader) -> Result<Digest, Failure> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer).map_err(|error| broken(&error))? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

struct Work<'a, W: Write> {
    copies: &'a Copies,
    clones: Option<&'a Clones>,
    /// What is there already.
    root: &'a InRoot,
    owner: Owner,
    tar: TarWriter<W>,
    /// Paths that are in the tar.
    seen: BTreeSet<Vec<u8>>,
    /// Directories that are not below: nothing can be in the way in them.
    new: BTreeSet<Vec<u8>>,
}

impl<W: Write> Work<'_, W> {
    /// Writes an item; false where something in it was written before.
    fn item(&mut self, item: &Item, from: &Files) -> Result<bool, Failure> {
        let (target, name) = self.copies.place_of(self.root, item);
        let (files, found) = match item {
            Item::Found(found) => (from, found),
            Item::Remote { files, found, .. } => (files, found),
            Item::Document { content, .. } => {
                let target = self.directory(&target, None)?;
                return self.document(&target, &name.unwrap_or_default(), content);
            }
        };
        if self.copies.step.flags.parents {
            self.parents(&target, found, files)?;
        }
        let target = self.directory(&target, None)?;
        let inner = name.clone().unwrap_or_default();
        let remote = match item {
            Item::Remote { remote, .. } if !remote.tree => {
                Some(remote.modified.unwrap_or_default())
            }
            _ => None,
        };
        let (copies, times) = (self.copies, files.dated.map_or(Times::Own, Times::At));
        let mut members =
            Members { work: self, target: &target, remote, times, fresh: true, failed: None };
        let given = found.give(files, &inner, &copies.exclude, &mut members);
        match members {
            Members { fresh: false, .. } => Ok(false),
            Members { failed: Some(failure), .. } => Err(failure),
            _ => given.map(|()| true),
        }
    }

    fn document(&mut self, target: &Path, name: &[u8], content: &str) -> Result<bool, Failure> {
        let entry = Entry {
            path: name.to_vec(),
            mode: 0o644,
            size: content.len() as u64,
            stored: content.len() as u64,
            ..Entry::default()
        };
        let Some(entry) = self.entry(entry, target)? else { return Ok(true) };
        if !self.seen.insert(entry.path.clone()) {
            return Ok(false);
        }
        self.tar.append_file(&entry, content.as_bytes()).map_err(|error| broken(&error))?;
        Ok(true)
    }

    /// An entry as it is to be in the layer; `None` where it is there already: a directory.
    fn entry(&mut self, mut entry: Entry, target: &Path) -> Result<Option<Entry>, Failure> {
        let clean = |path: &[u8]| ferry_archive::clean(path).map_err(|error| broken(&error));
        let own = clean(&entry.path)?;
        if own.is_empty() || own == b"." {
            return Ok(None);
        }
        let path = joined(target, &own);
        if entry.kind == Kind::HardLink {
            entry.link = relative(&joined(target, &clean(&entry.link)?));
        }
        let directory = entry.kind == Kind::Directory;
        let below = self.below(&path)?;
        match (directory, below) {
            (true, Some(FileType::Directory)) => {
                self.existing(&path)?;
                return Ok(None);
            }
            (true, Some(_)) => {
                return Err(invalid(format!("cannot copy to non-directory: {}", path.display())));
            }
            (false, Some(FileType::Directory)) => {
                let words = format!("cannot replace to directory {} with file", path.display());
                return Err(invalid(words));
            }
            (true, None) => {
                self.new.insert(path.as_os_str().as_bytes().to_vec());
                if !self.seen.insert(relative(&path)) {
                    return Ok(None);
                }
            }
            (false, _) => {}
        }
        entry.path = relative(&path);
        if let Owner::Fixed { uid, gid } = self.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = self.copies.mode.as_ref().filter(|_| entry.kind != Kind::Symlink) {
            entry.mode = mode.apply(entry.mode, directory);
        }
        Ok(Some(entry))
    }

    /// What is at a path below.
    fn below(&self, path: &Path) -> Result<Option<FileType>, Failure> {
        let parent = path.parent().unwrap_or(Path::new("/")).as_os_str().as_bytes();
        if self.new.contains(parent) {
            return Ok(None);
        }
        match self.root.resolve_nofollow(path) {
            Ok(found) => {
                let kind = ferry_sys::root::file_type(found.as_fd());
                kind.map(Some).map_err(|errno| broken(&errno))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(broken(&errno)),
        }
    }

    /// A directory that is there already goes into the layer as it is, because something in it changes.
    fn existing(&mut self, path: &Path) -> Result<(), Failure> {
        if path == Path::new("/") || !self.seen.insert(relative(path)) {
            return Ok(());
        }
        let found = self.root.open_with(path, rustix::fs::OFlags::DIRECTORY, 0);
        let found = found.map_err(|errno| broken(&errno))?;
        let stat = rustix::fs::fstat(&found).map_err(|errno| broken(&errno))?;
        let entry = Entry {
            path: relative(path),
            kind: Kind::Directory,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Mtime {
                seconds: stat.st_mtime,
                nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or_default(),
            },
            ..Entry::default()
        };
        self.tar.append(&entry).map_err(|error| broken(&error))
    }

    /// A directory with all that it is in; a link below is followed. One that is missing is as `model`, or of the mode that [`made_mode`] says. Answers
    /// where it really is.
    fn directory(&mut self, path: &Path, model: Option<&Found>) -> Result<PathBuf, Failure> {
        let mut real = PathBuf::from("/");
        let mut components = path.components().skip(1).peekable();
        while let Some(component) = components.next() {
            let next = real.join(component);
            let known = self.new.contains(next.as_os_str().as_bytes());
            let found = if known { Err(Errno::NOENT) } else { self.root.resolve(&next) };
            match found {
                Ok(found) => {
                    let kind = ferry_sys::root::file_type(found.as_fd());
                    if kind.map_err(|errno| broken(&errno))? != FileType::Directory {
                        let words = format!("cannot copy to non-directory: {}", next.display());
                        return Err(invalid(words));
                    }
                    real = self.root.real_path(found.as_fd()).map_err(|errno| broken(&errno))?;
                    self.existing(&real.clone())?;
                }
                Err(Errno::NOENT) => {
                    real = next;
                    let last = components.peek().is_none();
                    self.missing(&real.clone(), model.filter(|_| last))?;
                }
                Err(errno) => return Err(broken(&errno)),
            }
        }
        Ok(real)
    }

    fn missing(&mut self, path: &Path, model: Option<&Found>) -> Result<(), Failure> {
        self.new.insert(path.as_os_str().as_bytes().to_vec());
        if !self.seen.insert(relative(path)) {
            return Ok(());
        }
        let (uid, gid) = match self.owner {
            Owner::Fixed { uid, gid } => (uid, gid),
            _ => (0, 0),
        };
        let mode = model.map_or_else(|| made_mode(self.copies.mode.as_ref()), |found| found.mode);
        let items = self.copies.items.iter();
        let times = items.filter_map(|item| match item {
            Item::Found(found) | Item::Remote { found, .. } => Some(found.modified),
            Item::Document { .. } => None,
        });
        // Any time would do; one that is the same every time makes it the same layer.
        let seconds = model.map(|found| found.modified).or(times.max()).unwrap_or_default();
        let entry = Entry {
            path: relative(path),
            kind: Kind::Directory,
            mode,
            uid,
            gid,
            mtime: Mtime { seconds, nanos: 0 },
            ..Entry::default()
        };
        self.tar.append(&entry).map_err(|error| broken(&error))
    }

    /// The directories that `--parents` keeps, as they are in the source.
    fn parents(&mut self, target: &Path, found: &Found, files: &Files) -> Result<(), Failure> {
        let base = Path::new(&self.copies.step.destination).to_owned();
        self.directory(&base, None)?;
        let Ok(kept) = target.strip_prefix(&base) else { return Ok(()) };
        let source = Path::new(&found.written);
        let own = if found.directory { source } else { source.parent().unwrap_or(source) };
        let above = own.components().count().saturating_sub(kept.components().count());
        let (mut from, mut to) = (PathBuf::from("/"), base);
        for (at, component) in own.components().enumerate() {
            from.push(component);
            if at < above {
                continue;
            }
            to.push(component);
            let inside = super::super::tree::Lookup { stage: false, parents: false };
            let model = Found::all(files, &from.to_string_lossy(), inside)?;
            self.directory(&to.clone(), model.first())?;
        }
        Ok(())
    }
}

/// What an item consists of, on its way into the tar.
struct Members<'a, 'w, W: Write> {
    work: &'a mut Work<'w, W>,
    target: &'a Path,
    /// It was fetched, and is that old.
    remote: Option<i64>,
    times: Times,
    /// Nothing of it was written before.
    fresh: bool,
    failed: Option<Failure>,
}

impl<W: Write> Members<'_, '_, W> {
    /// The entry as it is to be in the layer, if it is.
    fn entry(&mut self, entry: &Entry) -> io::Result<Option<Entry>> {
        let mut entry = Entry { mtime: self.times.of(entry.mtime), ..entry.clone() };
        if let Some(seconds) = self.remote {
            entry.mode = 0o600;
            entry.mtime = Mtime { seconds, nanos: 0 };
        }
        let entry = self.work.entry(entry, self.target).map_err(|failure| {
            self.failed = Some(failure);
            io::Error::other("an entry cannot be placed")
        })?;
        if let Some(entry) = &entry
            && entry.kind != Kind::Directory
            && !self.work.seen.insert(entry.path.clone())
        {
            self.fresh = false;
            return Err(io::Error::other("two sources have the same file"));
        }
        Ok(entry)
    }
}

impl<W: Write> Sink for Members<'_, '_, W> {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        match self.entry(entry)? {
            Some(entry) => self.work.tar.append(&entry),
            None => Ok(()),
        }
    }

    fn append_open(&mut self, entry: &Entry, file: File, live: bool) -> io::Result<()> {
        let Some(entry) = self.entry(entry)? else { return Ok(()) };
        let clone = self.work.clones.and_then(|it| it.make(&entry.path, &file, entry.size));
        self.work.tar.append_open(&entry, clone.unwrap_or(file), live)
    }
}

/// The mode of a directory that is made on the way to what is copied: that of `--chmod`, if it is a number, as far as BuildKit's usual mask
/// (022) lets it through.
pub(super) fn made_mode(mode: Option<&FileMode>) -> u32 {
    match mode {
        Some(FileMode::Octal(mode)) => mode & 0o755,
        _ => 0o755,
    }
}

fn joined(target: &Path, own: &[u8]) -> PathBuf {
    target.join(std::ffi::OsStr::from_bytes(own))
}

fn relative(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes();
    bytes.strip_prefix(b"/").unwrap_or(bytes).to_vec()
}

fn broken(error: &dyn std::error::Error) -> Failure {
    Failure::new(ErrorKind::Internal, ferry_errkind::chain(error))
}

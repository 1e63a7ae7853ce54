//! Which files below some paths have changed, as the kernel tells it (inotify), in batches: a save is many events.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
};

/// Directories that are watched; the kernel has a limit of its own, too.
const MAX_DIRECTORIES: usize = 65_536;
/// Nothing has happened for so long: the batch is complete.
const QUIET: Duration = Duration::from_millis(200);
/// Nobody waits longer: neither for a batch to be complete, nor for whoever writes a file to be done with it.
const LONGEST: Duration = Duration::from_secs(2);
/// A batch with more is cut here.
const MAX_BATCH: usize = 10_000;

/// Watches directories with everything below them.
#[derive(Debug)]
pub(crate) struct Changes {
    inotify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    files: BTreeSet<PathBuf>,
    /// Files that somebody writes, and since when: they are told when they are closed, or at last after [`LONGEST`].
    unfinished: BTreeMap<PathBuf, Instant>,
    skip: fn(&Path) -> bool,
}

impl Changes {
    /// Watches `paths`, but no directory that `skip` names.
    pub(crate) fn of(paths: &[PathBuf], skip: fn(&Path) -> bool) -> io::Result<Changes> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut changes = Changes {
            inotify,
            directories: HashMap::new(),
            files: BTreeSet::new(),
            unfinished: BTreeMap::new(),
            skip,
        };
        for path in paths {
            if path.is_dir() {
                changes.watch(path)?;
            } else if let Some(parent) = path.parent() {
                // A file may be replaced by another one of its name.
                changes.files.insert(path.clone());
                changes.watch_one(parent)?;
            }
        }
        Ok(changes)
    }

    fn watch_one(&mut self, directory: &Path) -> io::Result<()> {
        if self.directories.len() >= MAX_DIRECTORIES {
            return Err(io::Error::other("too many directories to watch"));
        }
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        let watch = inotify::add_watch(&self.inotify, directory, flags)?;
        self.directories.insert(watch, directory.to_owned());
        Ok(())
    }

    fn watch(&mut self, directory: &Path) -> io::Result<()> {
        if (self.skip)(directory) {
            return Ok(());
        }
        self.watch_one(directory)?;
        for entry in std::fs::read_dir(directory)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.watch(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Waits for changes, and until they are over, but not much longer than [`LONGEST`].
    pub(crate) fn next(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut batch = BTreeSet::new();
        let mut began: Option<Instant> = None;
        loop {
            let late = self.tell_unfinished(&mut batch);
            let over = began.is_some_and(|at| at.elapsed() >= LONGEST);
            if late || over || batch.len() >= MAX_BATCH {
                return Ok(batch);
            }
            let left = |at: Instant| LONGEST.saturating_sub(at.elapsed());
            let quiet = began.map(|at| left(at).min(QUIET));
            let unfinished = self.unfinished.values().min().map(|at| left(*at));
            let limit = quiet.into_iter().chain(unfinished).min();
            if self.ready(limit)? {
                self.read(&mut batch)?;
                began = began.or_else(|| (!batch.is_empty()).then(Instant::now));
            } else if limit == quiet {
                return Ok(batch);
            }
        }
    }

    /// Adds files that have been written for too long to be waited for; whether there are any.
    fn tell_unfinished(&mut self, batch: &mut BTreeSet<PathBuf>) -> bool {
        let before = batch.len();
        let late: Vec<PathBuf> = self
            .unfinished
            .iter()
            .filter(|(_, since)| since.elapsed() >= LONGEST)
            .map(|(path, _)| path.clone())
            .collect();
        for path in late {
            self.unfinished.remove(&path);
            batch.insert(path);
        }
        batch.len() > before
    }

    fn ready(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => Ok(true),
            other => Ok(other? > 0),
        }
    }

    fn read(&mut self, batch: &mut BTreeSet<PathBuf>) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut news: Vec<(i32, ReadFlags, PathBuf)> = Vec::new();
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
                    news.push((
                        event.wd(),
                        event.events(),
                        PathBuf::from(name.unwrap_or_default()),
                    ));
                }
                Err(rustix::io::Errno::WOULDBLOCK) => break,
                Err(error) => return Err(error.into()),
            }
        }
        for (watch, flags, name) in news {
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                batch.extend(self.directories.values().cloned());
                continue;
            }
            let Some(directory) = self.directories.get(&watch) else { continue };
            let path = directory.join(name);
            if flags.contains(ReadFlags::IGNORED) {
                self.directories.remove(&watch);
                continue;
            }
            let made = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if flags.contains(ReadFlags::ISDIR) && made {
                // What was made in it before this watch is told with the directory itself.
                if self.watch(&path).is_err() {
                    continue;
                }
            }
            // What is written is told when it has been.
            let written = flags.contains(ReadFlags::MODIFY)
                || (flags.contains(ReadFlags::CREATE) && path.is_file() && !path.is_symlink());
            if written && self.unfinished.len() < MAX_BATCH {
                self.unfinished.entry(path).or_insert_with(Instant::now);
            } else {
                self.unfinished.remove(&path);
                batch.insert(path);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn files_in_new_directories_are_seen_and_skipped_ones_are_not() {
        let root = std::env::temp_dir().join(format!("ferry-changes-{}", std::process::id()));
        std::fs::create_dir_all(root.join(".git")).unwrap();
        std::fs::create_dir_all(root.join("src")).unwrap();
        let skip = |path: &Path| path.ends_with(".git");
        let mut changes = Changes::of(std::slice::from_ref(&root), skip).unwrap();
        std::fs::write(root.join(".git/x"), "1").unwrap();
        std::fs::write(root.join("src/a"), "1").unwrap();
        std::fs::create_dir(root.join("src/new")).unwrap();
        let first = changes.next().unwrap();
        assert!(first.contains(&root.join("src/a")) && first.contains(&root.join("src/new")));
        assert!(!first.iter().any(|path| path.starts_with(root.join(".git"))), "{first:?}");
        std::fs::write(root.join("src/new/b"), "2").unwrap();
        std::fs::remove_file(root.join("src/a")).unwrap();
        let second = changes.next().unwrap();
        assert!(second.contains(&root.join("src/new/b")) && second.contains(&root.join("src/a")));
        std::fs::remove_dir_all(root).unwrap();
    }
    #[test]
    fn a_file_that_is_written_all_the_time_is_told() {
        let root = std::env::temp_dir().join(format!("ferry-written-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        let mut changes = Changes::of(std::slice::from_ref(&root), |_| false).unwrap();
        let (open, closed) = (root.join("open"), root.join("closed"));
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let writer = std::thread::spawn({
            let (over, open, closed) = (over.clone(), open.clone(), closed.clone());
            move || {
                let mut file = std::fs::File::create(open).unwrap();
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    file.write_all(b"more").unwrap();
                    std::fs::write(&closed, "again").unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        // It is never quiet, and one of them is never closed.
        let mut told = BTreeSet::new();
        while !(told.contains(&open) && told.contains(&closed)) {
            told.extend(changes.next().unwrap());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        writer.join().unwrap();
        std::fs::remove_dir_all(root).unwrap();
    }
}

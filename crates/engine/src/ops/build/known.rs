//! What files of contexts came to, so that a build reads only those that have changed since the last one.
//!
//! # What is trusted
//!
//! A file is taken for the one that was read when file system, inode, size, time of modification and time of change (`ctime`)
//! are the same to the nanosecond. Programs can set the time of modification, but not that of change: every write, `touch`,
//! `chmod`, rename over it or new attribute gives it a new one. What could go wrong, and what is done about it:
//!
//! - *A change in the same tick of the clock.* The kernel's clock for files moves in steps of some milliseconds, so a file written
//!   right after it was read may keep its time. As git does with entries that are "racily clean", a digest is kept only if the
//!   file had been left alone for [`SETTLED`] when reading began (and was the same afterwards). Younger files are read again.
//! - *A clock that was set back* must meet an old time of change to the nanosecond.
//! - *File systems that make times up* (FUSE, NFS, 9p, FAT, overlayfs) are not trusted at all: see [`TRUSTED`].
//! - *Writes through a shared mapping* get their time when a page is touched first after it was written back; a program that writes to
//!   a page that it had made dirty before the file was read is seen only at its next write after the kernel's write-back (30 s at
//!   most). git has the same limit. `--no-cache` does not copy such a file's old content either: a copy is always read anew.
//!
//! A digest that is wrong would mean a step taken from the cache that should have been done; content is never taken from here.
//!
//! # On disk
//!
//! `<data root>/contexts/<file system>-<inode of the directory>`: [`MAGIC`], a CRC-32, then [`RECORD`] bytes for each file, sorted. It
//! is replaced by a rename and never synced: one that a power cut tore has a wrong checksum and is as good as none.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use ferry_archive::{Identity, Memory};

use crate::{Shared, random};

/// How long a file must have been left alone before what is read of it is kept, in seconds.
const SETTLED: i64 = 2;
/// Begins every file; another one is of another version.
const MAGIC: &[u8; 8] = b"ferryk01";
/// Bytes for one file.
const RECORD: usize = 80;
/// Bytes of a record that say which file it is.
const NAME: usize = 16;
/// Most files of one context that are remembered.
const MAX_FILES: usize = 2_000_000;
/// Most contexts that are remembered.
const MAX_CONTEXTS: usize = 64;
/// Records of files that were not looked at that are kept beyond as many as were.
const SPARE: usize = 4096;
/// Kinds of file systems whose inodes and times of change mean what they should: ext, xfs, btrfs, tmpfs, f2fs, zfs, bcachefs.
const TRUSTED: [i64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E];

/// What is known of one context's files.
#[derive(Debug)]
pub(super) struct Known {
    path: PathBuf,
    /// Records as they are on disk.
    records: Vec<u8>,
    /// Which of them were asked for.
    asked: Vec<AtomicBool>,
    /// What was learnt.
    fresh: Mutex<BTreeMap<[u8; NAME], [u8; RECORD]>>,
}

impl Known {
    /// What is known of the files in a directory; `None` on a file system that is not to be trusted.
    pub(super) fn of(shared: &Shared, directory: BorrowedFd<'_>) -> Option<Known> {
        let number = number(directory)?;
        let inode = rustix::fs::fstat(directory).ok()?.st_ino;
        let path = root(shared).join(format!("{number:016x}-{inode}"));
        let records = read(&path).unwrap_or_default();
        let asked = (0..records.len() / RECORD).map(|_| AtomicBool::new(false)).collect();
        Some(Known { path, records, asked, fresh: Mutex::default() })
    }

    /// Writes down what was learnt.
    pub(super) fn save(&self) {
        let fresh = std::mem::take(&mut *self.fresh.lock().unwrap_or_else(PoisonError::into_inner));
        if fresh.is_empty() {
            return;
        }
        // Without it the next build reads more than it needs to, nothing else.
        if let Err(error) = self.write(fresh) {
            tracing::debug!(path = %self.path.display(), %error, "digests of a context are not kept");
        }
    }

    fn write(&self, fresh: BTreeMap<[u8; NAME], [u8; RECORD]>) -> io::Result<()> {
        let asked = self.asked.iter().filter(|asked| asked.load(Ordering::Relaxed)).count();
        let mut spare = asked + fresh.len() + SPARE;
        let most = (fresh.len() + self.records.len() / RECORD).min(MAX_FILES);
        let mut body = Vec::with_capacity(12 + most * RECORD);
        body.extend_from_slice(MAGIC);
        body.extend_from_slice(&[0; 4]);
        // Both are sorted.
        let mut fresh = fresh.into_iter().peekable();
        for (record, asked) in self.records.chunks_exact(RECORD).zip(&self.asked) {
            let mut replaced = false;
            while let Some((name, new)) = fresh.next_if(|(name, _)| name[..] <= record[..NAME]) {
                replaced = name[..] == record[..NAME];
                body.extend_from_slice(&new);
            }
            // Those that nobody asked for may be of another step of the Dockerfile, or of files that are gone.
            if !replaced && !asked.load(Ordering::Relaxed) {
                if spare == 0 {
                    continue;
                }
                spare -= 1;
            }
            if !replaced {
                body.extend_from_slice(record);
            }
        }
        fresh.for_each(|(_, new)| body.extend_from_slice(&new));
        body.truncate(12 + MAX_FILES * RECORD);
        let sum = crc32fast::hash(&body[12..]);
        body[8..12].copy_from_slice(&sum.to_le_bytes());
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory)?;
        let id = random::id().map_err(|failure| io::Error::other(failure.message().to_owned()))?;
        let own = directory.join(format!("tmp-{id}"));
        std::fs::write(&own, &body)?;
        std::fs::rename(&own, &self.path)?;
        thin(directory)
    }

    fn find(&self, name: [u8; NAME]) -> Option<(usize, &[u8])> {
        let of = |at: usize| &self.records[at * RECORD..(at + 1) * RECORD];
        let (mut low, mut high) = (0, self.records.len() / RECORD);
        while low < high {
            let middle = low.midpoint(high);
            match of(middle)[..NAME].cmp(&name[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some((middle, of(middle))),
            }
        }
        None
    }
}

impl Memory for Known {
    fn file_system(&self, directory: BorrowedFd<'_>) -> Option<u64> {
        number(directory)
    }

    fn recall(&self, file: &Identity) -> Option<[u8; 32]> {
        let head = head(file);
        let name = name_of(&head);
        if let Some((at, record)) = self.find(name) {
            self.asked[at].store(true, Ordering::Relaxed);
            if record[..head.len()] == head {
                return record[head.len()..].try_into().ok();
            }
        }
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        let record = fresh.get(&name).filter(|record| record[..head.len()] == head)?;
        record[head.len()..].try_into().ok()
    }

    fn note(&self, file: &Identity, digest: [u8; 32], started: (i64, u32)) {
        let (seconds, nanos) = file.changed;
        if (seconds.saturating_add(SETTLED), nanos) >= started {
            return;
        }
        let head = head(file);
        let mut record = [0; RECORD];
        record[..head.len()].copy_from_slice(&head);
        record[head.len()..].copy_from_slice(&digest);
        let mut fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.len() < MAX_FILES {
            fresh.insert(name_of(&head), record);
        }
    }
}

/// All of a record but the digest; the file's name comes first, as bytes that sort as the numbers do.
fn head(file: &Identity) -> [u8; RECORD - 32] {
    let mut head = [0; RECORD - 32];
    head[..8].copy_from_slice(&file.file_system.to_be_bytes());
    head[8..16].copy_from_slice(&file.inode.to_be_bytes());
    head[16..24].copy_from_slice(&file.size.to_be_bytes());
    for (at, (seconds, nanos)) in [(24, file.modified), (36, file.changed)] {
        head[at..at + 8].copy_from_slice(&seconds.to_be_bytes());
        head[at + 8..at + 12].copy_from_slice(&nanos.to_be_bytes());
    }
    head
}

fn name_of(head: &[u8; RECORD - 32]) -> [u8; NAME] {
    let mut name = [0; NAME];
    name.copy_from_slice(&head[..NAME]);
    name
}

/// The file system's own number (of its UUID, mostly), if what it says of files can be trusted.
fn number(directory: BorrowedFd<'_>) -> Option<u64> {
    let kind = rustix::fs::fstatfs(directory).ok()?;
    let number = rustix::fs::fstatvfs(directory).ok()?.f_fsid;
    let known = TRUSTED.iter().any(|trusted| i128::from(*trusted) == i128::from(kind.f_type));
    (known && number != 0).then_some(number)
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = std::fs::read(path).ok()?;
    let length = bytes.len();
    let whole = length >= 12
        && bytes.starts_with(MAGIC)
        && (length - 12).is_multiple_of(RECORD)
        && length <= 12 + MAX_FILES * RECORD
        && bytes[8..12] == crc32fast::hash(&bytes[12..]).to_le_bytes();
    whole.then(|| bytes.split_off(12))
}

/// Forgets the contexts that were built longest ago.
fn thin(directory: &Path) -> io::Result<()> {
    let mut all: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        all.push((entry.metadata()?.modified()?, entry.path()));
    }
    all.sort();
    let over = all.len().saturating_sub(MAX_CONTEXTS);
    all.iter().take(over).try_for_each(|(_, path)| std::fs::remove_file(path))
}

fn root(shared: &Shared) -> PathBuf {
    shared.config.data_root.join("contexts")
}

/// Opens what is known of a directory's files, for a build of them.
pub(super) fn of(shared: &Shared, directory: &impl AsFd) -> Option<std::sync::Arc<Known>> {
    Known::of(shared, directory.as_fd()).map(std::sync::Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(path: &Path) -> Known {
        let records = read(path).unwrap_or_default();
        let asked = (0..records.len() / RECORD).map(|_| AtomicBool::new(false)).collect();
        Known { path: path.to_owned(), records, asked, fresh: Mutex::default() }
    }

    fn file(inode: u64) -> Identity {
        Identity { file_system: 7, inode, size: 3, modified: (90, 1), changed: (100, 5) }
    }

    #[test]
    fn what_was_settled_is_recalled_after_a_restart_until_it_changes() {
        let directory = std::env::temp_dir().join(format!("ferry-known-{}", std::process::id()));
        let path = directory.join("context");
        let first = known(&path);
        for inode in [9, 1, 300, 5] {
            first.note(&file(inode), [inode.to_le_bytes()[0]; 32], (200, 0));
        }
        // Changed 2 s before it was read, to the nanosecond: may have been changed again in the same tick.
        first.note(&file(4), [4; 32], (102, 5));
        first.note(&Identity { inode: 6, ..file(4) }, [6; 32], (102, 6));
        first.save();
        let second = known(&path);
        assert_eq!(second.recall(&file(300)), Some([44; 32]));
        assert_eq!(second.recall(&file(1)), Some([1; 32]));
        assert_eq!(second.recall(&file(4)), None);
        assert_eq!(second.recall(&file(6)), Some([6; 32]));
        for other in [
            Identity { size: 4, ..file(1) },
            Identity { modified: (90, 2), ..file(1) },
            Identity { changed: (100, 6), ..file(1) },
            Identity { file_system: 8, ..file(1) },
        ] {
            assert_eq!(second.recall(&other), None, "{other:?}");
        }
        // A file that has changed takes its record's place.
        let later = Identity { changed: (150, 0), ..file(1) };
        second.note(&later, [8; 32], (200, 0));
        second.save();
        let third = known(&path);
        assert_eq!((third.recall(&later), third.recall(&file(1))), (Some([8; 32]), None));
        assert_eq!(third.recall(&file(9)), Some([9; 32]));
        let mut torn = std::fs::read(&path).unwrap();
        torn[40] ^= 1;
        std::fs::write(&path, torn).unwrap();
        assert_eq!(known(&path).recall(&later), None);
        std::fs::remove_dir_all(directory).unwrap();
    }
}

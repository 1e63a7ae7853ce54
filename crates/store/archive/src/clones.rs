//! Files of a layer that share their blocks with what they are copied from, where the file system can do that (btrfs, xfs, bcachefs).
//!
//! Whoever writes a layer's tar clones a file first, and reads the clone for the tar: so what is in the layer is what its digest is of,
//! whatever becomes of the file meanwhile. The unpacker gives the clone its name and looks at the payload for its checksum only.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// A file that is smaller is written: to share it would cost more than its bytes.
const SMALLEST: u64 = 128 << 10;

/// Clones on their way from who makes a tar to who unpacks it.
#[derive(Debug)]
pub struct Clones {
    /// A directory on the layer's file system.
    root: OwnedFd,
    /// The file system cannot, or has not these files.
    refused: AtomicBool,
    /// By their names in the tar.
    made: Mutex<BTreeMap<Vec<u8>, File>>,
}

impl Clones {
    /// Clones in the file system of a directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn of(directory: &Path) -> std::io::Result<Clones> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, Mode::empty())?;
        Ok(Clones { root, refused: AtomicBool::new(false), made: Mutex::default() })
    }

    /// Clones a file of this size for the entry `path`. Answers the clone, which is what the entry's payload is to be read from; `None`
    /// where the file is to be copied.
    pub fn make(&self, path: &[u8], from: &File, size: u64) -> Option<File> {
        if size < SMALLEST || self.refused.load(Ordering::Relaxed) {
            return None;
        }
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.root, ".", flags, Mode::from_raw_mode(0o600));
        let cloned = made.and_then(|clone| {
            rustix::fs::ioctl_ficlone(&clone, from)?;
            let whole = u64::try_from(rustix::fs::fstat(&clone)?.st_size) == Ok(size);
            // One that has changed since it was looked at is read as others are.
            if whole { Ok(File::from(clone)) } else { Err(Errno::STALE) }
        });
        match cloned.and_then(|clone| Ok((clone.try_clone().map_err(|_| Errno::MFILE)?, clone))) {
            Ok((read, kept)) => {
                self.lock().insert(path.to_vec(), kept);
                Some(read)
            }
            Err(Errno::STALE | Errno::MFILE) => None,
            Err(_) => {
                self.refused.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// The clone that was made for an entry.
    pub(crate) fn take(&self, path: &[u8]) -> Option<File> {
        self.lock().remove(path)
    }

    /// A panic elsewhere leaves a whole map.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Vec<u8>, File>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

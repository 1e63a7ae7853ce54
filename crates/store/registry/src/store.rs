//! The store itself: what is open, and the locks.

use std::{
    collections::HashMap,
    fs::File,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use ferry_db::Db;
use ferry_oci::Digest;
use ferry_transfer::BucketAddress;
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    Pattern, StoreError, Upload,
    files::Files,
    lists::{Lists, Written},
    records::key,
    shelf::Shelf,
};

/// How much the registry takes.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest blob.
    pub blob: u64,
    /// The largest manifest.
    pub manifest: usize,
    /// Most uploads that are begun and not finished.
    pub uploads: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { blob: 64 << 30, manifest: ferry_oci::MAX_MANIFEST, uploads: 10_000 }
    }
}

/// A registry's content. All calls block for the time of a few operations on files.
#[derive(Debug)]
pub struct Store {
    pub(crate) files: Files,
    /// Where blobs are, if they are not files.
    pub(crate) shelf: Option<Shelf>,
    /// What is asked here does not wait for a transaction's sync.
    pub(crate) reader: Db,
    pub(crate) lists: Arc<Lists>,
    records: Mutex<Records>,
    digests: Vec<Mutex<()>>,
    pub(crate) uploads: Mutex<HashMap<String, Arc<Upload>>>,
    pub(crate) limits: Limits,
    pub(crate) immutable: Vec<Pattern>,
    /// When this process opened the directory: what was asked for before may still be on its way.
    pub(crate) opened: u64,
    _lock: File,
}

/// The records, for whom decides on them and writes.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) db: Written,
    /// When somebody who may be pushing last asked for a blob of a repository, by the key of its link.
    pub(crate) wanted: HashMap<String, u64>,
}

impl Records {
    /// Somebody was told that the repository has the blob, and will build on it.
    pub(crate) fn want(&mut self, repository: &str, digest: &Digest, now: u64) {
        self.wanted.insert(key(repository, &digest.hex()), now);
    }
}

/// Locks that digests share.
const DIGEST_LOCKS: usize = 64;

impl Store {
    /// Opens a registry's directory or makes it. `immutable` says which tags stay as they are once they are set.
    ///
    /// # Errors
    /// When another process has it, or its files cannot be used.
    pub fn open(root: &Path, limits: Limits, immutable: Vec<Pattern>) -> Result<Store, StoreError> {
        Store::open_with(root, limits, immutable, None)
    }

    /// As [`Store::open`]; a new directory has its blobs in this bucket, and an old one must have them there already.
    ///
    /// # Errors
    /// As [`Store::open`]; and when the bucket does not answer, or is another directory's.
    pub fn open_with(
        root: &Path,
        limits: Limits,
        immutable: Vec<Pattern>,
        storage: Option<BucketAddress>,
    ) -> Result<Store, StoreError> {
        let files = Files::create(root)?;
        let path = root.join("lock");
        let lock = File::create(&path).map_err(StoreError::file("open", &path))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(StoreError::InUse(root.to_owned()));
        }
        let shelf = Shelf::open(&files, storage)?;
        let lists = Arc::new(Lists::default());
        let db = Written::new(Db::open(&files.database())?, Arc::clone(&lists));
        let store = Store {
            reader: Db::open(&files.database())?,
            lists,
            records: Mutex::new(Records { db, wanted: HashMap::new() }),
            digests: (0..DIGEST_LOCKS).map(|_| Mutex::new(())).collect(),
            uploads: Mutex::new(HashMap::new()),
            opened: now(),
            files,
            shelf,
            limits,
            immutable,
            _lock: lock,
        };
        store.take_up_uploads()?;
        Ok(store)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        self.files.root()
    }

    /// What it takes.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        // Whoever panicked with it had not written, or had written all: a transaction is one step.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn digest_lock(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let index = usize::from(digest.as_bytes()[0]) % DIGEST_LOCKS;
        self.digests[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A name that nobody guesses, in the form of a UUID.
pub(crate) fn random_id() -> Result<String, StoreError> {
    let mut bytes = [0_u8; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| StoreError::Random)?;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

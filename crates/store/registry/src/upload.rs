//! Blobs on their way in. What came is in a file at once, so that a client, or the next process, goes on where it stopped.
//!
//! The digest is computed while bytes come. After a crash it is computed from the file when the upload goes on.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ferry_db::Batch;
use ferry_oci::{Digest, Hasher};

use crate::{
    Refusal, Store, StoreError,
    files::remove,
    objects::Incoming,
    records::{HOLDERS, LINKS, LinkRecord, key},
    store::{now, random_id},
};

/// When there is no room, an upload to which nothing came for so many seconds gives way to another.
const ABANDONED: u64 = 600;

/// A blob on its way in.
#[derive(Debug)]
pub struct Upload {
    id: String,
    repository: String,
    path: PathBuf,
    size: AtomicU64,
    active: AtomicU64,
    busy: AtomicBool,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    /// Open while somebody sends.
    file: Option<File>,
    /// `None` when it does not stand for what is in the file.
    hasher: Option<Hasher>,
}

/// The right to send to an upload; one request at a time has it.
#[derive(Debug)]
pub struct Claim(Arc<Upload>);

impl Drop for Claim {
    fn drop(&mut self) {
        // Clients that begin uploads and never go on would take all descriptors.
        self.0.content().file = None;
        self.0.busy.store(false, Ordering::Release);
    }
}

impl Upload {
    /// Its name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How much came so far.
    pub fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    /// When something last came, in seconds since 1970.
    pub fn active(&self) -> u64 {
        self.active.load(Ordering::Acquire)
    }

    /// For which repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What came so far and is still to come, open for reading. It stays readable when the upload is over.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn reader(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(StoreError::file("open", &self.path))
    }

    /// The right to send, unless another request has it.
    pub fn claim(self: &Arc<Upload>) -> Option<Claim> {
        let free = self.busy.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire);
        free.ok().map(|_| Claim(Arc::clone(self)))
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// The upload.
    pub fn upload(&self) -> &Upload {
        &self.0
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the disk fails or the blob would be too large. The upload can go on from its new [`Upload::size`].
    pub fn append(&self, pieces: &[Bytes], limit: u64) -> Result<(), StoreError> {
        let upload = &self.0;
        let more: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if upload.size().saturating_add(more) > limit {
            return Err(Refusal::TooLarge(limit).into());
        }
        let mut content = upload.content();
        let content = &mut *content;
        let file = opened(&mut content.file, &upload.path)?;
        let mut written = || -> std::io::Result<()> {
            for piece in pieces {
                file.write_all(piece)?;
            }
            Ok(())
        };
        if let Err(error) = written() {
            content.hasher = None;
            let length = file.metadata().map_or(upload.size(), |metadata| metadata.len());
            upload.size.store(length, Ordering::Release);
            return Err(StoreError::file("write", &upload.path)(error));
        }
        if let Some(hasher) = &mut content.hasher {
            pieces.iter().for_each(|piece| hasher.update(piece));
        }
        upload.size.fetch_add(more, Ordering::AcqRel);
        upload.active.store(now(), Ordering::Release);
        Ok(())
    }

    /// The digest of all that came.
    fn digest(&self) -> Result<Digest, StoreError> {
        if let Some(hasher) = &self.0.content().hasher {
            return Ok(hasher.clone().finish());
        }
        digest_of_file(&self.0.path)
    }

    fn sync(&self) -> Result<(), StoreError> {
        let mut content = self.0.content();
        let file = opened(&mut content.file, &self.0.path)?;
        file.sync_data().map_err(StoreError::file("sync", &self.0.path))
    }
}

fn opened<'a>(file: &'a mut Option<File>, path: &PathBuf) -> Result<&'a mut File, StoreError> {
    if file.is_none() {
        let open = OpenOptions::new().append(true).create(true).open(path);
        *file = Some(open.map_err(StoreError::file("open", path))?);
    }
    file.as_mut().ok_or(StoreError::Random)
}

/// Reads a file for its digest.
pub(crate) fn digest_of_file(path: &std::path::Path) -> Result<Digest, StoreError> {
    let mut file = File::open(path).map_err(StoreError::file("open", path))?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).map_err(StoreError::file("read", path))?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
    }
}

impl Store {
    /// Begins an upload.
    ///
    /// # Errors
    /// When the disk fails, or too many are under way.
    pub fn begin_upload(&self, repository: &str) -> Result<Arc<Upload>, StoreError> {
        self.make_room()?;
        let id = random_id()?;
        let note = self.files.uploads().join(format!("{id}.repository"));
        fs::write(&note, repository).map_err(StoreError::file("write", &note))?;
        let content = Content { file: None, hasher: Some(Hasher::new()) };
        let path = self.files.uploads().join(&id);
        File::create(&path).map_err(StoreError::file("make", &path))?;
        let upload = Arc::new(Upload {
            path,
            repository: repository.to_owned(),
            size: AtomicU64::new(0),
            active: AtomicU64::new(now()),
            busy: AtomicBool::new(false),
            content: Mutex::new(content),
            id: id.clone(),
        });
        self.open_uploads().insert(id, Arc::clone(&upload));
        Ok(upload)
    }

    /// Where there are too many uploads, the one that nobody was at for the longest time goes, if that is long enough.
    fn make_room(&self) -> Result<(), StoreError> {
        loop {
            let oldest = {
                let uploads = self.open_uploads();
                if uploads.len() < self.limits.uploads {
                    return Ok(());
                }
                let idle = uploads.values().filter(|upload| !upload.busy.load(Ordering::Acquire));
                idle.min_by_key(|upload| upload.active()).cloned()
            };
            let stale = now().saturating_sub(ABANDONED);
            let claim = oldest.filter(|upload| upload.active() <= stale);
            match claim.and_then(|upload| upload.claim()) {
                Some(claim) => self.forget(&claim)?,
                None => return Err(Refusal::TooManyUploads(self.limits.uploads).into()),
            }
        }
    }

    /// An upload under way.
    ///
    /// # Errors
    /// When the repository has no such upload.
    pub fn upload(&self, repository: &str, id: &str) -> Result<Arc<Upload>, StoreError> {
        let found = self.open_uploads().get(id).cloned();
        found
            .filter(|upload| upload.repository == repository)
            .ok_or_else(|| Refusal::UploadUnknown(id.to_owned()).into())
    }

    /// Makes a blob of what came, if it has this digest. Whether it does or not, the upload is over, except when the disk failed.
    ///
    /// # Errors
    /// When the digest is another, or the disk fails.
    pub fn commit(&self, claim: &Claim, wanted: &Digest) -> Result<(), StoreError> {
        let found = claim.digest()?;
        if found != *wanted {
            self.forget(claim)?;
            return Err(Refusal::DigestMismatch { wanted: wanted.clone(), found }.into());
        }
        if self.shelf.is_none() {
            claim.sync()?;
        }
        let link = |batch: &mut Batch| self.link(&claim.0.repository, wanted, batch);
        self.keep(wanted, Incoming::File(&claim.0.path), link)?;
        self.forget(claim)
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget(&self, claim: &Claim) -> Result<(), StoreError> {
        self.open_uploads().remove(&claim.0.id);
        claim.0.content().file = None;
        remove(&claim.0.path)?;
        remove(&self.files.uploads().join(format!("{}.repository", claim.0.id)))
    }

    /// Records that the repository has the blob, whose content is durable, along with what is in `batch`.
    fn link(&self, repository: &str, digest: &Digest, batch: &mut Batch) -> Result<(), StoreError> {
        let now = now();
        let mut records = self.records();
        let hex = digest.hex();
        batch.put(&LINKS, &key(repository, &hex), &LinkRecord { at: now })?;
        batch.put(&HOLDERS, &key(&hex, repository), &())?;
        records.db.write(std::mem::take(batch))?;
        records.want(repository, digest, now);
        Ok(())
    }

    pub(crate) fn open_uploads(
        &self,
    ) -> MutexGuard<'_, std::collections::HashMap<String, Arc<Upload>>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uploads of an earlier process go on; files that belong to none are removed.
    pub(crate) fn take_up_uploads(&self) -> Result<(), StoreError> {
        let directory = self.files.uploads();
        let read = StoreError::file("read directory", &directory);
        for entry in fs::read_dir(&directory).map_err(read)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            let note = directory.join(format!("{name}.repository"));
            if let Some(id) = name.strip_suffix(".repository") {
                if !directory.join(id).is_file() {
                    remove(&path)?;
                }
                continue;
            }
            let Ok(repository) = fs::read_to_string(&note) else {
                remove(&path)?;
                continue;
            };
            let size = entry.metadata().map_or(0, |metadata| metadata.len());
            let upload = Upload {
                id: name.clone(),
                repository,
                path,
                size: AtomicU64::new(size),
                active: AtomicU64::new(self.opened),
                busy: AtomicBool::new(false),
                content: Mutex::new(Content { file: None, hasher: (size == 0).then(Hasher::new) }),
            };
            self.open_uploads().insert(name, Arc::new(upload));
        }
        Ok(())
    }
}

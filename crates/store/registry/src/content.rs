//! Blobs that are there: asked for, read, mounted, let go.

use std::{
    fs::File,
    io::{self, Read},
};

use ferry_db::Batch;
use ferry_oci::Digest;

use crate::{
    Object, Refusal, Store, StoreError,
    records::{HOLDERS, LINKS, LinkRecord, MANIFESTS, below, digest_of, key, last},
    store::now,
};

/// A blob, open for reading. It stays readable when it is deleted meanwhile.
#[derive(Debug)]
pub struct Blob {
    /// Where it is read from.
    pub content: BlobContent,
    /// Its length.
    pub size: u64,
}

/// Where a blob is read from.
#[derive(Debug)]
pub enum BlobContent {
    /// Its file.
    File(File),
    /// Its object in a bucket.
    Object(Object),
}

impl Store {
    /// Opens a blob of a repository.
    ///
    /// # Errors
    /// When the repository does not have it, or the disk fails.
    pub fn blob(&self, repository: &str, digest: &Digest) -> Result<Blob, StoreError> {
        let link = key(repository, &digest.hex());
        if self.reader.get(&LINKS, &link)?.is_none() {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        }
        self.open_blob(digest)
    }

    /// The first bytes of a small blob of a repository, at most so many.
    ///
    /// # Errors
    /// When the repository does not have it, or it cannot be read.
    pub fn blob_bytes(
        &self,
        repository: &str,
        digest: &Digest,
        most: usize,
    ) -> Result<Vec<u8>, StoreError> {
        self.blob(repository, digest).and_then(|blob| self.bytes_of(blob, digest, most))
    }

    pub(crate) fn bytes_of(
        &self,
        blob: Blob,
        digest: &Digest,
        most: usize,
    ) -> Result<Vec<u8>, StoreError> {
        let most = most as u64;
        match (blob.content, &self.shelf) {
            (BlobContent::File(file), _) => {
                let mut bytes = Vec::new();
                let read = file.take(most).read_to_end(&mut bytes);
                read.map_err(StoreError::file("read", self.files.blob(digest)))?;
                Ok(bytes)
            }
            (BlobContent::Object(_), Some(shelf)) => self.small(shelf, digest, most),
            (BlobContent::Object(_), None) => Err(Refusal::BlobUnknown(digest.clone()).into()),
        }
    }

    pub(crate) fn open_blob(&self, digest: &Digest) -> Result<Blob, StoreError> {
        if let Some(shelf) = &self.shelf {
            let object = self.object(shelf, digest)?;
            return Ok(Blob { size: object.size(), content: BlobContent::Object(object) });
        }
        let path = self.files.blob(digest);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Refusal::BlobUnknown(digest.clone()).into());
            }
            Err(error) => return Err(StoreError::file("open", &path)(error)),
        };
        let size = file.metadata().map_err(StoreError::file("look at", &path))?.len();
        Ok(Blob { content: BlobContent::File(file), size })
    }

    /// The length of a blob that a push will build on: it is not collected for a while.
    ///
    /// # Errors
    /// When the repository does not have it, or the disk fails.
    pub fn want_blob(&self, repository: &str, digest: &Digest) -> Result<u64, StoreError> {
        {
            let mut records = self.records();
            if records.db.get(&LINKS, &key(repository, &digest.hex()))?.is_none() {
                return Err(Refusal::BlobUnknown(digest.clone()).into());
            }
            records.want(repository, digest, now());
        }
        // What the bucket has lost is sent again.
        if self.shelf.is_some() && !self.has_content(digest)? {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        }
        self.open_blob(digest).map(|blob| blob.size)
    }

    /// Gives a repository a blob that another one has.
    ///
    /// # Errors
    /// When the other one does not have it, or the disk fails.
    pub fn mount(&self, digest: &Digest, from: &str, to: &str) -> Result<(), StoreError> {
        let hex = digest.hex();
        // As long as the other one has it, nobody takes it away.
        if !self.has_content(digest)? {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        }
        let mut records = self.records();
        if records.db.get(&LINKS, &key(from, &hex))?.is_none() {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        }
        let mut batch = Batch::new();
        batch.put(&LINKS, &key(to, &hex), &LinkRecord { at: now() })?;
        batch.put(&HOLDERS, &key(&hex, to), &())?;
        records.db.write(batch)?;
        records.want(to, digest, now());
        Ok(())
    }

    /// Whether any repository has a blob.
    ///
    /// # Errors
    /// When the records fail.
    pub fn is_held(&self, digest: &Digest) -> Result<bool, StoreError> {
        let (after, before) = below(&digest.hex());
        let holders = self.reader.keys(&HOLDERS, (&after, &before), 1)?;
        Ok(!holders.is_empty() && self.has_content(digest)?)
    }

    /// Gives a repository a blob if any other one has it. Whether one does. The caller knows that this repository's upstream has it.
    ///
    /// # Errors
    /// When the records or the disk fail.
    pub fn adopt(&self, digest: &Digest, to: &str) -> Result<bool, StoreError> {
        let (after, before) = below(&digest.hex());
        let holders = self.reader.keys(&HOLDERS, (&after, &before), 1)?;
        let Some(from) = holders.first().map(|holder| last(holder).to_owned()) else {
            return Ok(false);
        };
        match self.mount(digest, &from, to) {
            Ok(()) => Ok(true),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a blob from a repository. Its bytes go when no repository has it, by [`Store::collect`].
    ///
    /// # Errors
    /// When the repository does not have it, a manifest needs it, or the disk fails.
    pub fn delete_blob(&self, repository: &str, digest: &Digest) -> Result<(), StoreError> {
        let hex = digest.hex();
        let mut records = self.records();
        if records.db.get(&LINKS, &key(repository, &hex))?.is_none() {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        }
        let (after, before) = below(repository);
        let manifests = records.db.range(&MANIFESTS, (&after, &before), usize::MAX)?;
        for (name, manifest) in manifests {
            let Some(of) = digest_of(&name) else { continue };
            if of == *digest || manifest.blobs.contains(digest) {
                return Err(Refusal::BlobInUse(digest.clone(), of).into());
            }
        }
        let mut batch = Batch::new();
        batch.delete(&LINKS, &key(repository, &hex));
        batch.delete(&HOLDERS, &key(&hex, repository));
        records.db.write(batch)?;
        records.wanted.remove(&key(repository, &hex));
        Ok(())
    }
}

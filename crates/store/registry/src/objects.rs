//! Blobs in a bucket. What a digest's object is called is a record, so one transaction makes a blob there, or not there.
//!
//! Each object has a name that nothing had before. A deletion or an upload that the bucket does late, after we gave up waiting or
//! were killed, therefore never means an object that somebody uses; what no record names is swept by [`Store::collect`].

use std::{fs::File, io, path::Path, sync::Arc};

use bytes::Bytes;
use ferry_db::{Batch, Table};
use ferry_oci::{Digest, Hasher};
use ferry_transfer::{Bucket, BucketError};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::{
    Refusal, Store, StoreError,
    shelf::{Shelf, whole},
};

/// What a digest's object is called: `<hex>`.
pub(crate) const OBJECTS: Table<ObjectRecord> = Table::new("registry-object");
/// Uploads in parts that are under way, or that a crash left: `<name of the object>`, and its id.
pub(crate) const PARTS: Table<String> = Table::new("registry-parts");
/// Objects that had another digest when they were read by [`Store::scrub`]: `<name of the object>`.
pub(crate) const DAMAGED: Table<()> = Table::new("registry-damaged");

/// An object of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectRecord {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// What is to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Incoming<'a> {
    /// A file of its own, which is moved or read.
    File(&'a Path),
    Bytes(&'a [u8]),
}

/// A blob that is in a bucket.
#[derive(Debug)]
pub struct Object {
    bucket: Arc<Bucket>,
    handle: tokio::runtime::Handle,
    name: String,
    digest: Digest,
    size: u64,
}

impl Object {
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// So many of its bytes from `at` on, as fast as they are taken. Of what is read whole, the end comes only if its digest is
    /// right: what is not complete is of use to nobody.
    ///
    /// # Errors
    /// When the bucket does not answer, or does not have it.
    pub async fn read(
        self,
        at: u64,
        length: u64,
    ) -> Result<mpsc::Receiver<io::Result<Bytes>>, StoreError> {
        let (sender, pieces) = mpsc::channel(1);
        let (opened, answer) = oneshot::channel();
        self.handle.clone().spawn(async move {
            let mut stream = match self.bucket.get(&self.name, at, length).await {
                Ok(Some(stream)) => stream,
                other => {
                    // Whoever asked may have gone.
                    drop(opened.send(other.map(|_| false)));
                    return;
                }
            };
            drop(opened.send(Ok(true)));
            let mut hasher = (length == self.size).then(Hasher::new);
            let mut held: Option<Bytes> = None;
            loop {
                let next = tokio::select! {
                    next = stream.next() => next,
                    () = sender.closed() => return,
                };
                let last = match next {
                    Ok(Some(piece)) => {
                        if let Some(hasher) = &mut hasher {
                            hasher.update(&piece);
                        }
                        if let Some(piece) = held.replace(piece)
                            && sender.send(Ok(piece)).await.is_err()
                        {
                            return;
                        }
                        continue;
                    }
                    Ok(None) if hasher.take().is_none_or(|all| all.finish() == self.digest) => {
                        held.take().map(Ok)
                    }
                    Ok(None) => {
                        tracing::error!(digest = %self.digest, "the bucket gives something else: 'registry scrub' sets it aside");
                        Some(Err(io::Error::other("another digest")))
                    }
                    Err(error) => {
                        tracing::error!(digest = %self.digest, "{}", ferry_errkind::chain(&error));
                        Some(Err(io::Error::other(error)))
                    }
                };
                if let Some(last) = last {
                    // The same as above.
                    drop(sender.send(last).await);
                }
                return;
            }
        });
        let ended = StoreError::Storage("the bucket's threads have ended".to_owned());
        match answer.await {
            Ok(Ok(true)) => Ok(pieces),
            Ok(Ok(false)) => Err(StoreError::Storage(
                "the bucket has lost a blob: 'registry scrub' says which".to_owned(),
            )),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ended),
        }
    }
}

/// What is to be recorded of a blob that the bucket has.
enum Plan<'a> {
    There(ObjectRecord),
    Sent(crate::shelf::UnderWay<'a>, ObjectRecord),
}

impl Store {
    /// Keeps content whose digest was computed just now, and has `record` write what follows from that, while nobody takes the blob
    /// away. `record` is told of the object to record along, where blobs are in a bucket.
    pub(crate) fn keep<T>(
        &self,
        digest: &Digest,
        content: Incoming<'_>,
        record: impl FnOnce(&mut Batch) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let Some(shelf) = &self.shelf else {
            let _locked = self.digest_lock(digest);
            self.keep_file(digest, content)?;
            return record(&mut Batch::new());
        };
        let hex = digest.hex();
        let (plan, found) = loop {
            let found = self.reader.get(&OBJECTS, &hex)?;
            let plan = self.plan(shelf, digest, content, found.as_ref())?;
            let Plan::There(there) = &plan else { break (plan, found) };
            // A collection may have taken it since it was seen; with the lock none can.
            let locked = self.digest_lock(digest);
            if self.records().db.get(&OBJECTS, &hex)?.as_ref() == Some(there) {
                return record(&mut Batch::new());
            }
            drop(locked);
        };
        let Plan::Sent(under_way, object) = plan else {
            return Err(Refusal::BlobUnknown(digest.clone()).into());
        };
        let _locked = self.digest_lock(digest);
        let mut batch = Batch::new();
        // Somebody else may have brought it meanwhile; readers have that one open.
        let now = self.records().db.get(&OBJECTS, &hex)?;
        if now.is_none() || now == found {
            batch.put(&OBJECTS, &hex, &object)?;
        }
        batch.delete(&PARTS, &under_way.name);
        record(&mut batch)
    }

    fn keep_file(&self, digest: &Digest, content: Incoming<'_>) -> Result<(), StoreError> {
        match content {
            Incoming::File(path) => self.files.place(path, digest),
            // The same manifest as another tag is there already, and durable; unless it is damaged.
            Incoming::Bytes(bytes)
                if self.manifest_bytes(digest).ok().as_deref() == Some(bytes) =>
            {
                Ok(())
            }
            Incoming::Bytes(bytes) => {
                let name = format!("{}.manifest", crate::store::random_id()?);
                let temporary = self.files.write_temporary(&name, bytes)?;
                self.files.place(&temporary, digest)
            }
        }
    }

    /// Sends content, unless the bucket has it.
    fn plan<'a>(
        &self,
        shelf: &'a Shelf,
        digest: &Digest,
        content: Incoming<'_>,
        found: Option<&ObjectRecord>,
    ) -> Result<Plan<'a>, StoreError> {
        if let Some(found) = found
            && shelf.wait(shelf.bucket.size(&found.name))?? == Some(found.size)
        {
            return Ok(Plan::There(found.clone()));
        }
        let under_way = shelf.name_for(&digest.hex())?;
        let name = under_way.name.clone();
        let size = match content {
            Incoming::Bytes(bytes) => {
                let bytes = Bytes::copy_from_slice(bytes);
                let size = bytes.len() as u64;
                shelf.wait(shelf.bucket.put(&name, bytes))??;
                size
            }
            Incoming::File(path) => {
                let file = File::open(path).map_err(StoreError::file("open", path))?;
                let size = file.metadata().map_err(StoreError::file("look at", path))?.len();
                let begun = |id: &str| {
                    let mut batch = Batch::new();
                    batch.put(&PARTS, &name, &id.to_owned())?;
                    self.records().db.write(batch)?;
                    Ok::<(), StoreError>(())
                };
                shelf.wait(shelf.bucket.put_file(&name, Arc::new(file), size, begun))??;
                size
            }
        };
        Ok(Plan::Sent(under_way, ObjectRecord { name, size }))
    }

    /// The object of a blob.
    pub(crate) fn object(&self, shelf: &Shelf, digest: &Digest) -> Result<Object, StoreError> {
        let record = self.reader.get(&OBJECTS, &digest.hex())?;
        let ObjectRecord { name, size } =
            record.ok_or_else(|| Refusal::BlobUnknown(digest.clone()))?;
        let (bucket, handle) = (Arc::clone(&shelf.bucket), shelf.handle()?);
        Ok(Object { bucket, handle, name, digest: digest.clone(), size })
    }

    /// A small blob, whole, if it is what its digest says.
    pub(crate) fn small(
        &self,
        shelf: &Shelf,
        digest: &Digest,
        most: u64,
    ) -> Result<Vec<u8>, StoreError> {
        let object = self.object(shelf, digest)?;
        let size = object.size.min(most);
        let bytes = shelf.wait(whole(&shelf.bucket, &object.name, size))??;
        let bytes = bytes.ok_or_else(|| Refusal::BlobUnknown(digest.clone()))?;
        if Digest::sha256_of(&bytes) != *digest {
            let why = "it has another digest".to_owned();
            let object = object.name;
            return Err(BucketError::Answer { doing: "get", object, why }.into());
        }
        Ok(bytes)
    }

    /// Whether a blob's content is there. It may ask the bucket, so no lock may be held.
    pub(crate) fn has_content(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(shelf) = &self.shelf else { return Ok(self.files.blob(digest).is_file()) };
        let Some(record) = self.reader.get(&OBJECTS, &digest.hex())? else { return Ok(false) };
        Ok(shelf.wait(shelf.bucket.size(&record.name))?? == Some(record.size))
    }

    /// Puts a copy of the records into the bucket, if there is one.
    ///
    /// # Errors
    /// When the bucket does not take it, or the disk fails.
    pub fn save_records(&self) -> Result<(), StoreError> {
        let Some(shelf) = &self.shelf else { return Ok(()) };
        // Of its own: a collection may make one at the same time.
        let copy = self.files.uploads().join(format!("{}.copy", crate::store::random_id()?));
        let put = match self.reader.copy_to(&copy) {
            Ok(()) => shelf.put_records(&copy),
            Err(error) => Err(error.into()),
        };
        crate::files::remove(&copy)?;
        put
    }

    /// Changes whenever the records do.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn records_version(&self) -> Result<i64, StoreError> {
        Ok(self.reader.version()?)
    }

    /// The bucket that blobs are in.
    pub fn bucket(&self) -> Option<&str> {
        self.shelf.as_ref().map(Shelf::place)
    }
}

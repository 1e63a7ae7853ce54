//! A bucket as the place of blobs: whose it is, and copies of the records in it.
//!
//! One directory has a bucket, or a part of one, for itself: `owner` there names it, `<root>/storage` here names the bucket. Without
//! that, two registries would collect each other's blobs. `records/<time>` is a copy of `registry.db`: who loses the directory takes
//! the bucket over with a new one and has what was there when the last copy was made.

use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use ferry_transfer::{Bucket, BucketAddress, BucketError, Tuning};
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use crate::{StoreError, files::Files, store::random_id};

const OWNER: &str = "owner";
const RECORDS: &str = "records/";
/// Copies of the records that stay.
const COPIES: usize = 3;
/// A bucket that says nothing for so long is away: clients wait for it.
const STALL: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(200);
/// Largest note of an owner.
const MAX_NOTE: u64 = 1024;

/// `<root>/storage`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Note {
    address: String,
    /// Who we are in the bucket.
    id: String,
    /// Whether the bucket says so, too.
    claimed: bool,
    /// Whether what another directory left there is taken over.
    take_over: bool,
}

/// A bucket, and what is under way to it.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) bucket: Arc<Bucket>,
    /// Its own: the store is also called where there is no other, and connections outlive single calls.
    runtime: Option<Runtime>,
    under_way: Mutex<HashSet<String>>,
    id: String,
    place: String,
}

/// The name of an object that is being sent: nobody sweeps it.
#[derive(Debug)]
pub(crate) struct UnderWay<'a> {
    shelf: &'a Shelf,
    pub(crate) name: String,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.shelf.under_way().remove(&self.name);
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

impl Shelf {
    /// The bucket of a directory: the one that is asked for, or that the directory knows. `None` when its blobs are files.
    pub(crate) fn open(
        files: &Files,
        wanted: Option<BucketAddress>,
    ) -> Result<Option<Shelf>, StoreError> {
        let path = files.root().join("storage");
        let note =
            match fs::read(&path) {
                Ok(json) => Some(serde_json::from_slice::<Note>(&json).map_err(|_| {
                    StoreError::Storage(format!("{} does not read", path.display()))
                })?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(StoreError::file("read", &path)(error)),
            };
        let (mut note, address) = match (note, wanted) {
            (None, None) => return Ok(None),
            (None, Some(address)) => {
                if files.database().exists() {
                    return Err(StoreError::Storage(format!(
                        "the blobs of {} are files in it: a bucket is chosen for a new directory (copy the images there by 'ferry image cp')",
                        files.root().display()
                    )));
                }
                (fresh(&address)?, address)
            }
            (Some(note), wanted) => {
                let known: BucketAddress = note.address.parse().map_err(BucketError::from)?;
                let address = wanted.unwrap_or_else(|| known.clone());
                if known.place() != address.place() {
                    return Err(StoreError::Storage(format!(
                        "the blobs of {} are in {}, not in {}",
                        files.root().display(),
                        known.place(),
                        address.place()
                    )));
                }
                (Note { address: address.to_string(), ..note }, address)
            }
        };
        let shelf = Shelf::new(&address, &note.id)?;
        write_note(files, &path, &note)?;
        if note.claimed {
            shelf.check_owner()?;
        } else {
            shelf.claim(files, note.take_over)?;
            note.claimed = true;
            write_note(files, &path, &note)?;
        }
        Ok(Some(shelf))
    }

    fn new(address: &BucketAddress, id: &str) -> Result<Shelf, StoreError> {
        let address = address.clone().completed(|name| std::env::var(name).ok());
        let tuning =
            Tuning { stall: STALL, connect_patience: STALL, pause: PAUSE, ..Tuning::default() };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(8)
            .thread_name("bucket")
            .enable_all()
            .build();
        let runtime = runtime.map_err(StoreError::file("start threads for", "the bucket"))?;
        Ok(Shelf {
            bucket: Arc::new(Bucket::new(&address, &tuning)?),
            runtime: Some(runtime),
            under_way: Mutex::default(),
            id: id.to_owned(),
            place: address.place(),
        })
    }

    /// Waits for an answer of the bucket. Never where a lock of the store is held that others need for less.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> Result<T, StoreError> {
        Ok(self.handle()?.block_on(work))
    }

    /// The bucket's own threads.
    pub(crate) fn handle(&self) -> Result<tokio::runtime::Handle, StoreError> {
        let ended = || StoreError::Storage("the bucket's threads have ended".to_owned());
        self.runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(ended)
    }

    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    fn under_way(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A name for an object that nothing ever had, so that no answer that comes late can mean another one.
    pub(crate) fn name_for(&self, hex: &str) -> Result<UnderWay<'_>, StoreError> {
        let name = format!("blobs/{}/{hex}/{}", hex.get(..2).unwrap_or("00"), random_id()?);
        self.under_way().insert(name.clone());
        Ok(UnderWay { shelf: self, name })
    }

    /// Whether somebody is sending an object of this name.
    pub(crate) fn is_under_way(&self, name: &str) -> bool {
        self.under_way().contains(name)
    }

    fn owner(&self) -> Result<Option<String>, StoreError> {
        self.wait(async {
            let Some(size) = self.bucket.size(OWNER).await? else { return Ok(None) };
            let Some(bytes) = whole(&self.bucket, OWNER, size.min(MAX_NOTE)).await? else {
                return Ok(None);
            };
            Ok::<_, BucketError>(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
        })?
        .map_err(StoreError::from)
    }

    /// Whether the bucket is still ours.
    pub(crate) fn check_owner(&self) -> Result<(), StoreError> {
        match self.owner()? {
            Some(owner) if owner == self.id => Ok(()),
            Some(owner) => Err(self.taken(&owner)),
            None => {
                tracing::warn!(
                    "{} has forgotten whose it is: 'registry scrub' says what is missing",
                    self.place
                );
                self.put_owner()
            }
        }
    }

    fn taken(&self, owner: &str) -> StoreError {
        StoreError::Storage(format!(
            "{} belongs to another directory ({owner}): if that is lost, add take-over=true to the address",
            self.place
        ))
    }

    fn put_owner(&self) -> Result<(), StoreError> {
        let id = Bytes::from(self.id.clone());
        Ok(self.wait(self.bucket.put(OWNER, id))??)
    }

    fn claim(&self, files: &Files, take_over: bool) -> Result<(), StoreError> {
        match self.owner()? {
            Some(owner) if owner != self.id && !take_over => {
                // The directory is as it was, so that it may try again.
                drop(fs::remove_file(files.root().join("storage")));
                return Err(self.taken(&owner));
            }
            _ => {}
        }
        if take_over {
            self.restore(&files.database())?;
        }
        self.put_owner()
    }

    /// Writes the last copy of the records that is in the bucket to where they are expected.
    fn restore(&self, database: &Path) -> Result<(), StoreError> {
        let Some((name, size)) = self.copies()?.pop() else { return Ok(()) };
        let temporary = database.with_extension("restored");
        let got = self.wait(async {
            let mut file = fs::File::create(&temporary).map_err(BucketError::Read)?;
            let Some(mut stream) = self.bucket.get(&name, 0, size).await? else { return Ok(false) };
            while let Some(piece) = stream.next().await? {
                std::io::Write::write_all(&mut file, &piece).map_err(BucketError::Read)?;
            }
            file.sync_all().map_err(BucketError::Read)?;
            Ok::<_, BucketError>(true)
        })?;
        if got? {
            fs::rename(&temporary, database).map_err(StoreError::file("restore", database))?;
            tracing::warn!(copy = name, "took {} over", self.place);
        }
        Ok(())
    }

    /// The copies of the records, the newest last.
    fn copies(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut all = Vec::new();
        let mut next = None;
        loop {
            let page = self.wait(self.bucket.list(RECORDS, next.as_deref()))??;
            all.extend(page.objects);
            next = page.next;
            if next.is_none() {
                all.sort();
                return Ok(all);
            }
        }
    }

    /// Puts a copy of the records into the bucket and takes old ones away.
    pub(crate) fn put_records(&self, copy: &Path) -> Result<(), StoreError> {
        self.check_owner()?;
        let file = fs::File::open(copy).map_err(StoreError::file("open", copy))?;
        let size = file.metadata().map_err(StoreError::file("look at", copy))?.len();
        let mut copies = self.copies()?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = number_after(copies.last().map(|(name, _)| name.as_str()), since.as_nanos());
        let name = format!("{RECORDS}{number:020}-{}", random_id()?);
        let begun = |_: &str| Ok::<(), BucketError>(());
        self.wait(self.bucket.put_file(&name, Arc::new(file), size, begun))??;
        copies.truncate((copies.len() + 1).saturating_sub(COPIES));
        for (old, _) in copies {
            self.wait(self.bucket.delete(&old))??;
        }
        Ok(())
    }
}

/// What a copy is called by, so that the newest has the greatest name: the time, or more than that where the clock was set back behind
/// the last copy.
fn number_after(last: Option<&str>, now: u128) -> u128 {
    let number = last.and_then(|name| name.strip_prefix(RECORDS)?.split('-').next()?.parse().ok());
    number.map_or(now, |last: u128| now.max(last.saturating_add(1)))
}

/// An object, whole in memory; the caller knows that it is small.
pub(crate) async fn whole(
    bucket: &Bucket,
    object: &str,
    size: u64,
) -> Result<Option<Vec<u8>>, BucketError> {
    let Some(mut stream) = bucket.get(object, 0, size).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes))
}

fn fresh(address: &BucketAddress) -> Result<Note, StoreError> {
    Ok(Note {
        address: address.to_string(),
        id: random_id()?,
        claimed: false,
        take_over: address.takes_over(),
    })
}

fn write_note(files: &Files, path: &Path, note: &Note) -> Result<(), StoreError> {
    let json = serde_json::to_vec(note).unwrap_or_default();
    let temporary = files.write_temporary("storage.new", &json)?;
    fs::rename(&temporary, path).map_err(StoreError::file("write", path))?;
    crate::files::sync_directory(files.root())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_copy_has_the_greatest_name_whatever_the_clock_says() {
        let name = |number: u128| format!("{RECORDS}{number:020}-some-id");
        assert_eq!(number_after(None, 7), 7);
        assert_eq!(number_after(Some(&name(5)), 7), 7);
        assert_eq!(number_after(Some(&name(7)), 7), 8);
        assert_eq!(number_after(Some(&name(9)), 7), 10);
        assert!(name(number_after(Some(&name(99)), 7)) > name(99));
        assert_eq!(number_after(Some("records/something else"), 7), 7);
    }
}

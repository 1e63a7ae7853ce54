//! Collection and verification where blobs are in a bucket.

use ferry_db::Batch;
use ferry_oci::{Digest, Hasher};
use ferry_transfer::BucketError;

use crate::{
    Collected, Damage, GcOptions, Scrubbed, Store, StoreError,
    objects::{DAMAGED, OBJECTS, ObjectRecord, PARTS},
    records::{HOLDERS, below},
    shelf::Shelf,
};

/// So many records are looked at between others' writes.
const AT_ONCE: usize = 1000;
/// Behind every hex digit.
const END: &str = "~";

impl Store {
    /// Takes away objects of blobs that no repository has: first their records, then, when a copy of the records without them is in
    /// the bucket, the objects. Then what no record names.
    pub(crate) fn sweep(
        &self,
        shelf: &Shelf,
        options: &GcOptions,
        to: &mut Collected,
    ) -> Result<(), StoreError> {
        // Somebody who took the bucket over uses what we would sweep.
        shelf.check_owner()?;
        let forgotten = self.forget_objects(options, to)?;
        if options.dry {
            return Ok(());
        }
        self.give_up_parts(shelf)?;
        if !forgotten.is_empty() {
            self.save_records()?;
        }
        for name in forgotten {
            shelf.wait(shelf.bucket.delete(&name))??;
        }
        self.sweep_unknown(shelf)
    }

    fn forget_objects(
        &self,
        options: &GcOptions,
        to: &mut Collected,
    ) -> Result<Vec<String>, StoreError> {
        let mut forgotten = Vec::new();
        let mut after = String::new();
        loop {
            let page = self.reader.range(&OBJECTS, (&after, END), AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(forgotten) };
            after.clone_from(last);
            for (hex, object) in page {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                // With it, nobody records that a repository has this blob.
                let _locked = self.digest_lock(&digest);
                let records = self.records();
                let (after, before) = below(&hex);
                let held = !records.db.keys(&HOLDERS, (&after, &before), 1)?.is_empty();
                if held || records.db.get(&OBJECTS, &hex)?.as_ref() != Some(&object) {
                    continue;
                }
                to.blobs += 1;
                to.bytes += object.size;
                if !options.dry {
                    let mut batch = Batch::new();
                    batch.delete(&OBJECTS, &hex);
                    records.db.write(batch)?;
                    forgotten.push(object.name);
                }
            }
        }
    }

    /// Uploads in parts that nobody goes on with: a crash left them.
    fn give_up_parts(&self, shelf: &Shelf) -> Result<(), StoreError> {
        for (name, id) in self.reader.all(&PARTS)? {
            if shelf.is_under_way(&name) {
                continue;
            }
            shelf.wait(shelf.bucket.abort(&name, &id))??;
            let mut batch = Batch::new();
            batch.delete(&PARTS, &name);
            self.records().db.write(batch)?;
        }
        Ok(())
    }

    /// Objects that no record names and nobody is sending: what a crash, or an answer that came late, left.
    fn sweep_unknown(&self, shelf: &Shelf) -> Result<(), StoreError> {
        let mut next = None;
        loop {
            let page = shelf.wait(shelf.bucket.list("blobs/", next.as_deref()))??;
            for (name, _) in page.objects {
                // In this order: it is recorded before it is no longer under way.
                if shelf.is_under_way(&name) || self.is_named(&name)? {
                    continue;
                }
                shelf.wait(shelf.bucket.delete(&name))??;
            }
            next = page.next;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether a record names an object. What has a name that is none of ours is left alone.
    fn is_named(&self, name: &str) -> Result<bool, StoreError> {
        let Some(hex) = name.split('/').nth(2) else { return Ok(true) };
        let object = self.reader.get(&OBJECTS, hex)?;
        Ok(object.is_some_and(|object| object.name == name)
            || self.reader.get(&DAMAGED, name)?.is_some())
    }

    /// Whether a record, or a file, says that a blob is there.
    pub(crate) fn is_recorded(&self, digest: &Digest) -> Result<bool, StoreError> {
        match &self.shelf {
            None => Ok(self.files.blob(digest).is_file()),
            Some(_) => Ok(self.reader.get(&OBJECTS, &digest.hex())?.is_some()),
        }
    }

    /// Reads every object. One that is gone, or had another digest twice, is no longer named by its record, so that the next push
    /// brings it back. A bucket that fails says nothing about its objects.
    pub(crate) fn scrub_objects(
        &self,
        shelf: &Shelf,
        corrupt: &mut Vec<Digest>,
        scrubbed: &mut Scrubbed,
    ) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let page = self.reader.range(&OBJECTS, (&after, END), AT_ONCE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after.clone_from(last);
            for (hex, object) in page {
                let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
                scrubbed.blobs += 1;
                scrubbed.bytes += object.size;
                let mut found = look(shelf, &object)?;
                if found == Found::Other(digest.clone()) {
                    continue;
                }
                found = look(shelf, &object)?;
                if found == Found::Other(digest.clone())
                    || !self.unname(&digest, &object, &found)?
                {
                    continue;
                }
                if matches!(found, Found::Other(_)) {
                    let repositories = self.holders(&hex)?;
                    corrupt.push(digest.clone());
                    scrubbed.damage.push(Damage::Corrupt { digest, repositories });
                }
            }
        }
    }

    /// Takes a damaged object out of the records, unless it was replaced meanwhile; whether it was not.
    fn unname(
        &self,
        digest: &Digest,
        object: &ObjectRecord,
        found: &Found,
    ) -> Result<bool, StoreError> {
        let hex = digest.hex();
        let _locked = self.digest_lock(digest);
        let records = self.records();
        if records.db.get(&OBJECTS, &hex)?.as_ref() != Some(object) {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(&OBJECTS, &hex);
        if matches!(found, Found::Other(_)) {
            // Its bytes stay for whoever wants to know what happened.
            batch.put(&DAMAGED, &object.name, &())?;
        }
        records.db.write(batch)?;
        Ok(true)
    }
}

/// What an object is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Nothing,
    /// Content of this digest.
    Other(Digest),
}

fn look(shelf: &Shelf, object: &ObjectRecord) -> Result<Found, StoreError> {
    let read = async {
        let size = match shelf.bucket.size(&object.name).await? {
            None => return Ok(Found::Nothing),
            Some(size) => size,
        };
        let Some(mut stream) = shelf.bucket.get(&object.name, 0, size).await? else {
            return Ok(Found::Nothing);
        };
        let mut hasher = Hasher::new();
        while let Some(piece) = stream.next().await? {
            hasher.update(&piece);
        }
        Ok::<_, BucketError>(Found::Other(hasher.finish()))
    };
    Ok(shelf.wait(read)??)
}

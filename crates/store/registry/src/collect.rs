//! Garbage collection, beside pushes and pulls.
//!
//! A blob of a repository is garbage when no manifest there refers to it, nobody was told of it for the grace period, and no
//! upload of the repository is being sent to: a push asks for blobs, sends some, and only then names them in a manifest.
//! A file is garbage when no repository has the blob.

use std::{collections::HashSet, fs};

use ferry_db::Batch;
use ferry_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Store, StoreError,
    files::remove,
    manifests,
    records::{HOLDERS, LINKS, MANIFESTS, REPOSITORIES, TAGS, below, digest_of, key, last},
    store::now,
};

/// How to collect.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GcOptions {
    /// What somebody asked for or sent in the last so many seconds stays.
    pub grace: u64,
    /// Manifests without a tag go after so many seconds; `None` keeps them.
    pub untagged: Option<u64>,
    /// Uploads to which nothing came for so many seconds go.
    pub uploads: u64,
    /// Only say what would go.
    pub dry: bool,
}

impl Default for GcOptions {
    fn default() -> GcOptions {
        GcOptions { grace: 2 * 3600, untagged: None, uploads: 24 * 3600, dry: false }
    }
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collected {
    /// Manifests without a tag.
    pub manifests: u64,
    /// Blobs that repositories no longer have.
    pub links: u64,
    /// Files of blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads that nobody goes on with.
    pub uploads: u64,
}

/// So many records go in one transaction, so that nobody waits for long.
const AT_ONCE: usize = 1000;

impl Store {
    /// Takes away what nobody needs.
    ///
    /// # Errors
    /// When the records or files cannot be used; what went is gone, the rest goes the next time.
    pub fn collect(&self, options: &GcOptions) -> Result<Collected, StoreError> {
        let mut collected = Collected::default();
        self.collect_uploads(options, &mut collected)?;
        // All repositories that have anything, also those that only blobs were sent to.
        let mut after = String::new();
        while let Some(first) = self.reader.keys(&LINKS, (&after, "~"), 1)?.into_iter().next() {
            let repository = first.split(' ').next().unwrap_or_default().to_owned();
            if let Some(age) = options.untagged {
                self.collect_untagged(&repository, age, options, &mut collected)?;
            }
            self.collect_links(&repository, options, &mut collected)?;
            after = below(&repository).1;
        }
        match &self.shelf {
            None => self.collect_files(options, &mut collected)?,
            Some(shelf) => self.sweep(shelf, options, &mut collected)?,
        }
        self.forget_old_wishes(options);
        Ok(collected)
    }

    fn collect_uploads(&self, options: &GcOptions, to: &mut Collected) -> Result<(), StoreError> {
        let stale = now().saturating_sub(options.uploads);
        let old: Vec<_> = self
            .open_uploads()
            .values()
            .filter(|upload| upload.active() < stale || options.uploads == 0)
            .cloned()
            .collect();
        for upload in old {
            // Whoever sends to it has it.
            let Some(claim) = upload.claim() else { continue };
            to.uploads += 1;
            if !options.dry {
                self.forget(&claim)?;
            }
        }
        Ok(())
    }

    fn collect_untagged(
        &self,
        repository: &str,
        age: u64,
        options: &GcOptions,
        to: &mut Collected,
    ) -> Result<(), StoreError> {
        let records = self.records();
        let manifests = manifests::all(&records.db, repository)?;
        let (after, before) = below(repository);
        let mut kept: HashSet<Digest> = records
            .db
            .range(&TAGS, (&after, &before), usize::MAX)?
            .into_iter()
            .map(|(_, tag)| tag.digest)
            .collect();
        let old = now().saturating_sub(age);
        let young = |at: u64| age > 0 && at >= old;
        kept.extend(
            manifests.iter().filter(|(_, m)| young(m.at)).map(|(digest, _)| digest.clone()),
        );
        // What a kept one needs is kept, and what is about a kept one.
        loop {
            let before = kept.len();
            for (digest, manifest) in &manifests {
                if manifest.subject.as_ref().is_some_and(|subject| kept.contains(subject)) {
                    kept.insert(digest.clone());
                }
                if kept.contains(digest) {
                    kept.extend(manifest.manifests.iter().cloned());
                }
            }
            if kept.len() == before {
                break;
            }
        }
        let mut batch = Batch::new();
        for (digest, manifest) in manifests.iter().filter(|(digest, _)| !kept.contains(digest)) {
            to.manifests += 1;
            manifests::remove_manifest(&mut batch, repository, &digest.hex(), manifest);
        }
        if !options.dry {
            records.db.write(batch)?;
        }
        Ok(())
    }

    fn collect_links(
        &self,
        repository: &str,
        options: &GcOptions,
        to: &mut Collected,
    ) -> Result<(), StoreError> {
        let (mut after, before) = below(repository);
        loop {
            let mut records = self.records();
            let links = records.db.range(&LINKS, (&after, &before), AT_ONCE)?;
            let Some((name, _)) = links.last() else { break };
            after.clone_from(name);
            if self.is_pushed_to(repository, options) {
                break;
            }
            // Under the lock: a manifest that was put until now counts, and none can come until the links are gone.
            let needed = needed(&records.db, repository)?;
            let old = now().saturating_sub(options.grace);
            let mut batch = Batch::new();
            for (name, link) in &links {
                let wanted = records.wanted.get(name).copied().unwrap_or(self.opened);
                let recent = options.grace > 0 && link.at.max(wanted) >= old;
                let Some(digest) = digest_of(name) else { continue };
                if recent || needed.contains(&digest) {
                    continue;
                }
                to.links += 1;
                batch.delete(&LINKS, name);
                batch.delete(&HOLDERS, &key(last(name), repository));
                if !options.dry {
                    records.wanted.remove(name);
                }
            }
            if !options.dry {
                records.db.write(batch)?;
            }
        }
        self.forget_empty(repository, options)
    }

    /// Whether something came to an upload of the repository in the grace period.
    fn is_pushed_to(&self, repository: &str, options: &GcOptions) -> bool {
        let old = now().saturating_sub(options.grace);
        let uploads = self.open_uploads();
        options.grace > 0
            && uploads
                .values()
                .any(|upload| upload.repository() == repository && upload.active() >= old)
    }

    /// A repository in which nothing is left is no longer listed.
    fn forget_empty(&self, repository: &str, options: &GcOptions) -> Result<(), StoreError> {
        let records = self.records();
        let (after, before) = below(repository);
        let empty = records.db.keys(&LINKS, (&after, &before), 1)?.is_empty()
            && records.db.keys(&MANIFESTS, (&after, &before), 1)?.is_empty();
        if empty && !options.dry {
            let mut batch = Batch::new();
            batch.delete(&REPOSITORIES, repository);
            records.db.write(batch)?;
        }
        Ok(())
    }

    /// Files of blobs that no repository has, also those that a crash left.
    fn collect_files(&self, options: &GcOptions, to: &mut Collected) -> Result<(), StoreError> {
        for directory in self.files.blob_directories() {
            let entries =
                fs::read_dir(&directory).map_err(StoreError::file("read directory", &directory))?;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
                // With it, nobody places this blob or records that a repository has it.
                let _locked = self.digest_lock(&digest);
                let (after, before) = below(&name);
                if !self.records().db.keys(&HOLDERS, (&after, &before), 1)?.is_empty() {
                    continue;
                }
                to.blobs += 1;
                to.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
                if !options.dry {
                    remove(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    fn forget_old_wishes(&self, options: &GcOptions) {
        let old = now().saturating_sub(options.grace);
        self.records().wanted.retain(|_, at| *at >= old);
    }
}

/// What a repository's manifests are and refer to.
fn needed(db: &ferry_db::Db, repository: &str) -> Result<HashSet<Digest>, StoreError> {
    let mut needed = HashSet::new();
    for (digest, manifest) in manifests::all(db, repository)? {
        needed.insert(digest);
        needed.extend(manifest.blobs);
    }
    Ok(needed)
}

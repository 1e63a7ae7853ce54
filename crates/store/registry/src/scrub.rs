//! Verifying everything: every file has its digest, everything that is referred to is there.

use std::fs;

use ferry_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Store, StoreError, manifests,
    records::{HOLDERS, LINKS, below, last},
    upload::digest_of_file,
};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Damage {
    /// The file's content has another digest, or cannot be read.
    Corrupt {
        /// Which blob.
        digest: Digest,
        /// Which repositories have it.
        repositories: Vec<String>,
    },
    /// There is no file.
    Missing {
        /// Which blob.
        digest: Digest,
        /// Which repositories have it.
        repositories: Vec<String>,
    },
    /// A manifest refers to a blob that its repository does not have.
    Unlinked {
        /// The blob.
        digest: Digest,
        /// Where.
        repository: String,
        /// Whose.
        manifest: Digest,
    },
}

/// What was looked at, and what is damaged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scrubbed {
    /// Files read.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub damage: Vec<Damage>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Damage::Corrupt { digest, repositories } => {
                write!(f, "corrupt  {digest}  in {}", repositories.join(", "))
            }
            Damage::Missing { digest, repositories } => {
                write!(f, "missing  {digest}  in {}", repositories.join(", "))
            }
            Damage::Unlinked { digest, repository, manifest } => {
                write!(f, "unlinked {digest}  in {repository}, needed by {manifest}")
            }
        }
    }
}

impl Store {
    /// Reads every blob and checks every reference. What has another digest than its name says is set aside: nobody is given it any
    /// more, clients are told that it is not here, and the next push of it brings it back.
    ///
    /// # Errors
    /// When the records or directories cannot be read, or what is damaged cannot be set aside.
    pub fn scrub(&self) -> Result<Scrubbed, StoreError> {
        let mut scrubbed = Scrubbed::default();
        let mut corrupt = Vec::new();
        if let Some(shelf) = &self.shelf {
            self.scrub_objects(shelf, &mut corrupt, &mut scrubbed)?;
            self.scrub_references(&corrupt, &mut scrubbed)?;
            return Ok(scrubbed);
        }
        for directory in self.files.blob_directories() {
            let entries =
                fs::read_dir(&directory).map_err(StoreError::file("read directory", &directory))?;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let Ok(digest) = format!("sha256:{name}").parse::<Digest>() else { continue };
                scrubbed.blobs += 1;
                scrubbed.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
                let right = digest_of_file(&entry.path()).is_ok_and(|found| found == digest);
                // A collection may have taken it meanwhile, or a push mended it.
                if !right && self.set_aside(&digest)? {
                    let repositories = self.holders(&name)?;
                    corrupt.push(digest.clone());
                    scrubbed.damage.push(Damage::Corrupt { digest, repositories });
                }
            }
        }
        self.scrub_references(&corrupt, &mut scrubbed)?;
        Ok(scrubbed)
    }

    /// Whether a blob is damaged, which is then out of the way. One that the disk does not give stays where it is.
    fn set_aside(&self, digest: &Digest) -> Result<bool, StoreError> {
        let _locked = self.digest_lock(digest);
        let path = self.files.blob(digest);
        match digest_of_file(&path) {
            Ok(found) if found == *digest => Ok(false),
            Ok(_) => self.files.set_aside(digest).map(|()| true),
            Err(_) => Ok(path.exists()),
        }
    }

    pub(crate) fn holders(&self, hex: &str) -> Result<Vec<String>, StoreError> {
        let (after, before) = below(hex);
        let keys = self.reader.keys(&HOLDERS, (&after, &before), usize::MAX)?;
        Ok(keys.iter().map(|key| last(key).to_owned()).collect())
    }

    fn scrub_references(
        &self,
        corrupt: &[Digest],
        scrubbed: &mut Scrubbed,
    ) -> Result<(), StoreError> {
        let mut after = String::new();
        while let Some(first) = self.reader.keys(&HOLDERS, (&after, "~"), 1)?.into_iter().next() {
            let hex = first.split(' ').next().unwrap_or_default().to_owned();
            after = below(&hex).1;
            let Ok(digest) = format!("sha256:{hex}").parse::<Digest>() else { continue };
            let repositories = self.holders(&hex)?;
            let told = corrupt.contains(&digest);
            if !told && !self.is_recorded(&digest)? && !repositories.is_empty() {
                scrubbed.damage.push(Damage::Missing { digest, repositories });
            }
        }
        for repository in self.repositories("", usize::MAX)? {
            for (manifest, record) in manifests::all(&self.reader, &repository)? {
                if record.cached {
                    continue;
                }
                for digest in record.blobs.iter().chain(&record.manifests) {
                    let link = crate::records::key(&repository, &digest.hex());
                    if self.reader.get(&LINKS, &link)?.is_none() {
                        scrubbed.damage.push(Damage::Unlinked {
                            digest: digest.clone(),
                            repository: repository.clone(),
                            manifest: manifest.clone(),
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

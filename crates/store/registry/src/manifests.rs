//! Manifests, tags, referrers: put, read, listed, deleted.

use std::collections::BTreeMap;

use ferry_db::Batch;
use ferry_oci::{Digest, media};
use serde::Deserialize;

use crate::{
    Refusal, Store, StoreError,
    objects::Incoming,
    records::{
        HOLDERS, LINKS, LinkRecord, MANIFESTS, ManifestRecord, REFERRERS, REPOSITORIES, Referrer,
        RepositoryRecord, TAGS, TagRecord, below, digest_of, key, last,
    },
    store::{Records, now},
};

/// What a manifest is called in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// By a tag.
    Tag(String),
    /// By its digest.
    Digest(Digest),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::Tag(tag) => f.write_str(tag),
            Target::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest to keep.
#[derive(Debug)]
pub struct PutManifest<'a> {
    /// Where.
    pub repository: &'a str,
    /// As what.
    pub target: &'a Target,
    /// What the request says that it is.
    pub media_type: &'a str,
    /// The manifest.
    pub bytes: &'a [u8],
    /// It is a copy of an upstream's: what it refers to need not be here yet.
    pub cached: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Its digest.
    pub digest: Digest,
    /// What it is about.
    pub subject: Option<Digest>,
    /// Where the tag pointed before, if that was another manifest.
    pub replaced: Option<Digest>,
}

/// A manifest that is there.
#[derive(Debug, Clone)]
pub struct ManifestContent {
    /// Its digest.
    pub digest: Digest,
    /// What is recorded of it.
    pub record: ManifestRecord,
}

/// Most references of one manifest.
const MAX_REFERENCES: usize = 10_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Text {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Reference>,
    #[serde(default)]
    layers: Vec<Reference>,
    #[serde(default)]
    manifests: Option<Vec<Reference>>,
    #[serde(default)]
    subject: Option<Reference>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    media_type: String,
    digest: Digest,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    urls: Vec<String>,
}

impl Reference {
    /// Layers that only their makers may hand out are fetched from their addresses.
    fn foreign(&self) -> bool {
        !self.urls.is_empty()
            || self.media_type == media::DOCKER_FOREIGN
            || self.media_type.contains(".layer.nondistributable.")
    }
}

/// What a manifest says, as it is recorded.
struct Facts {
    record: ManifestRecord,
    referrer: Option<(Digest, Referrer)>,
}

fn read(bytes: &[u8], media_type: &str, digest: &Digest) -> Result<Facts, Refusal> {
    let invalid = |words: &str| Refusal::ManifestInvalid(words.to_owned());
    let text: Text = serde_json::from_slice(bytes).map_err(|error| invalid(&error.to_string()))?;
    if text.schema_version != 2 {
        return Err(invalid("schema version is not 2"));
    }
    let index = matches!(media_type, media::OCI_INDEX | media::DOCKER_INDEX);
    if !index && !matches!(media_type, media::OCI_MANIFEST | media::DOCKER_MANIFEST) {
        return Err(invalid(&format!("unknown media type {media_type:?}")));
    }
    if text.media_type.as_deref().is_some_and(|inside| inside != media_type) {
        return Err(invalid("its media type is not that of the request"));
    }
    let (mut blobs, mut manifests, mut content_size) = (Vec::new(), Vec::new(), 0_u64);
    let config_type = text.config.as_ref().map(|config| config.media_type.clone());
    match (text.manifests, text.config) {
        (Some(list), None) if index && text.layers.is_empty() => {
            manifests = list.into_iter().map(|reference| reference.digest).collect();
        }
        (None, Some(config)) if !index => {
            for reference in std::iter::once(&config).chain(&text.layers) {
                if !reference.foreign() {
                    content_size = content_size.saturating_add(reference.size);
                    blobs.push(reference.digest.clone());
                }
            }
        }
        _ => return Err(invalid("it is neither an image manifest nor an index")),
    }
    if blobs.len() + manifests.len() > MAX_REFERENCES {
        return Err(invalid("it has too many references"));
    }
    let size = bytes.len() as u64;
    let subject = text.subject.map(|subject| subject.digest);
    let referrer = subject.clone().map(|subject| {
        let artifact_type = text.artifact_type.filter(|text| !text.is_empty()).or(config_type);
        let referrer = Referrer {
            media_type: media_type.to_owned(),
            digest: digest.clone(),
            size,
            artifact_type,
            annotations: text.annotations.unwrap_or_default(),
        };
        (subject, referrer)
    });
    let media_type = media_type.to_owned();
    let record = ManifestRecord {
        media_type,
        size,
        at: now(),
        blobs,
        manifests,
        subject,
        content_size,
        cached: false,
    };
    Ok(Facts { record, referrer })
}

/// What a manifest, or an index, refers to.
///
/// # Errors
/// When it is none that is kept here.
pub fn references(bytes: &[u8], media_type: &str) -> Result<Vec<Digest>, Refusal> {
    let Facts { record, .. } = read(bytes, media_type, &Digest::sha256_of(bytes))?;
    Ok(record.blobs.into_iter().chain(record.manifests).chain(record.subject).collect())
}

impl Store {
    /// Keeps a manifest, and sets the tag that it was pushed as.
    ///
    /// # Errors
    /// When it does not read, refers to what the repository does not have, has another digest, or its tag must stay as it is.
    pub fn put_manifest(&self, put: &PutManifest<'_>) -> Result<Put, StoreError> {
        if put.bytes.len() > self.limits.manifest {
            return Err(Refusal::TooLarge(self.limits.manifest as u64).into());
        }
        let digest = Digest::sha256_of(put.bytes);
        if let Target::Digest(wanted) = put.target
            && *wanted != digest
        {
            let wanted = wanted.clone();
            return Err(Refusal::DigestMismatch { wanted, found: digest }.into());
        }
        let mut read = read(put.bytes, put.media_type, &digest)?;
        read.record.cached = put.cached;
        let record = |batch: &mut Batch| self.record_manifest(put, &digest, &read, batch);
        let replaced = self.keep(&digest, Incoming::Bytes(put.bytes), record)?;
        Ok(Put { digest, subject: read.record.subject, replaced })
    }

    /// The decision and the transaction.
    fn record_manifest(
        &self,
        put: &PutManifest<'_>,
        digest: &Digest,
        read: &Facts,
        batch: &mut Batch,
    ) -> Result<Option<Digest>, StoreError> {
        let (repository, hex) = (put.repository, digest.hex());
        let records = self.records();
        let missing = match put.cached {
            true => Vec::new(),
            false => missing(&records, repository, &read.record)?,
        };
        if !missing.is_empty() {
            return Err(Refusal::ManifestBlobUnknown(missing).into());
        }
        let mut replaced = None;
        if let Target::Tag(tag) = put.target {
            let name = key(repository, tag);
            let before = records.db.get(&TAGS, &name)?.map(|record| record.digest);
            replaced = before.filter(|before| before != digest);
            if replaced.is_some() && self.is_immutable(repository, tag) {
                return Err(Refusal::TagImmutable(tag.clone()).into());
            }
            batch.put(&TAGS, &name, &TagRecord { digest: digest.clone(), at: now() })?;
        }
        if records.db.get(&REPOSITORIES, repository)?.is_none() {
            batch.put(&REPOSITORIES, repository, &RepositoryRecord { created: now() })?;
        }
        batch.put(&LINKS, &key(repository, &hex), &LinkRecord { at: now() })?;
        batch.put(&HOLDERS, &key(&hex, repository), &())?;
        batch.put(&MANIFESTS, &key(repository, &hex), &read.record)?;
        if let Some((subject, referrer)) = &read.referrer {
            let about = key(repository, &subject.hex());
            batch.put(&REFERRERS, &key(&about, &hex), referrer)?;
        }
        records.db.write(std::mem::take(batch))?;
        Ok(replaced)
    }

    /// Points a tag at a manifest that is here. Whether it is.
    ///
    /// # Errors
    /// When the tag must stay as it is, or the records fail.
    pub fn set_tag(&self, repository: &str, tag: &str, to: &Digest) -> Result<bool, StoreError> {
        let records = self.records();
        if records.db.get(&MANIFESTS, &key(repository, &to.hex()))?.is_none() {
            return Ok(false);
        }
        let name = key(repository, tag);
        let before = records.db.get(&TAGS, &name)?.map(|record| record.digest);
        if before.is_some_and(|before| before != *to) && self.is_immutable(repository, tag) {
            return Err(Refusal::TagImmutable(tag.to_owned()).into());
        }
        let mut batch = Batch::new();
        batch.put(&TAGS, &name, &TagRecord { digest: to.clone(), at: now() })?;
        records.db.write(batch)?;
        Ok(true)
    }

    /// Whether a tag stays as it is once it is set.
    pub fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        self.immutable.iter().any(|pattern| pattern.matches(repository, tag))
    }

    /// What is recorded of a manifest.
    ///
    /// # Errors
    /// When the repository does not have it.
    pub fn manifest(&self, repository: &str, at: &Target) -> Result<ManifestContent, StoreError> {
        let unknown = || Refusal::ManifestUnknown(at.to_string());
        let digest = match at {
            Target::Digest(digest) => digest.clone(),
            Target::Tag(tag) => self.tag(repository, tag)?.ok_or_else(unknown)?.digest,
        };
        let record = self.reader.get(&MANIFESTS, &key(repository, &digest.hex()))?;
        Ok(ManifestContent { record: record.ok_or_else(unknown)?, digest })
    }

    /// A manifest's bytes.
    ///
    /// # Errors
    /// When its file is gone or cannot be read.
    pub fn manifest_bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let blob = self.open_blob(digest)?;
        self.bytes_of(blob, digest, self.limits.manifest)
    }

    /// Where a tag points.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn tag(&self, repository: &str, tag: &str) -> Result<Option<TagRecord>, StoreError> {
        Ok(self.reader.get(&TAGS, &key(repository, tag))?)
    }

    /// At most `limit` tags behind `after`, in order.
    ///
    /// # Errors
    /// When the repository is not known.
    pub fn tags(
        &self,
        repository: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        self.known(repository)?;
        let end = below(repository).1;
        let keys = self.reader.keys(&TAGS, (&key(repository, after), &end), limit)?;
        Ok(keys.iter().map(|key| last(key).to_owned()).collect())
    }

    /// As [`Store::tags`], with what they point at.
    ///
    /// # Errors
    /// When the repository is not known.
    pub fn tag_records(
        &self,
        repository: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, TagRecord)>, StoreError> {
        self.known(repository)?;
        let end = below(repository).1;
        let records = self.reader.range(&TAGS, (&key(repository, after), &end), limit)?;
        Ok(records.into_iter().map(|(key, record)| (last(&key).to_owned(), record)).collect())
    }

    fn known(&self, repository: &str) -> Result<(), StoreError> {
        match self.reader.get(&REPOSITORIES, repository)? {
            Some(_) => Ok(()),
            None => Err(Refusal::RepositoryUnknown(repository.to_owned()).into()),
        }
    }

    /// At most `limit` repositories behind `after`, in order.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn repositories(&self, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(self.reader.keys(&REPOSITORIES, (after, "~"), limit)?)
    }

    /// At most `limit` of what is about a manifest, whether that is here or not, behind the digest with this hex form.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Referrer>, StoreError> {
        let about = key(repository, &subject.hex());
        let before = below(&about).1;
        let found = self.reader.range(&REFERRERS, (&key(&about, after), &before), limit)?;
        Ok(found.into_iter().map(|(_, referrer)| referrer).collect())
    }

    /// Takes a tag away; the manifest stays.
    ///
    /// # Errors
    /// When it is not there, or must stay.
    pub fn delete_tag(&self, repository: &str, tag: &str) -> Result<Digest, StoreError> {
        let records = self.records();
        let name = key(repository, tag);
        let Some(record) = records.db.get(&TAGS, &name)? else {
            return Err(Refusal::ManifestUnknown(tag.to_owned()).into());
        };
        if self.is_immutable(repository, tag) {
            return Err(Refusal::TagImmutable(tag.to_owned()).into());
        }
        let mut batch = Batch::new();
        batch.delete(&TAGS, &name);
        records.db.write(batch)?;
        Ok(record.digest)
    }

    /// Takes a manifest away with all tags that point at it.
    ///
    /// # Errors
    /// When it is not there, or a tag of it must stay.
    pub fn delete_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Vec<String>, StoreError> {
        let hex = digest.hex();
        let records = self.records();
        let Some(manifest) = records.db.get(&MANIFESTS, &key(repository, &hex))? else {
            return Err(Refusal::ManifestUnknown(digest.to_string()).into());
        };
        let (after, before) = below(repository);
        let mut batch = Batch::new();
        let mut tags = Vec::new();
        for (name, tag) in records.db.range(&TAGS, (&after, &before), usize::MAX)? {
            if tag.digest != *digest {
                continue;
            }
            if self.is_immutable(repository, last(&name)) {
                return Err(Refusal::TagImmutable(last(&name).to_owned()).into());
            }
            tags.push(last(&name).to_owned());
            batch.delete(&TAGS, &name);
        }
        remove_manifest(&mut batch, repository, &hex, &manifest);
        records.db.write(batch)?;
        Ok(tags)
    }
}

/// Takes a manifest and what it is known for out of the records; its link stays for the collection.
pub(crate) fn remove_manifest(
    batch: &mut Batch,
    repository: &str,
    hex: &str,
    manifest: &ManifestRecord,
) {
    batch.delete(&MANIFESTS, &key(repository, hex));
    if let Some(subject) = &manifest.subject {
        batch.delete(&REFERRERS, &key(&key(repository, &subject.hex()), hex));
    }
}

/// What a manifest refers to and its repository does not have.
fn missing(
    records: &Records,
    repository: &str,
    manifest: &ManifestRecord,
) -> Result<Vec<Digest>, StoreError> {
    let mut missing = Vec::new();
    for digest in &manifest.blobs {
        if records.db.get(&LINKS, &key(repository, &digest.hex()))?.is_none() {
            missing.push(digest.clone());
        }
    }
    for digest in &manifest.manifests {
        if records.db.get(&MANIFESTS, &key(repository, &digest.hex()))?.is_none() {
            missing.push(digest.clone());
        }
    }
    Ok(missing)
}

/// All manifests of a repository.
pub(crate) fn all(
    db: &ferry_db::Db,
    repository: &str,
) -> Result<Vec<(Digest, ManifestRecord)>, StoreError> {
    let (after, before) = below(repository);
    let found = db.range(&MANIFESTS, (&after, &before), usize::MAX)?;
    Ok(found
        .into_iter()
        .filter_map(|(name, manifest)| Some((digest_of(&name)?, manifest)))
        .collect())
}

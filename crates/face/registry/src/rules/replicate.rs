//! `--replicate`: what is pushed here and a rule means, at another registry.
//!
//! A thread of its own for each rule: it reads files while it sends them.

use std::{fs::File, io::Read, sync::Arc, time::Duration};

use bytes::Bytes;
use ferry_errkind::chain;
use ferry_oci::Digest;
use ferry_registry_store::{BlobContent, Store, StoreError, Target, Wanting};
use ferry_transfer::{RawManifest, Repository, RepositoryError};
use serde_json::json;

use super::{ReplicateRule, Standing, pause_after};
use crate::{fault::Fault, journal::Audit, proxy::Upstream};

/// How often the records are asked whether something was pushed. It costs a microsecond.
const LOOK: Duration = Duration::from_secs(1);
/// Sent at once.
const PIECE: usize = 256 << 10;
/// An index of indexes of …
const MAX_DEPTH: usize = 8;

/// A rule at work.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) rule: ReplicateRule,
    /// Where it goes.
    pub(crate) upstream: Upstream,
    pub(crate) store: Arc<Store>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) standing: Arc<Standing>,
}

/// Why something could not be sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Remote(#[from] RepositoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Refused(String),
    #[error("cannot read a blob")]
    Read(#[from] std::io::Error),
}

impl SendError {
    /// Whether nothing else will get there either.
    fn is_away(&self) -> bool {
        match self {
            SendError::Remote(error) => {
                error.is_broken()
                    || error.refusal().is_some_and(|it| it.status == 429 || it.status >= 500)
            }
            _ => false,
        }
    }
}

impl Replica {
    pub(crate) fn standing(rule: &ReplicateRule) -> Arc<Standing> {
        Standing::of("replicate", &rule.text)
    }

    /// Sends for ever, on a thread of its own.
    pub(crate) fn start(self) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("replicate".to_owned());
        thread.spawn(move || runtime.block_on(self.run())).map(drop)
    }

    async fn run(self) {
        let id = self.id();
        let (mut failures, mut done) = (0, None);
        loop {
            let version = self.store.records_version().ok();
            if version.is_none() || version == done {
                self.standing.rest(LOOK).await;
                continue;
            }
            match self.send_all(&id).await {
                Ok(()) => {
                    failures = 0;
                    // What we note ourselves changes the records, too: one more look finds nothing.
                    done = version;
                    self.standing.succeeded();
                }
                Err(words) => {
                    failures += 1;
                    self.standing.failed(&words);
                    self.standing.pause(pause_after(failures)).await;
                }
            }
        }
    }

    /// What the notes of this rule are under: another pattern or another registry has notes of its own.
    fn id(&self) -> String {
        let text = self.rule.text.trim_end_matches(",delete");
        Digest::sha256_of(text.as_bytes()).hex().chars().take(16).collect()
    }

    async fn send_all(&self, id: &str) -> Result<(), String> {
        let todo = self.store.to_replicate(id, &self.rule.pattern);
        let todo = todo.map_err(|error| chain(&error))?;
        self.standing.report().waiting = todo.len() as u64;
        let mut last = Ok(());
        for one in todo {
            let sent = match &one.digest {
                Some(digest) => self.send(&one, digest).await,
                None => self.remove(id, &one).await,
            };
            match sent {
                Ok(()) => {
                    self.store.note_replicated(id, &one).map_err(|error| chain(&error))?;
                    self.standing.travelled();
                }
                Err(error) => {
                    let sign = if one.name.contains(':') { '@' } else { ':' };
                    let words = format!("{}{sign}{}: {}", one.repository, one.name, chain(&error));
                    if error.is_away() {
                        return Err(words);
                    }
                    last = Err(words);
                }
            }
        }
        last
    }

    async fn there(&self, name: &str) -> Result<Repository, SendError> {
        let refused = |fault: Fault| SendError::Refused(fault.words().to_owned());
        self.upstream.to_change(name, self.rule.delete).await.map_err(refused)
    }

    async fn send(&self, one: &Wanting, digest: &Digest) -> Result<(), SendError> {
        let there = self.there(&one.repository).await?;
        if there.manifest_digest(&one.name).await? == Some(Some(digest.clone())) {
            return Ok(());
        }
        self.manifest(&there, one, &one.name, digest, 0).await?;
        self.audit.record(json!({
            "action": "replicate",
            "repository": one.repository,
            "reference": one.name,
            "digest": digest.to_string(),
            "to": self.upstream.url,
        }));
        Ok(())
    }

    /// Sends all that a manifest refers to, as far as it is not there, then the manifest.
    async fn manifest(
        &self,
        there: &Repository,
        one: &Wanting,
        name: &str,
        digest: &Digest,
        depth: usize,
    ) -> Result<(), SendError> {
        if depth > MAX_DEPTH {
            return Err(SendError::Refused("too many manifests lead to one another".to_owned()));
        }
        let found = self.store.manifest(&one.repository, &Target::Digest(digest.clone()))?;
        for child in &found.record.manifests {
            let name = child.to_string();
            if there.manifest_digest(&name).await?.is_none() {
                Box::pin(self.manifest(there, one, &name, child, depth + 1)).await?;
            }
        }
        for blob in &found.record.blobs {
            if there.blob_size(blob).await?.is_none() {
                self.blob(there, &one.repository, blob).await?;
            }
        }
        let json = Bytes::from(self.store.manifest_bytes(digest)?);
        let manifest =
            RawManifest { media_type: found.record.media_type, json, digest: digest.clone() };
        Ok(there.put_listed(name, &manifest).await?)
    }

    async fn blob(
        &self,
        there: &Repository,
        repository: &str,
        digest: &Digest,
    ) -> Result<(), SendError> {
        let blob = self.store.blob(repository, digest)?;
        match blob.content {
            BlobContent::File(mut file) => there.put_blob(digest, async || piece(&mut file)).await,
            BlobContent::Object(object) => {
                let mut pieces = object.read(0, blob.size).await?;
                let next = async || match pieces.recv().await {
                    None => Ok(None),
                    Some(piece) => Ok::<_, SendError>(Some(piece?)),
                };
                there.put_blob(digest, next).await
            }
        }
    }

    /// Takes away there what is no longer here, if the rule says so.
    async fn remove(&self, id: &str, one: &Wanting) -> Result<(), SendError> {
        if !self.rule.delete {
            return Ok(());
        }
        let there = self.there(&one.repository).await?;
        match there.delete_manifest(&one.name).await {
            Ok(_) => {}
            // Older registries delete by digest only, and then all tags of it.
            Err(error) if error.refusal().is_some_and(|it| matches!(it.status, 400 | 405)) => {
                if self.store.is_sent_otherwise(id, &one.repository, &one.name)? {
                    let words = "it cannot delete one tag of several that are the same image";
                    tracing::warn!(rule = self.rule.text, tag = one.name, "{words}");
                    return Ok(());
                }
                if let Some(digest) = self.store.sent_as(id, &one.repository, &one.name)? {
                    there.delete_manifest(&digest.to_string()).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        self.audit.record(json!({
            "action": "replicate delete",
            "repository": one.repository,
            "reference": one.name,
            "to": self.upstream.url,
        }));
        Ok(())
    }
}

/// The next bytes of a file.
fn piece(file: &mut File) -> Result<Option<Bytes>, SendError> {
    let mut buffer = vec![0; PIECE];
    let read = file.read(&mut buffer)?;
    buffer.truncate(read);
    Ok((read > 0).then(|| Bytes::from(buffer)))
}

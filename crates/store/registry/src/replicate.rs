//! What another registry is to have of ours, and what it has already.
//!
//! There is no list of things to do that a crash could lose: what is to be sent is whatever the tags say and the notes of what was
//! sent do not. A tag that moved twice meanwhile is sent once.

use std::collections::{BTreeMap, BTreeSet};

use ferry_db::{Batch, Table};
use ferry_oci::Digest;
use ferry_transfer::{COSIGN_SUFFIXES, fallback_tag};
use serde::{Deserialize, Serialize};

use crate::{
    Pattern, Store, StoreError, manifests,
    records::{TAGS, below, key, last},
};

/// What a rule has sent: `<rule> <repository> <tag or digest>`.
const REPLICATED: Table<Sent> = Table::new("registry-replicated");
/// So many repositories are looked at in one go.
const AT_ONCE: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    digest: Digest,
}

/// Something that is to be sent, or taken away there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanting {
    /// The repository, as it is called here.
    pub repository: String,
    /// A tag, or the digest of something that is about an image.
    pub name: String,
    /// What it is here; `None` when it is no longer here.
    pub digest: Option<Digest>,
}

impl Store {
    /// What differs between what a rule sends and what it has sent.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn to_replicate(&self, rule: &str, pattern: &Pattern) -> Result<Vec<Wanting>, StoreError> {
        let mut wanted = BTreeMap::new();
        let mut after = String::new();
        loop {
            let repositories = self.repositories(&after, AT_ONCE)?;
            let Some(end) = repositories.last() else { break };
            after.clone_from(end);
            for repository in repositories.iter().filter(|name| pattern.means(name)) {
                self.wanted_of(repository, pattern, &mut wanted)?;
            }
        }
        let mut sent = self.sent(rule)?;
        let mut todo = Vec::new();
        // What is about an image behind it: there it may be refused without it.
        let (tags, about): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|((_, name), _)| !name.contains(':'));
        for ((repository, name), digest) in tags.into_iter().chain(about) {
            let known = sent.remove(&(repository.clone(), name.clone()));
            if known.as_ref() != Some(&digest) {
                todo.push(Wanting { repository, name, digest: Some(digest) });
            }
        }
        let gone =
            sent.into_keys().map(|(repository, name)| Wanting { repository, name, digest: None });
        todo.extend(gone);
        Ok(todo)
    }

    /// Tags that the pattern means, and what is about what they point at.
    fn wanted_of(
        &self,
        repository: &str,
        pattern: &Pattern,
        wanted: &mut BTreeMap<(String, String), Digest>,
    ) -> Result<(), StoreError> {
        let (after, before) = below(repository);
        let tags: BTreeMap<String, Digest> = self
            .reader
            .range(&TAGS, (&after, &before), usize::MAX)?
            .into_iter()
            .map(|(name, tag)| (last(&name).to_owned(), tag.digest))
            .collect();
        let meant: Vec<_> =
            tags.iter().filter(|(tag, _)| pattern.matches(repository, tag)).collect();
        if meant.is_empty() {
            return Ok(());
        }
        let manifests = manifests::all(&self.reader, repository)?;
        let mut images: BTreeSet<Digest> =
            meant.iter().map(|(_, digest)| (*digest).clone()).collect();
        let mut names: BTreeMap<String, Digest> =
            meant.into_iter().map(|(tag, digest)| (tag.clone(), digest.clone())).collect();
        loop {
            let before = images.len();
            for (digest, manifest) in &manifests {
                let about = manifest.subject.as_ref().is_some_and(|it| images.contains(it));
                if about && images.insert(digest.clone()) {
                    names.insert(digest.to_string(), digest.clone());
                }
                if images.contains(digest) {
                    images.extend(manifest.manifests.iter().cloned());
                }
            }
            for suffix in COSIGN_SUFFIXES {
                for image in images.clone() {
                    let tag = format!("{}.{suffix}", fallback_tag(&image));
                    if let Some(digest) = tags.get(&tag) {
                        images.insert(digest.clone());
                        names.insert(tag, digest.clone());
                    }
                }
            }
            if images.len() == before {
                break;
            }
        }
        wanted.extend(names.into_iter().map(|(name, it)| ((repository.to_owned(), name), it)));
        Ok(())
    }

    fn sent(&self, rule: &str) -> Result<BTreeMap<(String, String), Digest>, StoreError> {
        let (after, before) = below(rule);
        let sent = self.reader.range(&REPLICATED, (&after, &before), usize::MAX)?;
        let named = sent.into_iter().filter_map(|(name, sent)| {
            let mut words = name.split(' ').skip(1);
            Some(((words.next()?.to_owned(), words.next()?.to_owned()), sent.digest))
        });
        Ok(named.collect())
    }

    /// Whether another name of the same repository was sent by a rule and is the same manifest there.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn is_sent_otherwise(
        &self,
        rule: &str,
        repository: &str,
        name: &str,
    ) -> Result<bool, StoreError> {
        let sent = self.sent(rule)?;
        let own = sent.get(&(repository.to_owned(), name.to_owned()));
        Ok(sent.iter().any(|((other, as_name), digest)| {
            other == repository && as_name != name && Some(digest) == own
        }))
    }

    /// What a rule has sent under a name, if it has.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn sent_as(
        &self,
        rule: &str,
        repository: &str,
        name: &str,
    ) -> Result<Option<Digest>, StoreError> {
        let sent = self.reader.get(&REPLICATED, &key(&key(rule, repository), name))?;
        Ok(sent.map(|sent| sent.digest))
    }

    /// Remembers that the other registry has something, or has it no longer.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn note_replicated(&self, rule: &str, done: &Wanting) -> Result<(), StoreError> {
        let name = key(&key(rule, &done.repository), &done.name);
        let mut batch = Batch::new();
        match &done.digest {
            Some(digest) => batch.put(&REPLICATED, &name, &Sent { digest: digest.clone() })?,
            None => batch.delete(&REPLICATED, &name),
        }
        Ok(self.records().db.write(batch)?)
    }
}

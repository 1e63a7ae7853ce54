//! `--mirror`: chosen images of another registry, here, on a schedule.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use ferry_errkind::chain;
use ferry_oci::{Digest, Document};
use ferry_registry_store::{PutManifest, Store, StoreError, Target};
use ferry_transfer::{COSIGN_SUFFIXES, RawManifest, Repository, fallback_tag};
use serde_json::json;

use super::{MirrorRule, Standing, pause_after};
use crate::{
    dispatch::on_store,
    fault::{Code, Fault},
    journal::Audit,
    proxy::{Upstream, bring_blob},
};

/// An index of indexes of …, or a signature of a signature of …
const MAX_DEPTH: usize = 8;

/// A rule at work.
#[derive(Debug)]
pub(crate) struct Mirror {
    pub(crate) rule: MirrorRule,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) store: Arc<Store>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) standing: Arc<Standing>,
}

/// A repository, there and here.
struct Pair<'a> {
    repository: &'a Repository,
    theirs: &'a str,
    here: &'a str,
    /// What was looked at in this run: several tags may be one image.
    seen: HashSet<Digest>,
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send + 'a>>;

impl Mirror {
    pub(crate) fn standing(rule: &MirrorRule) -> Arc<Standing> {
        Standing::of("mirror", &rule.text)
    }

    /// Looks now and then, for ever.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        loop {
            match self.look().await {
                Ok(()) => {
                    failures = 0;
                    self.standing.succeeded();
                    self.standing.pause(self.rule.every).await;
                }
                Err(fault) => {
                    failures += 1;
                    self.standing.failed(fault.words());
                    self.standing.pause(pause_after(failures).min(self.rule.every)).await;
                }
            }
        }
    }

    /// Has everything here that the rule means. What fails does not keep the rest from coming.
    async fn look(&self) -> Result<(), Fault> {
        let rule = &self.rule;
        let repositories = match rule.repository.contains('*') {
            false => vec![rule.repository.clone()],
            true => {
                let mut all = self.upstream.catalog().await?;
                all.retain(|name| rule.pattern.means(name));
                all
            }
        };
        let mut last = Ok(());
        for theirs in repositories {
            if let Err(fault) = self.repository(&theirs).await {
                if fault.is(Code::Unavailable) {
                    return Err(fault);
                }
                last = Err(fault);
            }
        }
        last
    }

    async fn repository(&self, theirs: &str) -> Result<(), Fault> {
        let here = self.upstream.local(theirs);
        let mut tags = self.upstream.tags(theirs).await?;
        tags.retain(|tag| self.rule.pattern.matches(theirs, tag));
        let repository = self.upstream.repository(theirs).await?;
        let mut pair = Pair { repository: &repository, theirs, here: &here, seen: HashSet::new() };
        self.standing.report().waiting = tags.len() as u64;
        let mut last = Ok(());
        for tag in &tags {
            if let Err(fault) = self.tag(&mut pair, tag).await {
                if fault.is(Code::Unavailable) {
                    return Err(fault);
                }
                last = Err(fault);
            }
        }
        self.upstream.note(&repository);
        self.standing.report().waiting = 0;
        if self.rule.delete && last.is_ok() {
            self.remove_others(&pair, tags).await?;
        }
        last
    }

    async fn tag(&self, pair: &mut Pair<'_>, tag: &str) -> Result<(), Fault> {
        let failed = |error| self.upstream.fault(&error);
        let digest = match pair.repository.manifest_digest(tag).await.map_err(failed)? {
            // It went since the list was made.
            None => return Ok(()),
            Some(Some(digest)) => digest,
            Some(None) => match pair.repository.manifest(tag).await.map_err(failed)? {
                None => return Ok(()),
                Some(manifest) => manifest.digest,
            },
        };
        self.bring(pair, digest, Target::Tag(tag.to_owned()), 0).await
    }

    /// Has a manifest and all that it refers to and all that is about it; then it is what it was asked for as.
    fn bring<'a>(
        &'a self,
        pair: &'a mut Pair<'_>,
        digest: Digest,
        target: Target,
        depth: usize,
    ) -> Step<'a> {
        Box::pin(async move {
            if depth > MAX_DEPTH {
                let words =
                    format!("{}: more than {MAX_DEPTH} manifests lead to one another", pair.theirs);
                return Err(Fault::new(Code::Upstream, words));
            }
            if pair.seen.insert(digest.clone()) {
                if !self.is_here(pair.here, &digest).await? {
                    self.content(pair, &digest, depth).await?;
                }
                self.about(pair, &digest, depth).await?;
            }
            let Target::Tag(tag) = target else { return Ok(()) };
            self.point(pair.here.to_owned(), tag, digest).await
        })
    }

    async fn is_here(&self, here: &str, digest: &Digest) -> Result<bool, Fault> {
        let (here, digest) = (here.to_owned(), digest.clone());
        self.on_store(move |store| match store.manifest(&here, &Target::Digest(digest)) {
            // A copy of a cache may lack what it refers to.
            Ok(found) => Ok(!found.record.cached),
            Err(StoreError::Refused(_)) => Ok(false),
            Err(error) => Err(error),
        })
        .await
    }

    async fn content(
        &self,
        pair: &mut Pair<'_>,
        digest: &Digest,
        depth: usize,
    ) -> Result<(), Fault> {
        let found = pair.repository.manifest(&digest.to_string()).await;
        let found = found.map_err(|error| self.upstream.fault(&error))?;
        let manifest = found.ok_or_else(|| self.wrong(digest, "it is listed, and not there"))?;
        let document = Document::parse(&manifest.json, &manifest.media_type);
        match document.map_err(|error| self.wrong(digest, &chain(&error)))? {
            Document::Index(index) => {
                for entry in index.manifests {
                    let target = Target::Digest(entry.digest.clone());
                    self.bring(pair, entry.digest, target, depth + 1).await?;
                }
            }
            Document::Manifest(image) => {
                let all = std::iter::once(image.config).chain(image.layers);
                // What only its maker may hand out stays there.
                for blob in all.filter(|blob| blob.urls.is_empty()) {
                    bring_blob(&self.upstream, &self.store, pair.here, pair.theirs, blob.digest)
                        .await?;
                }
            }
        }
        self.put(pair.here.to_owned(), manifest).await?;
        self.standing.travelled();
        Ok(())
    }

    async fn put(&self, here: String, manifest: RawManifest) -> Result<(), Fault> {
        let audit = Arc::clone(&self.audit);
        let put = self.on_store(move |store| {
            let target = Target::Digest(manifest.digest.clone());
            store.put_manifest(&PutManifest {
                repository: &here,
                target: &target,
                media_type: &manifest.media_type,
                bytes: &manifest.json,
                cached: false,
            })?;
            audit.record(json!({
                "action": "mirror",
                "repository": here,
                "digest": manifest.digest.to_string(),
            }));
            Ok(())
        });
        put.await
    }

    /// Signatures and whatever else is about a manifest.
    async fn about(&self, pair: &mut Pair<'_>, digest: &Digest, depth: usize) -> Result<(), Fault> {
        let failed = |error| self.upstream.fault(&error);
        for entry in pair.repository.referrers(digest).await.map_err(failed)? {
            let target = Target::Digest(entry.digest.clone());
            self.bring(pair, entry.digest, target, depth + 1).await?;
        }
        for suffix in COSIGN_SUFFIXES {
            let tag = format!("{}.{suffix}", fallback_tag(digest));
            let found = pair.repository.manifest(&tag).await.map_err(failed)?;
            if let Some(manifest) = found {
                self.bring(pair, manifest.digest, Target::Tag(tag), depth + 1).await?;
            }
        }
        Ok(())
    }

    /// Points a tag at a manifest that is here.
    async fn point(&self, here: String, tag: String, digest: Digest) -> Result<(), Fault> {
        let audit = Arc::clone(&self.audit);
        self.on_store(move |store| {
            let before = store.tag(&here, &tag)?.map(|record| record.digest);
            if before.as_ref() == Some(&digest) {
                return Ok(());
            }
            store.set_tag(&here, &tag, &digest)?;
            audit.record(json!({
                "action": "mirror tag",
                "repository": here,
                "tag": tag,
                "digest": digest.to_string(),
                "replaced": before.map(|digest| digest.to_string()),
            }));
            Ok(())
        })
        .await
    }

    /// Takes tags away here that the rule means and that they have no longer. A list is not believed for that: it may be cut
    /// short, or be no list. They are asked for each.
    async fn remove_others(&self, pair: &Pair<'_>, tags: Vec<String>) -> Result<(), Fault> {
        let here = pair.here.to_owned();
        let ours = self.on_store(move |store| match store.tags(&here, "", usize::MAX) {
            Err(StoreError::Refused(_)) => Ok(Vec::new()),
            ours => ours,
        });
        let tags: HashSet<String> = tags.into_iter().collect();
        for tag in ours.await? {
            let meant = self.rule.pattern.matches(pair.theirs, &tag) && !tag.starts_with("sha256-");
            if tags.contains(&tag) || !meant {
                continue;
            }
            let there = pair.repository.manifest_digest(&tag).await;
            if there.map_err(|error| self.upstream.fault(&error))?.is_none() {
                self.remove(pair.here.to_owned(), tag).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, here: String, tag: String) -> Result<(), Fault> {
        let audit = Arc::clone(&self.audit);
        self.on_store(move |store| match store.delete_tag(&here, &tag) {
            Ok(digest) => {
                audit.record(json!({
                    "action": "mirror delete",
                    "repository": here,
                    "tag": tag,
                    "digest": digest.to_string(),
                }));
                Ok(())
            }
            // Immutable, or gone meanwhile.
            Err(StoreError::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    async fn on_store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        on_store(Arc::clone(&self.store), work).await
    }

    fn wrong(&self, digest: &Digest, why: &str) -> Fault {
        let words = format!("{}: {digest}: {why}", self.upstream.url);
        Fault::new(Code::Upstream, words)
    }
}

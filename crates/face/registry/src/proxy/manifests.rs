//! Manifests: by digest from the disk, by tag after a question whether it moved.

use std::sync::Arc;

use ferry_oci::Digest;
use ferry_registry_store::{PutManifest, StoreError, Target};
use ferry_transfer::Repository;

use super::Upstream;
use crate::{
    dispatch::{Answer, Call},
    fault::{Code, Fault},
    handlers::{self, set},
};

pub(super) async fn get(
    call: &Call,
    upstream: &Upstream,
    theirs: &str,
    name: String,
    target: Target,
) -> Answer {
    let wanted = Manifest { call, upstream, theirs, name: &name, target: &target };
    let stale = wanted.bring().await?;
    let mut response = handlers::manifests::get(call, name, target).await?;
    if let Some(why) = stale {
        // In the form of the distribution specification: clients show it to their users.
        let text = format!("299 - \"an old copy, for the upstream fails: {}\"", quotable(&why));
        set(&mut response, "warning", text);
    }
    Ok(response)
}

/// What goes into a quoted string of a header.
fn quotable(words: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => ' ',
    };
    words.chars().take(300).map(plain).collect()
}

struct Manifest<'a> {
    call: &'a Call,
    upstream: &'a Upstream,
    theirs: &'a str,
    name: &'a str,
    target: &'a Target,
}

impl Manifest<'_> {
    /// Sees that it is here, and what it should be. The reason when what is here may be old.
    async fn bring(&self) -> Result<Option<String>, Fault> {
        if self.here().await?.is_some_and(|_| self.is_known()) {
            return Ok(None);
        }
        let _turn = self.upstream.turns.of(&self.key()).await;
        let here = self.here().await?;
        if here.is_some() && self.is_known() {
            return Ok(None);
        }
        match self.ask(here.as_ref()).await {
            Ok(()) => {
                if matches!(self.target, Target::Tag(_)) {
                    self.upstream.freshen(self.key());
                }
                Ok(None)
            }
            Err(fault) if here.is_some() && fault.is_passing() => {
                let upstream = &self.upstream.url;
                tracing::warn!(upstream, name = self.name, target = %self.target, "an old copy is given: {}", fault.words());
                Ok(Some(fault.words().to_owned()))
            }
            Err(fault) => {
                if fault.is_passing() {
                    let upstream = &self.upstream.url;
                    tracing::warn!(upstream, name = self.name, target = %self.target, "{}", fault.words());
                }
                Err(fault)
            }
        }
    }

    fn key(&self) -> String {
        format!("{}:{}", self.name, self.target)
    }

    /// Whether what is here need not be asked about.
    fn is_known(&self) -> bool {
        match self.target {
            Target::Digest(_) => true,
            Target::Tag(tag) => {
                self.upstream.is_fresh(&self.key()) || self.call.is_immutable(self.name, tag)
            }
        }
    }

    /// The digest of what is here.
    async fn here(&self) -> Result<Option<Digest>, Fault> {
        let (name, target) = (self.name.to_owned(), self.target.clone());
        self.call
            .store(move |store| {
                let found = store.manifest(&name, &target);
                // Its file may have been damaged and set aside.
                let whole = found.and_then(|found| {
                    store.blob(&name, &found.digest)?;
                    Ok(found.digest)
                });
                match whole {
                    Ok(digest) => Ok(Some(digest)),
                    Err(StoreError::Refused(_)) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .await
    }

    async fn ask(&self, here: Option<&Digest>) -> Result<(), Fault> {
        let repository = self.upstream.repository(self.theirs).await?;
        let asked = match self.target {
            Target::Digest(_) => self.fetch(&repository, &self.target.to_string()).await,
            Target::Tag(tag) => self.follow(&repository, tag, here).await,
        };
        self.upstream.note(&repository);
        asked
    }

    /// Asks where a tag points, which upstreams do not count, and fetches what is not here.
    async fn follow(
        &self,
        repository: &Arc<Repository>,
        tag: &str,
        here: Option<&Digest>,
    ) -> Result<(), Fault> {
        let digest = match repository.manifest_digest(tag).await {
            Ok(Some(digest)) => digest,
            Ok(None) => return self.gone(tag).await,
            // Some know no HEAD.
            Err(error)
                if error.refusal().is_some_and(|it| matches!(it.status, 400 | 405 | 501)) =>
            {
                None
            }
            Err(error) => return Err(self.upstream.fault(&error)),
        };
        let Some(digest) = digest else { return self.fetch(repository, tag).await };
        if here == Some(&digest) {
            return Ok(());
        }
        let (name, as_tag, to) = (self.name.to_owned(), tag.to_owned(), digest.clone());
        let moved = self.call.store(move |store| {
            // Recorded is not enough: its file may have been set aside.
            Ok(store.blob(&name, &to).is_ok() && store.set_tag(&name, &as_tag, &to)?)
        });
        if moved.await? {
            return Ok(());
        }
        // What the tag points at by now may be another one: the digest decides.
        self.fetch(repository, &digest.to_string()).await
    }

    /// Fetches and keeps it.
    async fn fetch(&self, repository: &Repository, what: &str) -> Result<(), Fault> {
        let found = repository.manifest(what).await.map_err(|error| self.upstream.fault(&error))?;
        let Some(manifest) = found else {
            return Err(unknown(self.target));
        };
        let (name, target) = (self.name.to_owned(), self.target.clone());
        let kept = self.call.change(move |store| {
            store.put_manifest(&PutManifest {
                repository: &name,
                target: &target,
                media_type: &manifest.media_type,
                bytes: &manifest.json,
                cached: true,
            })?;
            let entry = serde_json::json!({
                "action": "cache",
                "repository": name,
                "reference": target.to_string(),
                "digest": manifest.digest.to_string(),
            });
            Ok(((), entry))
        });
        kept.await.map_err(|fault| match fault.is(Code::ManifestInvalid) {
            true => Fault::new(Code::Upstream, format!("{}: {}", self.upstream.url, fault.words())),
            false => fault,
        })
    }

    /// The upstream has the tag no more: nor have we.
    async fn gone(&self, tag: &str) -> Result<(), Fault> {
        let (name, gone) = (self.name.to_owned(), tag.to_owned());
        self.call
            .store(move |store| match store.delete_tag(&name, &gone) {
                Ok(_) | Err(StoreError::Refused(_)) => Ok(()),
                Err(error) => Err(error),
            })
            .await?;
        Err(unknown(self.target))
    }
}

fn unknown(target: &Target) -> Fault {
    Fault::new(Code::ManifestUnknown, "manifest unknown").about("unknown", target.to_string())
}

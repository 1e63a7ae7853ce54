//! What is copied in which order: blobs, then the manifests that name them, then the index, then what is about them.

use std::{cell::Cell, collections::HashSet, future::Future, pin::Pin};

use ferry_oci::{Descriptor, Digest, Document, Index, Platform};
use ferry_transfer::RawManifest;
use futures_util::stream::{self, StreamExt};

use super::{
    ends::{As, Done, Source, Target},
    error::CopyError,
};

/// An index of indexes of …, or a signature of a signature of …
const MAX_DEPTH: usize = 8;

/// A copy.
#[derive(Debug)]
pub(super) struct Work<'a> {
    pub(super) source: &'a Source,
    pub(super) target: &'a Target,
    /// The image of an index that is wanted; all of them without it, where the target takes several.
    pub(super) platform: Option<Platform>,
    /// Signatures and what else is about an image goes along.
    pub(super) about: bool,
    pub(super) tally: Tally,
}

/// What has travelled.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) copied: Cell<usize>,
    pub(super) bytes: Cell<u64>,
    pub(super) mounted: Cell<usize>,
    pub(super) there: Cell<usize>,
    pub(super) manifests: Cell<usize>,
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), CopyError>> + 'a>>;

impl Work<'_> {
    /// Copies the image; its digest at the target.
    pub(super) async fn run(&self) -> Result<Digest, CopyError> {
        let top = self.source.top().await?;
        let top = match read(&top)? {
            Document::Index(index) if self.platform.is_some() || self.target.is_single() => {
                self.chosen(&index).await?
            }
            _ => top,
        };
        let digest = top.digest.clone();
        let mut seen = HashSet::new();
        self.manifest(top, As::Top, 0, &mut seen).await?;
        Ok(digest)
    }

    async fn chosen(&self, index: &Index) -> Result<RawManifest, CopyError> {
        let wanted = self.platform.clone().unwrap_or_else(Platform::host);
        let best = index.best(&wanted).ok_or_else(|| CopyError::Missing {
            place: "the image".to_owned(),
            what: format!("platform {wanted}, only {}", index.platforms().join(", ")),
        })?;
        self.source.manifest(best).await
    }

    fn manifest<'a>(
        &'a self,
        manifest: RawManifest,
        found: As<'a>,
        depth: usize,
        seen: &'a mut HashSet<Digest>,
    ) -> Step<'a> {
        Box::pin(async move {
            if depth > MAX_DEPTH {
                let what = format!("more than {MAX_DEPTH} manifests lead to one another");
                return Err(CopyError::Wrong { place: manifest.digest.to_string(), what });
            }
            if !seen.insert(manifest.digest.clone()) && found == As::Child {
                return Ok(());
            }
            match read(&manifest)? {
                Document::Index(index) => {
                    for entry in &index.manifests {
                        let child = self.source.manifest(entry).await?;
                        self.manifest(child, As::Child, depth + 1, seen).await?;
                    }
                }
                Document::Manifest(image) => {
                    self.target.expect(&image, self.source).await?;
                    let all = std::iter::once(image.config).chain(image.layers);
                    // What only its maker may hand out stays there.
                    self.blobs(all.filter(|blob| blob.urls.is_empty()).collect()).await?;
                }
            }
            self.target.manifest(&manifest, found).await?;
            self.tally.manifests.set(self.tally.manifests.get() + 1);
            if !self.about || self.target.is_single() {
                return Ok(());
            }
            for about in self.source.about(&manifest.digest).await? {
                if seen.contains(&about.manifest.digest) {
                    continue;
                }
                let tag = about.tag.clone();
                let step =
                    self.manifest(about.manifest, As::About(tag.as_deref()), depth + 1, seen);
                step.await?;
            }
            Ok(())
        })
    }

    async fn blobs(&self, blobs: Vec<Descriptor>) -> Result<(), CopyError> {
        let mut seen = HashSet::new();
        let once: Vec<&Descriptor> =
            blobs.iter().filter(|blob| seen.insert(&blob.digest)).collect();
        let jobs = once.into_iter().map(|blob| async move {
            let done = self.target.take(blob, self.source).await?;
            let count = |of: &Cell<usize>| of.set(of.get() + 1);
            match done {
                Done::There => count(&self.tally.there),
                Done::Mounted => count(&self.tally.mounted),
                Done::Copied => {
                    count(&self.tally.copied);
                    self.tally.bytes.set(self.tally.bytes.get() + blob.size);
                }
            }
            Ok::<(), CopyError>(())
        });
        let mut jobs = stream::iter(jobs).buffer_unordered(self.target.at_once());
        while let Some(done) = jobs.next().await {
            done?;
        }
        Ok(())
    }
}

fn read(manifest: &RawManifest) -> Result<Document, CopyError> {
    Document::parse(&manifest.json, &manifest.media_type)
        .map_err(|source| CopyError::Manifest { digest: manifest.digest.clone(), source })
}

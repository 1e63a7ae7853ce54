//! `pull`.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::image::StoredManifest;
use ferry_oci::{Descriptor, Digest, Manifest, Platform, Reference};
use ferry_transfer::{Progress, Pulled, RegistryAuth};
use tokio::sync::mpsc;

use super::{
    event,
    keep::{NotKept, keep},
    named,
};
use crate::{Engine, Shared, welcome};

/// How often layers may be swept from under a pull before it is given up.
const ATTEMPTS: usize = 3;

/// What `pull` is asked for.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// The image as the user wrote it.
    pub image: String,
    /// A tag or digest that was given beside it.
    pub tag: Option<String>,
    /// `os/architecture/variant`, when it is not this machine's.
    pub platform: Option<String>,
    /// Who asks.
    pub auth: Option<RegistryAuth>,
}

/// One message about an image on its way, in Docker's words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// What it is about: the short form of a layer's digest, or a tag.
    pub id: Option<String>,
    /// What happens to it.
    pub status: String,
    /// Bytes done.
    pub current: Option<u64>,
    /// Bytes in all.
    pub total: Option<u64>,
}

impl PullProgress {
    pub(super) fn status(words: impl Into<String>) -> Self {
        PullProgress { status: words.into(), ..PullProgress::default() }
    }
}

/// Fetches an image: its layers in parallel, those that are here already not at all.
///
/// # Errors
/// In Docker's words: no such image, no access, no connection, a content that is not what its digest says.
pub async fn pull(
    engine: &Engine,
    request: PullRequest,
    progress: mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    let shared = &engine.shared;
    let reference = named(&request.image, request.tag.as_deref().unwrap_or_default())?;
    let platform = match request.platform.as_deref().filter(|platform| !platform.is_empty()) {
        Some(text) => Some(
            text.parse::<Platform>()
                .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?,
        ),
        None => None,
    };
    if welcome::is_meant(&reference.canonical()) {
        return built_in(shared, &reference, &progress).await;
    }
    let before =
        shared.images.get(&reference.canonical()).ok().map(|named| named.entry.image.id.clone());
    let (id, pulled) =
        fetch(shared, &reference, platform.as_ref(), request.auth.as_ref(), &progress).await?;
    let digest = &pulled.digest;
    send(&progress, PullProgress::status(format!("Digest: {digest}"))).await;
    let outcome = if before == Some(id.clone()) {
        format!("Image is up to date for {}", reference.familiar())
    } else {
        format!("Downloaded newer image for {}", reference.familiar())
    };
    send(&progress, PullProgress::status(format!("Status: {outcome}"))).await;
    event(shared, "pull", &id, &reference.familiar());
    Ok(())
}

/// Fetches and records; again when somebody swept a layer that was found here.
async fn fetch(
    shared: &Arc<Shared>,
    reference: &Reference,
    platform: Option<&Platform>,
    auth: Option<&RegistryAuth>,
    progress: &mpsc::Sender<PullProgress>,
) -> Result<(ferry_oci::Digest, Pulled), Failure> {
    let mut attempt = 1;
    loop {
        let ingest = shared.config.data_root.join("ingest");
        let sender = progress.clone();
        // A client that reads slowly misses steps, never ends: the next message says more than the one that was lost.
        let tell = move |message: Progress| drop(sender.try_send(message_of(message)));
        let pulled = shared
            .live()
            .registries
            .pull(reference, platform, auth, &shared.layers, &ingest, &tell)
            .await?;
        match record(shared, reference, &pulled).await {
            Ok(id) => return Ok((id, pulled)),
            Err(NotKept::LayerGone(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(reason) => return Err(reason.into()),
        }
    }
}

async fn record(
    shared: &Arc<Shared>,
    reference: &Reference,
    pulled: &Pulled,
) -> Result<ferry_oci::Digest, NotKept> {
    let shared = Arc::clone(shared);
    let text = String::from_utf8_lossy(&pulled.manifest_json).into_owned();
    let manifest = StoredManifest { descriptor: pulled.manifest.clone(), json: text };
    let config = pulled.config_json.clone();
    // A pull by tag also makes the image known by its digest, as RepoDigests shows.
    let by_digest = reference.clone().without_tag().with_digest(pulled.digest.clone());
    let mut names = vec![by_digest];
    if reference.digest().is_none() {
        names.push(reference.clone());
    }
    let blobs = blobs_of(pulled);
    let place = format!("{}/{}", reference.domain(), reference.path());
    let kept = tokio::task::spawn_blocking(move || {
        let id = keep(&shared, &config, Some(manifest), &names)?;
        let blobs = blobs.iter().map(|(layer, blob)| (layer, blob.clone()));
        // Only a push would miss it, and send what it need not.
        if let Err(error) = shared.images.note_blobs(&place, blobs) {
            tracing::warn!(error = ferry_errkind::chain(&error), "blobs of layers not noted");
        }
        Ok(id)
    });
    kept.await.unwrap_or_else(|error| {
        Err(NotKept::Failed(Failure::new(ErrorKind::Internal, error.to_string())))
    })
}

fn blobs_of(pulled: &Pulled) -> Vec<(Digest, Descriptor)> {
    let manifest: Option<Manifest> = serde_json::from_slice(&pulled.manifest_json).ok();
    let blobs = manifest.map(|manifest| manifest.layers).unwrap_or_default();
    pulled.layers.iter().map(|layer| layer.diff_id.clone()).zip(blobs).collect()
}

async fn built_in(
    shared: &Arc<Shared>,
    reference: &Reference,
    progress: &mpsc::Sender<PullProgress>,
) -> Result<(), Failure> {
    let worker = Arc::clone(shared);
    crate::blocking(move || welcome::ensure(&worker)).await?;
    let familiar = reference.familiar();
    send(
        progress,
        PullProgress::status(format!(
            "Status: Image is up to date for {familiar} (it is built in)"
        )),
    )
    .await;
    Ok(())
}

async fn send(progress: &mpsc::Sender<PullProgress>, message: PullProgress) {
    // The client may have left.
    progress.send(message).await.ok();
}

fn message_of(progress: Progress) -> PullProgress {
    let Progress { id, status, current, total } = progress;
    PullProgress { id, status, current, total }
}

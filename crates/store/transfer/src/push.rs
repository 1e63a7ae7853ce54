//! `push`: layers of the store become blobs of a registry, and an image a manifest there.
//!
//! A layer that the registry has is not sent: it is asked for by the digests under which the layer was ever seen, or
//! mounted from another repository of the same registry. What has to be sent is compressed on its way, once, and the same
//! way each time. When every layer has the blob that the image's own manifest names, that manifest goes out as it came.

pub(crate) mod blob;
mod error;
pub(crate) mod upload;

use std::sync::Arc;

use bytes::Bytes;
use ferry_archive::compress::Compression;
use ferry_layers::LayerStore;
use ferry_oci::{Descriptor, Digest, Manifest, Reference, media};
use futures_util::future::try_join_all;
use http::{
    HeaderValue, Method,
    header::{CONTENT_TYPE, LOCATION},
};
use tokio::sync::Semaphore;

pub use self::error::PushError;
use self::{blob::Job, upload::Upload};
use crate::{
    auth::RegistryAuth,
    client::{Client, Shared},
    http::Call,
    progress::{LayerVoice, Progress},
    source::Source,
};

/// Layers that go at once: Docker's `max-concurrent-uploads`.
const CONCURRENT: usize = 5;

/// What to push.
#[derive(Debug)]
pub struct Push<'a> {
    /// Where to, with the tag.
    pub reference: &'a Reference,
    /// The configuration's exact bytes.
    pub config_json: &'a [u8],
    /// The layers, bottom first.
    pub layers: &'a [PushLayer],
    /// The manifest that the image came with.
    pub manifest: Option<KeptManifest<'a>>,
    /// One of several that an index names: no tag points at it, and it is in OCI's words.
    pub beside: bool,
    /// Who asks.
    pub auth: Option<&'a RegistryAuth>,
    /// How layers are compressed.
    pub packing: Packing,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packing {
    /// In which way; otherwise in Docker's.
    pub compression: Option<Compression>,
    /// Also those that the registry has in another form.
    pub force: bool,
    /// In OCI's words, also where Docker has its own.
    pub oci: bool,
}

impl Packing {
    /// What layers that are made are called.
    pub(crate) fn media_type(self) -> &'static str {
        match self.compression {
            None | Some(Compression::Gzip(_)) => media::DOCKER_LAYER_GZIP,
            Some(Compression::Zstd(_)) => media::OCI_LAYER_ZSTD,
            Some(Compression::Plain) => media::OCI_LAYER,
        }
    }

    /// Whether a blob will do that is there already.
    pub(crate) fn takes(self, media_type: &str) -> bool {
        let oci = |media_type| blob::layer_type(media_type, true);
        !self.force || self.compression.is_none() || oci(media_type) == oci(self.media_type())
    }
}

/// A manifest as it came.
#[derive(Debug, Clone, Copy)]
pub struct KeptManifest<'a> {
    /// Its media type.
    pub media_type: &'a str,
    /// Its exact bytes.
    pub json: &'a [u8],
}

/// A layer and the blobs that it is known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushLayer {
    /// Digest of its uncompressed tar.
    pub diff_id: Digest,
    /// Blobs that hold it, the most welcome first.
    pub known: Vec<KnownBlob>,
}

/// A blob that holds a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBlob {
    /// Media type, digest, size.
    pub descriptor: Descriptor,
    /// A repository of the same registry that has it.
    pub repository: Option<String>,
}

/// A pushed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: u64,
    /// The blobs of the layers, bottom first.
    pub layers: Vec<Descriptor>,
}

impl Client {
    /// Sends an image: layers in parallel, nothing that the registry has already. `progress` must not block.
    ///
    /// Dropping the future ends the push; what was sent whole stays at the registry for the next attempt.
    ///
    /// # Errors
    /// [`PushError`], with Docker's words and a hint.
    pub async fn push(
        &self,
        push: &Push<'_>,
        layers: &Arc<LayerStore>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pushed, PushError> {
        let shared = &*self.shared;
        let source = target(shared, push).await?;
        let permits = Semaphore::new(match self.shared.max_uploads {
            0 => CONCURRENT,
            most => most,
        });
        let mut jobs = Vec::new();
        for layer in push.layers {
            let voice = LayerVoice::new(progress, &layer.diff_id);
            voice.say("Preparing");
            let (source, packing) = (&source, push.packing);
            jobs.push(Job { shared, source, layer, layers, voice, permits: &permits, packing });
        }
        // The uppermost layer is said first, as Docker does; the work is done from the bottom.
        let blobs = try_join_all(jobs.iter().map(Job::run)).await?;
        manifest(shared, &source, push, blobs).await
    }
}

/// The repository to push to, with the right to mount from those where layers are known to be.
async fn target(shared: &Shared, push: &Push<'_>) -> Result<Source, PushError> {
    let known = push.layers.iter().flat_map(|layer| &layer.known);
    let mut others: Vec<&str> = known.filter_map(|known| known.repository.as_deref()).collect();
    others.sort_unstable();
    others.dedup();
    let with = |source: Source| source.for_push(others.iter().copied());
    answering(shared, push.reference, push.auth, with).await
}

/// The registry by the way that answers.
pub(crate) async fn answering(
    shared: &Shared,
    reference: &Reference,
    auth: Option<&RegistryAuth>,
    with: impl Fn(Source) -> Source,
) -> Result<Source, PushError> {
    let domain = reference.domain();
    let auth = auth.filter(|auth| !auth.is_anonymous() && auth.is_for(domain));
    let origins = shared.origins(domain).await.map_err(|_| PushError::Domain(domain.to_owned()))?;
    let mut last = PushError::Domain(domain.to_owned());
    for origin in origins {
        let source = with(Source::new(origin.at("/"), reference.path(), auth.cloned()));
        match source.ping(shared).await {
            Ok(()) => return Ok(source),
            Err(error) if error.is_unreachable() => last = PushError::Source(error),
            Err(error) => return Err(PushError::Source(error)),
        }
    }
    Err(last)
}

/// Sends configuration and manifest, when all layers are there.
async fn manifest(
    shared: &Shared,
    source: &Source,
    push: &Push<'_>,
    blobs: Vec<Descriptor>,
) -> Result<Pushed, PushError> {
    let config = Bytes::copy_from_slice(push.config_json);
    let digest = Digest::sha256_of(&config);
    let size = config.len() as u64;
    if blob::exists(shared, source, &digest).await? != Some(size) {
        Upload { shared, source }.whole(config, &digest).await?;
    }
    let worded =
        |kept: &KeptManifest<'_>| !push.packing.oci || kept.media_type == media::OCI_MANIFEST;
    let kept = push.manifest.filter(|kept| worded(kept) && is_of(kept, &digest, &blobs));
    let (media_type, json) = match kept {
        Some(kept) => (kept.media_type.to_owned(), Bytes::copy_from_slice(kept.json)),
        None if push.beside || push.packing.oci => written(digest, size, &blobs, true)?,
        None => composed(digest, size, &blobs)?,
    };
    let (digest, size) = (Digest::sha256_of(&json), json.len() as u64);
    let name = match push.beside {
        true => digest.to_string(),
        false => push.reference.tag().unwrap_or("latest").to_owned(),
    };
    put_manifest(shared, source, &name, (&media_type, json)).await?;
    Ok(Pushed { media_type, digest, size, layers: blobs })
}

/// Sends a manifest; whether the registry says that it lists it with what it is about (`OCI-Subject`).
pub(crate) async fn put_manifest(
    shared: &Shared,
    source: &Source,
    name: &str,
    (media_type, json): (&str, Bytes),
) -> Result<bool, PushError> {
    let location = source.location(&format!("manifests/{name}"));
    let mut call = Call::new(Method::PUT, location);
    if let Ok(value) = HeaderValue::from_str(media_type) {
        call.headers.insert(CONTENT_TYPE, value);
    }
    call.body = json;
    let answer = source.call(shared, call).await?;
    tracing::debug!(location = answer.header(LOCATION), "manifest sent");
    let listed = answer.header("oci-subject").is_some();
    answer.body.skip().await;
    Ok(listed)
}

/// Whether a manifest says exactly what is at the registry now.
fn is_of(kept: &KeptManifest<'_>, config: &Digest, blobs: &[Descriptor]) -> bool {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(kept.json) else { return false };
    let same = |(one, other): (&Descriptor, &Descriptor)| {
        one.digest == other.digest && one.size == other.size
    };
    manifest.config.digest == *config
        && manifest.layers.len() == blobs.len()
        && manifest.layers.iter().zip(blobs).all(same)
}

/// A manifest as Docker writes it; an OCI one when a layer is something that only OCI has a name for. Its media type and its bytes.
///
/// # Errors
/// When it has no JSON form.
pub fn composed(
    config: Digest,
    size: u64,
    blobs: &[Descriptor],
) -> Result<(String, Bytes), PushError> {
    let oci = blobs.iter().any(|blob| !blob::is_gzip(&blob.media_type));
    written(config, size, blobs, oci)
}

fn written(
    config: Digest,
    size: u64,
    blobs: &[Descriptor],
    oci: bool,
) -> Result<(String, Bytes), PushError> {
    let (own, of_config) = if oci {
        (media::OCI_MANIFEST, media::OCI_CONFIG)
    } else {
        (media::DOCKER_MANIFEST, media::DOCKER_CONFIG)
    };
    let layer = |known: &Descriptor| {
        blob::descriptor(blob::layer_type(&known.media_type, oci), known.digest.clone(), known.size)
    };
    let manifest = Manifest {
        schema_version: 2,
        media_type: own.to_owned(),
        config: blob::descriptor(of_config, config, size),
        layers: blobs.iter().map(layer).collect(),
        annotations: std::collections::BTreeMap::new(),
    };
    // Docker's bytes: three spaces, and so the same digest for the same blobs.
    let mut json = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut writer = serde_json::Serializer::with_formatter(&mut json, indent);
    serde::Serialize::serialize(&manifest, &mut writer).map_err(PushError::Compose)?;
    Ok((own.to_owned(), json.into()))
}

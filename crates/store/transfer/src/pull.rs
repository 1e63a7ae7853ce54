//! `pull`: a name becomes layers in the store, a manifest and a configuration.

use std::{path::Path, sync::Arc};

use ferry_layers::LayerStore;
use ferry_oci::{Descriptor, Digest, Platform, Reference, media};
use futures_util::future::try_join_all;

use crate::{
    auth::RegistryAuth,
    client::Client,
    error::{LayerError, PullError},
    layer::Job,
    progress::{LayerVoice, Progress, Tell},
    resolve::{Found, Resolver},
    signatures,
    source::Source,
};

/// Docker's spelling of a zstd layer, which `ferry-oci` does not list.
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// How layers begin that only their owner may hand out.
const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.";

/// An image whose layers are all in the store.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The configuration's exact bytes.
    pub config_json: Vec<u8>,
    /// Their digest: the image's id.
    pub config_digest: Digest,
    /// The manifest of the platform that was chosen.
    pub manifest: Descriptor,
    /// Its exact bytes.
    pub manifest_json: Vec<u8>,
    /// What the name leads to, and what users are shown: the index if there is one, else the manifest.
    pub digest: Digest,
    /// The layers, bottom first.
    pub layers: Vec<PulledLayer>,
}

/// One layer of a pulled image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledLayer {
    /// Digest of its uncompressed tar.
    pub diff_id: Digest,
    /// Digest of the blob that the manifest names.
    pub blob: Digest,
    /// Size of that blob.
    pub compressed_size: u64,
}

impl Client {
    /// Fetches an image: mirrors first, layers in parallel, nothing that is here already. `progress` must not block.
    ///
    /// After an error the layers that came whole are in the store, and what came of large ones in `ingest_dir`, for the
    /// next attempt. Dropping the future ends the pull the same way. The caller syncs the store before it records the
    /// image.
    ///
    /// # Errors
    /// [`PullError`], with Docker's words and a hint.
    pub async fn pull(
        &self,
        reference: &Reference,
        platform: Option<&Platform>,
        auth: Option<&RegistryAuth>,
        layers: &Arc<LayerStore>,
        ingest_dir: &Path,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Pulled, PullError> {
        let shared = &*self.shared;
        let sources = shared.sources(reference, auth).await?;
        let resolver = Resolver { shared, sources: &sources, reference, platform, tell: progress };
        let found = resolver.resolve().await?;
        // Before the first layer: nothing of an image that is refused comes here.
        signatures::check(&resolver, &shared.signatures, &found).await?;
        let jobs = plan(self, &sources, &found, layers, ingest_dir, progress)?;
        try_join_all(jobs.into_iter().map(Job::run)).await?;
        Ok(pulled(found))
    }
}

/// What has to be fetched. Whatever is refused is refused before the first byte.
fn plan<'a>(
    client: &'a Client,
    sources: &'a [Source],
    found: &'a Found,
    layers: &'a Arc<LayerStore>,
    ingest_dir: &'a Path,
    tell: Tell<'a>,
) -> Result<Vec<Job<'a>>, PullError> {
    let from = first_worth_trying(sources, found.from);
    let mut jobs = Vec::new();
    for (blob, diff_id) in found.manifest.layers.iter().zip(&found.config.rootfs.diff_ids) {
        let voice = LayerVoice::new(tell, &blob.digest);
        if layers.contains(diff_id) {
            voice.say("Already exists");
            continue;
        }
        check_media_type(blob)?;
        voice.say("Pulling fs layer");
        let shared = &*client.shared;
        let sources = confirmed(sources, found.from);
        jobs.push(Job { shared, sources, from, blob, diff_id, layers, ingest_dir, voice });
    }
    Ok(jobs)
}

/// The source that gave the manifest comes first.
fn first_worth_trying(sources: &[Source], found: usize) -> usize {
    found.min(sources.len().saturating_sub(1))
}

/// A registry that was reached by TLS is never asked without.
fn confirmed(sources: &[Source], found: usize) -> &[Source] {
    match sources.get(found) {
        Some(source) if !source.mirror => &sources[..=found],
        _ => sources,
    }
}

fn check_media_type(blob: &Descriptor) -> Result<(), PullError> {
    match blob.media_type.as_str() {
        media::OCI_LAYER
        | media::OCI_LAYER_GZIP
        | media::OCI_LAYER_ZSTD
        | media::DOCKER_LAYER
        | media::DOCKER_LAYER_GZIP
        | DOCKER_LAYER_ZSTD => Ok(()),
        foreign if foreign == media::DOCKER_FOREIGN || foreign.starts_with(OCI_FOREIGN) => {
            Err(LayerError::Foreign(blob.digest.clone()).into())
        }
        other => Err(PullError::MediaType(other.to_owned())),
    }
}

fn pulled(found: Found) -> Pulled {
    let Found { digest, descriptor, json, manifest, config_json, config, from: _ } = found;
    let layers = manifest.layers.iter().zip(config.rootfs.diff_ids);
    let layers = layers.map(|(blob, diff_id)| PulledLayer {
        diff_id,
        blob: blob.digest.clone(),
        compressed_size: blob.size,
    });
    Pulled {
        config_json: config_json.to_vec(),
        config_digest: manifest.config.digest.clone(),
        manifest: descriptor,
        manifest_json: json.to_vec(),
        digest,
        layers: layers.collect(),
    }
}

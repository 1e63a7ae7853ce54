//! One layer: found at the registry, mounted, or sent.

use std::{collections::BTreeMap, sync::Arc};

use ferry_layers::LayerStore;
use ferry_oci::{Descriptor, Digest, media};
use http::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, LOCATION},
};
use tokio::sync::Semaphore;

use super::{KnownBlob, Packing, PushError, PushLayer, upload::Upload};
use crate::{
    client::Shared,
    http::{Call, percent},
    progress::LayerVoice,
    source::{Source, SourceError},
};

/// Known blobs of a layer that a registry is asked for.
const MAX_ASKED: usize = 8;
/// Attempts after the first.
const RETRIES: u32 = 5;

/// A layer to push.
pub(super) struct Job<'a> {
    pub(super) shared: &'a Shared,
    pub(super) source: &'a Source,
    pub(super) layer: &'a PushLayer,
    pub(super) layers: &'a Arc<LayerStore>,
    pub(super) voice: LayerVoice<'a>,
    pub(super) permits: &'a Semaphore,
    pub(super) packing: Packing,
}

impl Job<'_> {
    /// The layer's blob, which is at the registry by then.
    pub(super) async fn run(&self) -> Result<Descriptor, PushError> {
        let permit = match self.permits.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.voice.say("Waiting");
                self.permits.acquire().await
            }
        };
        // The semaphore is never closed.
        let abandoned = |_| PushError::Abandoned(self.layer.diff_id.clone());
        let _permit = permit.map_err(abandoned)?;
        if let Some(found) = self.found().await? {
            self.voice.say("Layer already exists");
            return Ok(found);
        }
        if let Some((mounted, from)) = self.mounted().await? {
            self.voice.say(format!("Mounted from {from}"));
            return Ok(mounted);
        }
        let upload = Upload { shared: self.shared, source: self.source };
        let mut retries = 0;
        let mut under_way = None;
        loop {
            match upload.layer(self, &mut under_way).await {
                Ok(sent) => {
                    self.voice.say("Pushed");
                    return Ok(sent);
                }
                Err(error) if retries == RETRIES || !error.is_passing() => return Err(error),
                Err(error) => {
                    let tuning = &self.shared.tuning;
                    let pause = tuning.pause.saturating_mul(2_u32.saturating_pow(retries));
                    let pause = pause.min(tuning.longest_pause);
                    let diff_id = &self.layer.diff_id;
                    tracing::info!(%diff_id, %error, ?pause, "a layer is sent again later");
                    self.voice.count_down(pause).await;
                    retries += 1;
                }
            }
        }
    }

    /// The known blobs that are asked for.
    fn welcome(&self) -> impl Iterator<Item = &KnownBlob> {
        let known = self.layer.known.iter();
        known.filter(|known| self.packing.takes(&known.descriptor.media_type)).take(MAX_ASKED)
    }

    async fn found(&self) -> Result<Option<Descriptor>, PushError> {
        for known in self.welcome() {
            let Descriptor { digest, size, .. } = &known.descriptor;
            if exists(self.shared, self.source, digest).await? == Some(*size) {
                return Ok(Some(known.descriptor.clone()));
            }
        }
        Ok(None)
    }

    async fn mounted(&self) -> Result<Option<(Descriptor, String)>, PushError> {
        for KnownBlob { descriptor, repository } in self.welcome() {
            let Some(from) = repository else { continue };
            if mount(self.shared, self.source, &descriptor.digest, from).await? {
                return Ok(Some((descriptor.clone(), from.clone())));
            }
        }
        Ok(None)
    }
}

/// Asks for a copy within the registry. One that cannot answers with a place to upload to, which is given back.
pub(crate) async fn mount(
    shared: &Shared,
    source: &Source,
    digest: &Digest,
    from: &str,
) -> Result<bool, SourceError> {
    let (digest, from) = (percent(&digest.to_string()), percent(from));
    let location = source.location(&format!("blobs/uploads/?mount={digest}&from={from}"));
    let answer = match source.call(shared, Call::new(Method::POST, location.clone())).await {
        Ok(answer) => answer,
        // Not allowed to read there: then it is sent.
        Err(error) if error.refusal().is_some() => return Ok(false),
        Err(error) => return Err(error),
    };
    let status = answer.status;
    let unwanted = answer.header(LOCATION).and_then(|text| location.join(text));
    answer.body.skip().await;
    if status == StatusCode::CREATED {
        return Ok(true);
    }
    if let Some(unwanted) = unwanted
        && let Ok(answer) = source.call(shared, Call::new(Method::DELETE, unwanted)).await
    {
        answer.body.skip().await;
    }
    Ok(false)
}

/// The size of a blob that the registry has.
pub(crate) async fn exists(
    shared: &Shared,
    source: &Source,
    digest: &Digest,
) -> Result<Option<u64>, SourceError> {
    let location = source.location(&format!("blobs/{digest}"));
    match source.call(shared, Call::new(Method::HEAD, location)).await {
        Ok(answer) => {
            let size = answer.header(CONTENT_LENGTH).and_then(|text| text.trim().parse().ok());
            answer.body.skip().await;
            Ok(size)
        }
        Err(SourceError::Refused(refusal)) if refusal.status == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

pub(super) fn is_gzip(media_type: &str) -> bool {
    matches!(media_type, media::DOCKER_LAYER_GZIP | media::OCI_LAYER_GZIP)
}

/// What a layer is called in a manifest of either kind.
pub(super) fn layer_type(media_type: &str, oci: bool) -> &str {
    match (media_type, oci) {
        (media::DOCKER_LAYER_GZIP, true) => media::OCI_LAYER_GZIP,
        (media::DOCKER_LAYER, true) => media::OCI_LAYER,
        ("application/vnd.docker.image.rootfs.diff.tar.zstd", true) => media::OCI_LAYER_ZSTD,
        (media::OCI_LAYER_GZIP, false) => media::DOCKER_LAYER_GZIP,
        (other, _) => other,
    }
}

//! The last step of everything that brings an image here: layers durable, then the record and its names in one transaction.

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::image::{Image, StoredManifest};
use ferry_oci::{Digest, ImageConfig, Platform, Reference};

use crate::Shared;

/// Why an image was not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// One of its layers went while it was on its way (somebody pruned): fetch again.
    LayerGone(Digest),
    /// Anything else.
    Failed(Failure),
}

impl From<NotKept> for Failure {
    fn from(reason: NotKept) -> Self {
        match reason {
            NotKept::Failed(failure) => failure,
            NotKept::LayerGone(layer) => Failure::new(
                ErrorKind::Unavailable,
                format!("layer {layer} was removed while the image was on its way"),
            )
            .with_hint("try again"),
        }
    }
}

/// Records an image. Blocks on the disk.
pub(crate) fn keep(
    shared: &Shared,
    config_json: &[u8],
    manifest: Option<StoredManifest>,
    names: &[Reference],
) -> Result<Digest, NotKept> {
    let config = parse_config(config_json).map_err(NotKept::Failed)?;
    let id = Digest::sha256_of(config_json);
    let text = String::from_utf8(config_json.to_vec()).map_err(|_| {
        let words = format!("the configuration of image {id} is not UTF-8");
        NotKept::Failed(Failure::new(ErrorKind::InvalidArgument, words))
    })?;
    let _sweeping = shared.sweep_lock();
    let mut size = 0_u64;
    for layer in &config.rootfs.diff_ids {
        let bytes = shared.layers.size(layer).ok_or_else(|| NotKept::LayerGone(layer.clone()))?;
        size = size.saturating_add(bytes);
    }
    let failed = |error: &dyn std::error::Error| {
        NotKept::Failed(Failure::new(ErrorKind::Internal, ferry_errkind::chain(error)))
    };
    shared.layers.sync().map_err(|error| failed(&error))?;
    let image = Image { id: id.clone(), config_json: text, manifest, stored: shared.now(), size };
    shared.images.put(image, names, shared.now()).map_err(|error| NotKept::Failed(error.into()))?;
    Ok(id)
}

/// Reads a configuration and checks that it is one of an image that can be run: a file system of layers, for Linux.
pub(super) fn parse_config(json: &[u8]) -> Result<ImageConfig, Failure> {
    let invalid = |why: String| {
        Failure::new(ErrorKind::InvalidArgument, format!("invalid image configuration: {why}"))
    };
    let config = ImageConfig::parse(json).map_err(|error| invalid(ferry_errkind::chain(&error)))?;
    if config.rootfs.kind != "layers" {
        return Err(invalid(format!(
            "root file system of type {:?}, not \"layers\"",
            config.rootfs.kind
        )));
    }
    let host = Platform::host();
    if !config.os.is_empty() && config.os != host.os {
        let words = format!("cannot load {} image on {}", config.os, host.os);
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    Ok(config)
}

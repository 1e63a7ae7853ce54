//! An image on its way: what a stage has come to so far.

use ferry_build::State;
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, History, ImageConfig, Platform};

/// An image on its way.
#[derive(Debug, Clone)]
pub(super) struct Current {
    pub(super) config: ImageConfig,
    /// What `FROM` was told, with the digest it stands for.
    pub(super) name: String,
    /// The configuration as it came, of an image that was looked up.
    pub(super) json: Option<String>,
    /// The arguments that a stage on it has without declaring them.
    pub(super) args: Vec<(String, Option<String>)>,
}

impl Current {
    /// Nothing yet.
    pub(super) fn scratch(platform: &Platform) -> Current {
        let config = ImageConfig {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            ..ImageConfig::default()
        };
        Current { config, name: "scratch".to_owned(), json: None, args: Vec::new() }
    }

    pub(super) fn layers(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }

    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(&self.config)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
    }

    pub(super) fn id(&self) -> Result<Digest, Failure> {
        Ok(Digest::sha256_of(self.json()?.as_bytes()))
    }

    /// The machine that it is for.
    pub(super) fn platform(&self) -> String {
        let ImageConfig { os, architecture, variant, .. } = &self.config;
        format!("{os}/{architecture}/{}", variant.as_deref().unwrap_or_default())
    }

    /// What a step finds: files, and the machine that they are for.
    pub(super) fn files(&self) -> String {
        format!("{} {:?}", self.platform(), self.layers())
    }
}

/// The image after an instruction.
pub(super) fn next(
    current: Current,
    state: &State,
    layer: Option<Digest>,
    created: String,
    shown: &str,
    config_only: bool,
) -> Current {
    let mut config = current.config;
    config.history.push(History {
        created: Some(created.clone()),
        created_by: Some(shown.to_owned()),
        author: None,
        comment: Some("buildkit.dockerfile.v0".to_owned()),
        empty_layer: (config_only || layer.is_none()).then_some(true),
    });
    config.rootfs.diff_ids.extend(layer);
    config.created = Some(created);
    config.author = state.author.clone().or(config.author);
    config.comment = None;
    config.docker_version = None;
    config.config = Some(state.config.clone());
    Current { config, ..current }
}

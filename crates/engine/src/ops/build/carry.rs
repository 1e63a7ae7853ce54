//! Steps that other machines did: their keys travel inside the configuration of an image whose layers are what came of them.
//!
//! A key says all that a step finds, by digests; so whoever finds the same has the same key. Whose images one takes keys from is one's own
//! choice: `--cache-from` names them.

use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, History, ImageConfig, Platform};
use serde::{Deserialize, Serialize};

use super::{BuildError, Vertex, VertexKind, cache::Made, current::Current, graph::Build};
use crate::Shared;

/// The field of the configuration.
const FIELD: &str = "ferry.build.cache";

/// Most steps that are taken from one image.
const MAX_STEPS: usize = 2000;

#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    key: Digest,
    #[serde(flatten)]
    made: Made,
}

impl Build {
    /// Takes up what the images of `--cache-from` know. One that is not there is no error, as in Docker.
    pub(super) async fn import(&self) -> Result<(), BuildError> {
        for name in &self.request.cache_from {
            let words = format!("[internal] importing cache from {name}");
            let mut vertex = Vertex::new(&self.id, VertexKind::Internal, words);
            self.start(&mut vertex).await?;
            // One that is here is taken as it is, unless newer ones are asked for.
            match self.image(name, self.request.platform.clone(), self.request.pull).await {
                Ok(image) => {
                    let known = learn(&self.engine.shared, &image);
                    self.log(&vertex, false, format!("{known} steps\n").into_bytes()).await?;
                }
                Err(error) => {
                    let words = format!("{}\n", error.failure.message());
                    self.log(&vertex, true, words.into_bytes()).await?;
                }
            }
            self.complete(&mut vertex).await?;
        }
        Ok(())
    }

    /// The configuration of an image with the keys of its own steps in it.
    pub(super) fn inscribed(&self, outcome: &Current) -> Result<String, Failure> {
        let json = outcome.json()?;
        if !self.request.inline_cache {
            return Ok(json);
        }
        let own = |made: &Made| made.layer.iter().all(|layer| outcome.layers().contains(layer));
        with_steps(&json, self.steps(own))
    }

    /// The configuration of an image that has every layer of this build and all keys.
    pub(super) fn cache_image(&self) -> Result<String, Failure> {
        let platform: Platform = self.platform(None)?;
        let mut config = ImageConfig {
            architecture: platform.architecture,
            os: platform.os,
            variant: platform.variant,
            created: Some(self.now()),
            ..ImageConfig::default()
        };
        let steps = self.steps(|_| true);
        for step in &steps {
            let Some(layer) = &step.made.layer else { continue };
            if config.rootfs.diff_ids.contains(layer) {
                continue;
            }
            config.rootfs.diff_ids.push(layer.clone());
            config.history.push(History {
                created: Some(step.made.created.clone()),
                created_by: Some(step.made.what.clone()),
                ..History::default()
            });
        }
        let json = serde_json::to_string(&config)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        with_steps(&json, steps)
    }

    fn steps(&self, wanted: impl Fn(&Made) -> bool) -> Vec<Carried> {
        let keys = self.together.keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut steps: Vec<Carried> = Vec::new();
        for (key, made) in keys.iter().filter(|(_, made)| wanted(made)) {
            if !steps.iter().any(|step| step.key == *key) {
                steps.push(Carried { key: key.clone(), made: made.clone() });
            }
        }
        steps
    }
}

fn with_steps(json: &str, steps: Vec<Carried>) -> Result<String, Failure> {
    let broken = |error: serde_json::Error| Failure::new(ErrorKind::Internal, error.to_string());
    let mut value: serde_json::Value = serde_json::from_str(json).map_err(broken)?;
    value[FIELD] = serde_json::to_value(steps).map_err(broken)?;
    serde_json::to_string(&value).map_err(broken)
}

/// Remembers what an image says of steps; answers how many.
fn learn(shared: &Shared, image: &Current) -> usize {
    let Some(json) = &image.json else { return 0 };
    let Ok(value) = serde_json::from_str::<serde_json::Value>(json) else { return 0 };
    let Some(list) = value[FIELD].as_array() else { return 0 };
    let mut count = 0;
    for one in list.iter().take(MAX_STEPS) {
        let Ok(carried) = Carried::deserialize(one) else { continue };
        // Only layers of that very image: others it has no right to speak of.
        if carried.made.layer.iter().all(|layer| image.layers().contains(layer))
            && shared.builds.find(&carried.key, &shared.layers, shared.now()).is_none()
        {
            shared.builds.learn(&carried.key, carried.made, None, shared.now());
            count += 1;
        }
    }
    count
}

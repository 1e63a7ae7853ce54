//! What instructions ask for: looked for in the cache, else done, by one build at a time.

use std::sync::Arc;

use ferry_build::{CopyStep, RunStep, State};
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_layers::Layer;
use ferry_model::image::Image;
use ferry_oci::{ContainerDefaults, Digest, ImageConfig};
use ferry_sys::{
    overlay::{self, Overlay},
    root::InRoot,
};

use super::{
    BuildError, Vertex,
    cache::Made,
    copy::{self, Copies},
    graph::{Build, Current, Turn},
    run,
};
use crate::Shared;

impl Build {
    pub(super) async fn run_step(
        self: &Arc<Self>,
        turn: Turn,
        current: Current,
        state: &State,
        step: &RunStep,
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let host = run::settings(self, step)?;
        let defaults = &state.config;
        let text = format!(
            "RUN {} {:?} {:?} {:?} {:?} {:?} {} {:?}",
            step.key,
            defaults.env,
            defaults.user,
            defaults.working_dir,
            host.network_mode,
            host.extra_hosts,
            host.shm_size,
            host.ulimits,
        );
        let key = self.key(&current.files(), &text);
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, &step.shown));
        }
        // What the container inherits is of the image; what it runs is of the step.
        let config = ImageConfig {
            config: Some(ContainerDefaults {
                user: defaults.user.clone(),
                working_dir: defaults.working_dir.clone(),
                ..ContainerDefaults::default()
            }),
            ..current.config.clone()
        };
        let image = Image {
            id: current.id()?,
            config_json: current.json()?,
            manifest: None,
            stored: self.engine.shared.now(),
            size: 0,
        };
        let layer = run::run(self, Entry { image, config }, step, host, vertex).await?;
        let made = self.made(key, Some(layer), &step.shown);
        Ok(self.finish(current, state, &made, &step.shown))
    }

    pub(super) async fn copy_step(
        self: &Arc<Self>,
        turn: Turn,
        current: Current,
        state: &State,
        step: &CopyStep,
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let layers = match step.flags.from.as_deref() {
            None => None,
            Some(from) => Some(self.layers_of(from, turn.stage).await?),
        };
        let shared = Arc::clone(&self.engine.shared);
        let (build, wanted) = (Arc::clone(self), step.clone());
        let (root, copies, digest) = crate::blocking(move || {
            let root = match layers {
                None => build.place.context()?,
                Some(layers) => view(&shared, &layers)?,
            };
            let copies = Copies::of(wanted, &root)?;
            let digest = copies.key(&root)?;
            Ok((root, copies, digest))
        })
        .await?;
        // With --link nothing of what is below decides: no link in it is followed, no name looked up.
        let on = if step.flags.link { "--link".to_owned() } else { current.files() };
        let key = self.key(&on, &format!("COPY {digest}"));
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, &step.shown));
        }
        let shared = Arc::clone(&self.engine.shared);
        let below = if step.flags.link { Vec::new() } else { current.layers().to_vec() };
        let scratch = self.place.step(vertex);
        let layer = crate::blocking(move || copies.layer(&shared, &below, &root, &scratch)).await?;
        let made = self.made(key, Some(layer), &step.shown);
        Ok(self.finish(current, state, &made, &step.shown))
    }

    pub(super) async fn directory_step(
        self: &Arc<Self>,
        turn: Turn,
        current: Current,
        state: &State,
        (path, shown): (&str, &str),
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let key = self.key(&current.files(), &format!("WORKDIR {path}"));
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, shown));
        }
        let shared = Arc::clone(&self.engine.shared);
        let (layers, path) = (current.layers().to_vec(), path.to_owned());
        let scratch = self.place.step(vertex);
        let layer =
            crate::blocking(move || copy::make_directory(&shared, &layers, &path, &scratch))
                .await?;
        let made = self.made(key, Some(layer), shown);
        Ok(self.finish(current, state, &made, shown))
    }

    /// The layers of a stage or an image.
    pub(super) async fn layers_of(
        self: &Arc<Self>,
        from: &str,
        stage: usize,
    ) -> Result<Vec<Digest>, BuildError> {
        let layers = match self.plan.stage(from, stage) {
            Some(number) => self.stage_done(number).await?.layers().to_vec(),
            None => self.image(from, self.request.platform.clone(), false).await?.layers().to_vec(),
        };
        self.hold(&layers);
        Ok(layers)
    }

    /// A step's key: what it finds, and all else that its outcome depends on.
    fn key(&self, files: &str, text: &str) -> Digest {
        let epoch = self.request.epoch;
        Digest::sha256_of(format!("2 {files} {epoch:?} {text}").as_bytes())
    }

    /// The outcome of a step that was done before.
    fn cached(&self, turn: Turn, key: &Digest, vertex: &mut Vertex) -> Option<Made> {
        let shared = &self.engine.shared;
        if turn.fresh && !self.was_done_here(key) {
            return None;
        }
        let made = shared.builds.find(key, &shared.layers, shared.now())?;
        if let Some(layer) = &made.layer {
            self.hold(std::slice::from_ref(layer));
        }
        vertex.cached = true;
        self.note(key.clone(), made.clone());
        Some(made)
    }

    /// What a step came to, for the cache.
    fn made(&self, key: Digest, layer: Option<Layer>, what: &str) -> Made {
        let shared = &self.engine.shared;
        let layer = layer.filter(|layer| layer.entries > 0);
        let size = layer.as_ref().map_or(0, |layer| layer.size);
        let diff_id = layer.map(|layer| layer.diff_id);
        self.hold(diff_id.as_slice());
        let made = Made { layer: diff_id, created: self.now(), what: what.to_owned(), size };
        shared.builds.learn(key.clone(), made.clone(), shared.now());
        self.note(key, made.clone());
        made
    }
}

/// The layers of a stage or an image, to be read.
pub(super) fn view(shared: &Shared, layers: &[Digest]) -> Result<InRoot, Failure> {
    let lower = shared.lower_dirs(layers)?;
    let failed = |words: String| Failure::new(ErrorKind::Internal, words);
    if let [only] = lower.as_slice() {
        return InRoot::open(only).map_err(|errno| failed(errno.to_string()));
    }
    let overlay = Overlay { lower, upper: None, work: None };
    overlay::root(&overlay).map_err(|error| failed(error.to_string()))
}

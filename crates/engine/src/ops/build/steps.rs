//! What instructions ask for: looked for in the cache, else done, by one build at a time.

use std::{
    os::fd::OwnedFd,
    sync::{Arc, PoisonError},
};

use ferry_build::{CopyStep, RunStep, State};
use ferry_dockerfile::Source;
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
    BuildError, NamedContext, Vertex,
    cache::Made,
    context,
    copy::{self, Copies},
    fetch,
    graph::{Build, Current, Turn},
    known::{self, Known},
    mounts, run,
    tree::Files,
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
        let sources = mounts::sources(self, turn, step).await?;
        let defaults = &state.config;
        let text = format!(
            "RUN {} {} {:?} {:?} {:?} {:?} {:?} {} {:?}",
            step.key,
            sources.key(),
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
        let given = mounts::give(self, step, sources, vertex).await?;
        let entry = Entry { image, config };
        let layer = run::run(self, entry, step, &given, host, vertex).await?;
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
        let (files, _) = self.files_of(step.flags.from.as_deref(), turn.stage).await?;
        let remote = self.remotes(step, vertex).await?;
        let wanted = step.clone();
        let (files, copies, digest) = crate::blocking(move || {
            let copies = Copies::of(wanted, &files, remote)?;
            let digest = copies.key(&files)?;
            Ok((files, copies, digest))
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
        let (scratch, before) = (self.place.step(vertex), key.clone());
        // Where it works stays until it is done, also where nobody waits for it any more.
        let place = self.place.clone();
        let layer = crate::blocking(move || {
            let _place = place;
            let before = shared.builds.layer(&before).and_then(|layer| shared.layers.get(&layer));
            copies.layer(&shared, &below, &files, &scratch, before)
        })
        .await?;
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
        let user = state.config.user.clone().unwrap_or_default();
        let key = self.key(&current.files(), &format!("WORKDIR {path} {user}"));
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, shown));
        }
        let shared = Arc::clone(&self.engine.shared);
        let (layers, path) = (current.layers().to_vec(), path.to_owned());
        let (scratch, place) = (self.place.step(vertex), self.place.clone());
        let layer = crate::blocking(move || {
            let _place = place;
            copy::make_directory(&shared, &layers, &path, &user, &scratch)
        })
        .await?;
        let made = self.made(key, Some(layer), shown);
        Ok(self.finish(current, state, &made, shown))
    }

    /// The files of the context, a named one, a stage or an image; and the layers that they consist of.
    pub(super) async fn files_of(
        self: &Arc<Self>,
        from: Option<&str>,
        stage: usize,
    ) -> Result<(Files, Option<Vec<Digest>>), BuildError> {
        let Some(from) = from else {
            return Ok((self.place.context()?, None));
        };
        let layers = match self.request.contexts.get(from) {
            Some(NamedContext::Directory(directory)) => {
                let files = context::handed(directory)?;
                let known = self.known(from, directory).await;
                return Ok((Files { known, ..files }, None));
            }
            Some(NamedContext::Remote(url)) => {
                return Ok((self.named_remote(from, url).await?, None));
            }
            Some(NamedContext::Image(_)) => self.image(from, None, false).await?.layers().to_vec(),
            None => match self.plan.stage(from, stage) {
                Some(number) => self.stage_done(number).await?.layers().to_vec(),
                None if from == "scratch" => Vec::new(),
                None => {
                    let platform = self.request.platform.clone();
                    self.image(from, platform, false).await?.layers().to_vec()
                }
            },
        };
        self.hold(&layers);
        let shared = Arc::clone(&self.engine.shared);
        let own = layers.clone();
        let root = crate::blocking(move || view(&shared, &own)).await?;
        Ok((Files::all(root), Some(layers)))
    }

    /// What is known of the files of a named directory, looked up once.
    async fn known(&self, name: &str, directory: &Arc<OwnedFd>) -> Option<Arc<Known>> {
        let all = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all().get(name) {
            return known.clone();
        }
        let (shared, directory) = (Arc::clone(&self.engine.shared), Arc::clone(directory));
        let read = crate::blocking(move || Ok(known::of(&shared, directory.as_ref())));
        // Without it everything is read, nothing else.
        let read = read.await.ok().flatten();
        all().entry(name.to_owned()).or_insert(read).clone()
    }

    /// Writes down what the files of contexts came to.
    pub(super) async fn remember(&self) {
        let named = std::mem::take(&mut *self.known.lock().unwrap_or_else(PoisonError::into_inner));
        let all: Vec<_> = named.into_values().flatten().chain(self.place.known()).collect();
        let saved = crate::blocking(move || {
            all.iter().for_each(|known| known.save());
            Ok(())
        });
        // Without it the next build reads more than it needs to, nothing else.
        saved.await.ok();
    }

    /// A named context that is elsewhere, fetched once.
    async fn named_remote(&self, name: &str, url: &str) -> Result<Files, BuildError> {
        let mut fetched = self.fetched.lock().await;
        let remote = match fetched.get(name) {
            Some(remote) => remote.clone(),
            None => {
                let number = fetched.len();
                let directory = self.place.named(&format!("named-{number}"));
                let remote = fetch::fetch(&self.engine, url, None, false, &directory).await?;
                fetched.insert(name.to_owned(), remote.clone());
                remote
            }
        };
        Ok(self.place.files_at(&remote).await?)
    }

    /// What the URLs of an `ADD` give.
    async fn remotes(
        &self,
        step: &CopyStep,
        vertex: &Vertex,
    ) -> Result<Vec<fetch::Remote>, BuildError> {
        let mut remotes = Vec::new();
        for (at, source) in step.sources.iter().enumerate() {
            let Source::Path(url) = source else { continue };
            if !step.add || !fetch::is_remote(url) {
                continue;
            }
            let directory = self.place.step(vertex).join(format!("remote-{at}"));
            let (checksum, keep) = (step.flags.checksum.as_deref(), step.flags.keep_git_dir);
            remotes.push(fetch::fetch(&self.engine, url, checksum, keep, &directory).await?);
        }
        if remotes.is_empty() && step.flags.checksum.is_some() {
            let words = "checksum can't be specified for non-HTTP(S) and non-Git sources";
            return Err(Failure::new(ErrorKind::InvalidArgument, words).into());
        }
        Ok(remotes)
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
            // It may have been swept just before.
            if !shared.layers.contains(layer) {
                return None;
            }
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
        let diff_id = layer.as_ref().map(|layer| layer.diff_id.clone());
        self.hold(diff_id.as_slice());
        // Until here the layer itself kept it from being swept.
        drop(layer);
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

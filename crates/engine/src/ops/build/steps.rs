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
use ferry_model::{container::HostSettings, image::Image};
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
    current::Current,
    emulation,
    facts::{BELOW, Facts},
    fetch,
    graph::{Build, Turn},
    known::{self, Known},
    mounts, run,
    tree::Files,
};
use crate::Shared;

impl Build {
    pub(super) async fn run_step(
        self: &Arc<Self>,
        turn: Turn<'_>,
        current: Current,
        state: &State,
        step: &RunStep,
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let host = run::settings(self, step)?;
        let sources = mounts::sources(self, turn, step).await?;
        let defaults = &state.config;
        let mut facts = self.facts("RUN", vertex);
        facts.add("platform", current.platform());
        facts.add(BELOW, format!("{:?}", current.layers()));
        run_facts(step, defaults, &host, &mut facts);
        sources.facts(&mut facts);
        let key = facts.key();
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, &step.shown));
        }
        self.explain(turn, &facts, vertex).await?;
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
        emulation::check(&current.config.os, &current.config.architecture)?;
        let given = mounts::give(self, step, sources, vertex).await?;
        let entry = Entry { image, config };
        let layer = run::run(self, entry, step, given, host, vertex).await?;
        let made = self.made(&facts, Some(layer), &step.shown);
        Ok(self.finish(current, state, &made, &step.shown))
    }

    pub(super) async fn copy_step(
        self: &Arc<Self>,
        turn: Turn<'_>,
        current: Current,
        state: &State,
        step: &CopyStep,
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let (files, _) = self.files_of(step.flags.from.as_deref(), turn.stage).await?;
        let remote = self.remotes(step, vertex).await?;
        let (wanted, epoch) = (step.clone(), self.request.epoch);
        let mut facts = self.facts(if step.add { "ADD" } else { "COPY" }, vertex);
        // With --link nothing of what is below decides: no link in it is followed, no name looked up.
        if !step.flags.link {
            facts.add("platform", current.platform());
            facts.add(BELOW, format!("{:?}", current.layers()));
        }
        let (files, copies, facts) = crate::blocking(move || {
            let copies = Copies::of(wanted, &files, remote, epoch)?;
            copies.facts(&files, &mut facts)?;
            Ok((files, copies, facts))
        })
        .await?;
        let key = facts.key();
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, &step.shown));
        }
        let explained = self.explain(turn, &facts, vertex).await?;
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
        let made = self.made(&facts, Some(layer), &step.shown);
        self.explain_files(explained, made.layer.as_ref(), vertex).await?;
        Ok(self.finish(current, state, &made, &step.shown))
    }

    pub(super) async fn directory_step(
        self: &Arc<Self>,
        turn: Turn<'_>,
        current: Current,
        state: &State,
        (path, shown): (&str, &str),
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        let user = state.config.user.clone().unwrap_or_default();
        let mut facts = self.facts("WORKDIR", vertex);
        facts.add("platform", current.platform());
        facts.add(BELOW, format!("{:?}", current.layers()));
        facts.add("directory", path);
        facts.add("user", user.as_str());
        let key = facts.key();
        let _turn = self.engine.shared.builds.turn(&key).await;
        if let Some(made) = self.cached(turn, &key, vertex) {
            return Ok(self.finish(current, state, &made, shown));
        }
        self.explain(turn, &facts, vertex).await?;
        let shared = Arc::clone(&self.engine.shared);
        let (layers, path) = (current.layers().to_vec(), path.to_owned());
        let (scratch, place) = (self.place.step(vertex), self.place.clone());
        let times = self.request.times();
        let layer = crate::blocking(move || {
            let _place = place;
            copy::make_directory(&shared, &layers, &path, &user, &scratch, times)
        })
        .await?;
        let made = self.made(&facts, Some(layer), shown);
        Ok(self.finish(current, state, &made, shown))
    }

    /// The files of the context, a named one, a stage or an image; and the layers that they consist of.
    pub(super) async fn files_of(
        self: &Arc<Self>,
        from: Option<&str>,
        stage: usize,
    ) -> Result<(Files, Option<Vec<Digest>>), BuildError> {
        let (files, layers) = self.files_as_they_are(from, stage).await?;
        // When somebody checked a context out is none of its contents.
        let dated = self.request.epoch.filter(|_| layers.is_none());
        Ok((Files { dated, ..files }, layers))
    }

    async fn files_as_they_are(
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
            Some(NamedContext::Image(_)) => self.layers_of(from).await?,
            None => match self.plan.stage(from, stage) {
                Some(number) => self.stage_done(number).await?.layers().to_vec(),
                None if from == "scratch" => Vec::new(),
                None => self.layers_of(from).await?,
            },
        };
        self.hold(&layers);
        let shared = Arc::clone(&self.engine.shared);
        let own = layers.clone();
        let root = crate::blocking(move || view(&shared, &own)).await?;
        Ok((Files::all(root), Some(layers)))
    }

    /// The layers of an image, of the platform that is built.
    async fn layers_of(&self, image: &str) -> Result<Vec<Digest>, BuildError> {
        let found = self.image(image, self.request.platform.clone(), false).await?;
        Ok(found.layers().to_vec())
    }

    /// What is known of the files of a named directory, looked up once.
    async fn known(&self, name: &str, directory: &Arc<OwnedFd>) -> Option<Arc<Known>> {
        let all = || self.together.known.lock().unwrap_or_else(PoisonError::into_inner);
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
        let named = std::mem::take(
            &mut *self.together.known.lock().unwrap_or_else(PoisonError::into_inner),
        );
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
        let mut fetched = self.together.fetched.lock().await;
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

    /// What every step depends on.
    fn facts(&self, word: &str, vertex: &Vertex) -> Facts {
        let mut facts = Facts::of(vertex.step.as_ref().map_or(word, |step| step.text.as_str()));
        facts.add("instruction", word);
        facts.add_some("SOURCE_DATE_EPOCH", self.request.epoch.map(|epoch| epoch.to_string()));
        facts
    }

    /// The outcome of a step that was done before.
    fn cached(&self, turn: Turn<'_>, key: &Digest, vertex: &mut Vertex) -> Option<Made> {
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
    fn made(&self, facts: &Facts, layer: Option<Layer>, what: &str) -> Made {
        let (shared, key) = (&self.engine.shared, facts.key());
        let layer = layer.filter(|layer| layer.entries > 0);
        let size = layer.as_ref().map_or(0, |layer| layer.size);
        let diff_id = layer.as_ref().map(|layer| layer.diff_id.clone());
        self.hold(diff_id.as_slice());
        // Until here the layer itself kept it from being swept.
        drop(layer);
        let made = Made { layer: diff_id, created: self.now(), what: what.to_owned(), size };
        shared.builds.learn(&key, made.clone(), Some(facts), shared.now());
        self.note(key, made.clone());
        made
    }
}

/// What the outcome of a `RUN` depends on, besides what it stands on and the files that it mounts.
fn run_facts(step: &RunStep, defaults: &ContainerDefaults, host: &HostSettings, facts: &mut Facts) {
    facts.add("command", format!("{:?}", step.argv));
    facts.add_some("document", step.script.clone());
    let arguments = step.args.iter().map(|pair| ("argument", pair));
    let variables = defaults.env.iter().flatten().map(|pair| ("variable", pair));
    for (kind, pair) in arguments.chain(variables) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        facts.add(format!("{kind} {name}"), value);
    }
    facts.add_some("user", defaults.user.clone());
    facts.add_some("working directory", defaults.working_dir.clone());
    facts.add("network", format!("{:?} {:?}", step.network, host.network_mode));
    facts.add_some("--security", step.insecure.then_some("insecure"));
    for mount in &step.mounts {
        facts.add(format!("mount {}", mount.target), format!("{mount:?}"));
    }
    facts.add("--add-host", format!("{:?}", host.extra_hosts));
    facts.add("--shm-size", host.shm_size.to_string());
    facts.add("--ulimit", format!("{:?}", host.ulimits));
}

/// The layers of a stage or an image, to be read.
pub(super) fn view(shared: &Shared, layers: &[Digest]) -> Result<InRoot, Failure> {
    let lower = shared.lower_dirs(layers)?;
    let failed = |words: String| Failure::new(ErrorKind::Internal, words);
    if let [only] = lower.as_slice() {
        return InRoot::open(only).map_err(|errno| failed(errno.to_string()));
    }
    let overlay = Overlay { lower, ..Overlay::default() };
    overlay::root(&overlay).map_err(|error| failed(error.to_string()))
}

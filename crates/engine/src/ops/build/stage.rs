//! Stage by stage, step by step: what is in the cache is taken, the rest is done.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ferry_build::{Base, CopyStep, Effect, Plan, PlanRequest, RunStep, State};
use ferry_dockerfile::{Kind, parse_instruction};
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_layers::Layer;
use ferry_model::image::Image;
use ferry_oci::{ContainerDefaults, Digest, History, ImageConfig, Platform, Reference};
use ferry_sys::{
    overlay::{self, Overlay},
    root::InRoot,
};
use tokio::sync::mpsc;

use super::{
    BuildError, BuildProgress, BuildRequest, Teller,
    context::Place,
    copy::{self, Copies},
    run::{self, Conditions},
    short,
};
use crate::{
    Engine, Shared,
    ops::image::{PullProgress, PullRequest, pull},
    shared::Lease,
};

/// An image on its way.
#[derive(Debug, Clone)]
struct Current {
    config: ImageConfig,
    json: String,
    id: Digest,
}

impl Current {
    fn of(config: ImageConfig) -> Result<Current, Failure> {
        let json = serde_json::to_string(&config)
            .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))?;
        Ok(Current { id: Digest::sha256_of(json.as_bytes()), json, config })
    }

    fn layers(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }
}

/// A build's stages.
pub(super) struct Stages<'a> {
    engine: &'a Engine,
    request: &'a BuildRequest,
    plan: &'a Plan,
    wanted: PlanRequest,
    place: Arc<Place>,
    teller: &'a Teller,
    done: BTreeMap<usize, Current>,
    declared: BTreeSet<String>,
    /// Steps that were done, for the cache.
    steps: Vec<(Digest, String)>,
    number: usize,
    total: usize,
    /// Layers that nothing but this build has yet.
    leases: Vec<Lease<'a>>,
    /// Once a step was not in the cache, those after it are not looked for.
    missed: bool,
}

impl<'a> Stages<'a> {
    pub(super) fn new(
        engine: &'a Engine,
        request: &'a BuildRequest,
        plan: &'a Plan,
        wanted: PlanRequest,
        place: Place,
        teller: &'a Teller,
    ) -> Self {
        let of =
            |stage: &usize| plan.stages.get(*stage).map_or(0, |stage| stage.instructions.len() + 1);
        let total = plan.needed.iter().map(of).sum::<usize>();
        let declared = plan.globals.keys().cloned().collect();
        Stages {
            engine,
            request,
            plan,
            wanted,
            place: Arc::new(place),
            teller,
            declared,
            done: BTreeMap::new(),
            steps: Vec::new(),
            leases: Vec::new(),
            number: 0,
            total: total + usize::from(!request.labels.is_empty()),
            missed: false,
        }
    }

    /// Builds what is needed; answers the last stage's configuration.
    pub(super) async fn build(&mut self) -> Result<String, BuildError> {
        let mut last = None;
        for stage in self.plan.needed.clone() {
            let built = self.stage(stage, self.plan.needed.last() == Some(&stage)).await;
            // What was done is worth keeping even where the build fails.
            self.remember().await?;
            let built = built?;
            last = Some(built.json.clone());
            self.done.insert(stage, built);
        }
        last.ok_or_else(|| Failure::new(ErrorKind::Internal, "the build has no stage").into())
    }

    /// Build arguments that no `ARG` asked for.
    pub(super) fn unused_arguments(&self) -> Vec<String> {
        let known = |name: &String| {
            self.declared.contains(name) || name.to_ascii_lowercase().ends_with("_proxy")
        };
        self.wanted.build_args.keys().filter(|name| !known(name)).cloned().collect()
    }

    async fn remember(&mut self) -> Result<(), Failure> {
        let steps = std::mem::take(&mut self.steps);
        if steps.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.engine.shared);
        crate::blocking(move || shared.builds.keep(&steps, &shared.layers, shared.now())).await
    }

    async fn say_step(&mut self, text: &str) -> Result<(), Failure> {
        self.number += 1;
        self.teller.say(format!("Step {}/{} : {text}\n", self.number, self.total)).await
    }

    async fn stage(&mut self, number: usize, last: bool) -> Result<Current, BuildError> {
        let stage = &self.plan.stages[number];
        self.say_step(&stage.from.text).await?;
        self.missed = self.request.no_cache;
        let mut current = match &stage.base {
            Base::Scratch => Current::of(ImageConfig {
                architecture: Platform::host().architecture,
                os: Platform::host().os,
                ..ImageConfig::default()
            })?,
            Base::Stage(base) => self.stage_done(*base)?.clone(),
            Base::Image(name) => {
                let platform = stage.platform.clone().or_else(|| self.request.platform.clone());
                self.image(name, platform, self.request.pull).await?
            }
        };
        let scratch = stage.base == Base::Scratch;
        let id = if scratch { String::new() } else { short(&current.id.hex()).to_owned() };
        self.teller.say(format!(" ---> {id}\n")).await?;
        let mut state =
            State::on(current.config.config.clone().unwrap_or_default(), self.plan.escape);
        state.build_args = self.wanted.build_args.clone();
        state.globals = self.plan.globals.clone();
        state.platform_args = self.wanted.platform_args.clone();
        let triggers = match stage.base {
            Base::Stage(_) | Base::Scratch => None,
            Base::Image(_) => state.config.on_build.take(),
        };
        let mut instructions = Vec::new();
        for trigger in triggers.iter().flatten() {
            let read = parse_instruction(trigger).map_err(Failure::from)?;
            instructions.push(read);
        }
        if !instructions.is_empty() {
            self.total += instructions.len();
            let count = instructions.len();
            let word = if count == 1 { "trigger" } else { "triggers" };
            self.teller.say(format!("# Executing {count} build {word}\n")).await?;
        }
        instructions.extend(stage.instructions.iter().cloned());
        if last && !self.request.labels.is_empty() {
            let quoted = |text: &String| format!("'{}'", text.replace('\'', "'\"'\"'"));
            let labels = self.request.labels.iter();
            let pairs: Vec<_> = labels.map(|(name, value)| (quoted(name), quoted(value))).collect();
            let words: Vec<_> =
                pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let text = format!("LABEL {}", words.join(" "));
            instructions.push(ferry_dockerfile::Instruction {
                line: 0,
                text,
                kind: Kind::Label(pairs),
            });
        }
        for instruction in instructions {
            self.say_step(&instruction.text).await?;
            if let Kind::Arg(args) = &instruction.kind {
                self.declared.extend(args.iter().map(|arg| arg.name.clone()));
            }
            let effect = state.apply(&instruction.kind).map_err(Failure::from)?;
            current = self.step(number, current, &state, &effect, &instruction.text).await?;
            self.teller.say(format!(" ---> {}\n", short(&current.id.hex()))).await?;
        }
        Ok(current)
    }

    fn stage_done(&self, number: usize) -> Result<&Current, Failure> {
        let gone = || Failure::new(ErrorKind::Internal, format!("stage {number} was not built"));
        self.done.get(&number).ok_or_else(gone)
    }

    /// An image that is here, or is fetched.
    async fn image(
        &self,
        name: &str,
        platform: Option<String>,
        newer: bool,
    ) -> Result<Current, BuildError> {
        let shared = &self.engine.shared;
        let reference = Reference::parse(name).map_err(crate::ops::image::bad_reference);
        let wanted = platform.as_deref().map(str::parse::<Platform>).transpose();
        let wanted =
            wanted.map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?;
        let here = shared.images.get(name).ok().filter(|named| {
            let config = &named.entry.config;
            wanted.as_ref().is_none_or(|wanted| {
                config.os == wanted.os && config.architecture == wanted.architecture
            })
        });
        if here.is_none() || newer && reference.is_ok() {
            let reference = reference?.with_default_tag();
            let fetched = self.fetch(&reference, platform).await;
            if let Err(failure) = fetched {
                // What is only here, no registry has a newer one of.
                if here.is_none() || failure.kind() != ErrorKind::NotFound {
                    return Err(failure.into());
                }
            }
        }
        let found = shared.images.get(name).map_err(Failure::from)?;
        let entry = &found.entry;
        Ok(Current {
            config: entry.config.clone(),
            json: entry.image.config_json.clone(),
            id: entry.image.id.clone(),
        })
    }

    async fn fetch(&self, reference: &Reference, platform: Option<String>) -> Result<(), Failure> {
        let (sender, mut messages) = mpsc::channel::<PullProgress>(64);
        let auths = &self.request.auths;
        let domain = reference.domain().to_owned();
        let hub = "https://index.docker.io/v1/".to_owned();
        let auth = auths
            .get(&domain)
            .or_else(|| (domain == "docker.io").then(|| auths.get(&hub)).flatten());
        let wanted =
            PullRequest { image: reference.canonical(), tag: None, platform, auth: auth.cloned() };
        let (quiet, progress) = (self.teller.quiet, self.teller.progress.clone());
        let forward = async move {
            while let Some(message) = messages.recv().await {
                if !quiet {
                    progress.send(BuildProgress::Pull(message)).await.ok();
                }
            }
        };
        let (pulled, ()) = tokio::join!(pull(self.engine, wanted, sender), forward);
        pulled
    }

    async fn step(
        &mut self,
        stage: usize,
        current: Current,
        state: &State,
        effect: &Effect,
        text: &str,
    ) -> Result<Current, BuildError> {
        match effect {
            // The configuration that a stage starts with may lack a PATH: the first instruction brings it in.
            Effect::Nothing => Ok(current),
            Effect::Config => {
                let key =
                    key(&current, &format!("CONFIG {text} {:?} {:?}", state.config, state.author));
                if let Some(cached) = self.cached(&key).await? {
                    return Ok(cached);
                }
                self.finish(key, current, state, None, text)
            }
            Effect::Run(step) => self.run(current, state, step).await,
            Effect::Copy(step) => self.copy(stage, current, state, step).await,
            Effect::Directory(path) => {
                let key = key(&current, &format!("WORKDIR {path} {:?}", state.config));
                if let Some(cached) = self.cached(&key).await? {
                    return Ok(cached);
                }
                let shared = Arc::clone(&self.engine.shared);
                let (layers, path) = (current.layers().to_vec(), path.clone());
                let scratch = self.place.step(self.number);
                let layer = crate::blocking(move || {
                    let _lease = shared.lease(&layers);
                    copy::make_directory(&shared, &layers, &path, &scratch)
                })
                .await?;
                self.finish(key, current, state, Some(layer), text)
            }
        }
    }

    async fn run(
        &mut self,
        current: Current,
        state: &State,
        step: &RunStep,
    ) -> Result<Current, BuildError> {
        let text = format!("{} {:?} {:?}", step.key, state.config, self.request.host.network_mode);
        let key = key(&current, &text);
        if let Some(cached) = self.cached(&key).await? {
            return Ok(cached);
        }
        let script = match &step.script {
            Some(text) => {
                let path = self.place.file(&format!("script-{}", self.number));
                write_script(&path, text)?;
                Some(path.to_string_lossy().into_owned())
            }
            None => None,
        };
        // What the container inherits is of the image; what it runs is of the step.
        let config = ImageConfig {
            config: Some(ContainerDefaults {
                user: state.config.user.clone(),
                working_dir: state.config.working_dir.clone(),
                ..ContainerDefaults::default()
            }),
            ..current.config.clone()
        };
        let image = Image {
            id: current.id.clone(),
            config_json: current.json.clone(),
            manifest: None,
            stored: self.engine.shared.now(),
            size: 0,
        };
        let _lease = self.engine.shared.lease(current.layers());
        let conditions = Conditions { host: self.request.host.clone() };
        let entry = Entry { image, config };
        let layer = run::run(self.engine, entry, step, script, &conditions, self.teller).await?;
        self.finish(key, current, state, Some(layer), &step.shown)
    }

    async fn copy(
        &mut self,
        stage: usize,
        current: Current,
        state: &State,
        step: &CopyStep,
    ) -> Result<Current, BuildError> {
        let source = match step.flags.from.as_deref() {
            None => None,
            Some(from) => Some(match self.plan.stage(from, stage) {
                Some(number) => self.stage_done(number)?.clone(),
                None => self.image(from, None, false).await?,
            }),
        };
        let shared = Arc::clone(&self.engine.shared);
        let (place, wanted) = (Arc::clone(&self.place), step.clone());
        let from_layers = source.as_ref().map(|source| source.layers().to_vec());
        let (root, copies, digest) = crate::blocking(move || {
            let root = match from_layers {
                None => place.context()?,
                Some(layers) => view(&shared, &layers)?,
            };
            let copies = Copies::of(wanted, &root)?;
            let digest = copies.key(&root)?;
            Ok((root, copies, digest))
        })
        .await?;
        let key = key(&current, &format!("COPY {digest} {:?}", state.config));
        if let Some(cached) = self.cached(&key).await? {
            return Ok(cached);
        }
        let shared = Arc::clone(&self.engine.shared);
        let (layers, scratch) = (current.layers().to_vec(), self.place.step(self.number));
        let layer = crate::blocking(move || {
            let _lease = shared.lease(&layers);
            copies.layer(&shared, &layers, &root, &scratch)
        })
        .await?;
        self.finish(key, current, state, Some(layer), &step.shown)
    }

    /// The outcome of a step that was done before.
    async fn cached(&mut self, key: &Digest) -> Result<Option<Current>, Failure> {
        if self.missed {
            return Ok(None);
        }
        let shared = &self.engine.shared;
        let Some(json) = shared.builds.find(key, &shared.layers, shared.now()) else {
            self.missed = true;
            return Ok(None);
        };
        let Ok(config) = ImageConfig::parse(json.as_bytes()) else { return Ok(None) };
        self.leases.push(self.engine.shared.lease(&config.rootfs.diff_ids));
        self.teller.say(" ---> Using cache\n".to_owned()).await?;
        Ok(Some(Current { id: Digest::sha256_of(json.as_bytes()), json, config }))
    }

    /// What a step made, as an image and for the cache.
    fn finish(
        &mut self,
        key: Digest,
        current: Current,
        state: &State,
        layer: Option<Layer>,
        shown: &str,
    ) -> Result<Current, BuildError> {
        let mut config = current.config;
        let layer = layer.filter(|layer| layer.entries > 0);
        let created = Some(self.engine.shared.now().format_rfc3339_nano());
        config.history.push(History {
            created: created.clone(),
            created_by: Some(shown.to_owned()),
            author: state.author.clone(),
            empty_layer: layer.is_none().then_some(true),
            ..History::default()
        });
        if let Some(layer) = layer {
            self.leases.push(self.engine.shared.lease(std::slice::from_ref(&layer.diff_id)));
            config.rootfs.diff_ids.push(layer.diff_id);
        }
        config.created = created;
        config.author = state.author.clone().or(config.author);
        config.comment = None;
        config.docker_version = None;
        config.config = Some(state.config.clone());
        let made = Current::of(config)?;
        self.steps.push((key, made.json.clone()));
        Ok(made)
    }
}

fn key(current: &Current, text: &str) -> Digest {
    Digest::sha256_of(format!("1 {} {text}", current.id).as_bytes())
}

/// The layers of a stage or an image, to be read.
fn view(shared: &Shared, layers: &[Digest]) -> Result<InRoot, Failure> {
    let lower = shared.lower_dirs(layers)?;
    let failed = |words: String| Failure::new(ErrorKind::Internal, words);
    if let [only] = lower.as_slice() {
        return InRoot::open(only).map_err(|errno| failed(errno.to_string()));
    }
    let overlay = Overlay { lower, upper: None, work: None };
    overlay::root(&overlay).map_err(|error| failed(error.to_string()))
}

fn write_script(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)))
        .map_err(|source| crate::records::failed("write", path, source))
}

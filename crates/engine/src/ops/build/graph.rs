//! A build's graph: stages at the same time, each waiting for another one only where it uses it; within a stage, step by step. What
//! the cache knows is taken, the rest is done.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use ferry_build::{Base, Effect, Plan, PlanRequest, State};
use ferry_dockerfile::{Instruction, Kind};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, ImageConfig, Platform};
use ferry_stdx::time::Timestamp;
use tokio::{sync::watch, task::JoinSet};

use super::{
    BuildError, BuildProgress, BuildRequest, Excerpt, Log, Teller, Vertex, VertexKind, Warning,
    attest::Material,
    cache::{Made, Past},
    context::Place,
    current::{Current, next},
    platforms::Together,
    prepare::Ready,
};
use crate::{Engine, shared::HeldLease};

/// A build.
#[derive(Debug)]
pub(super) struct Build {
    pub(super) engine: Engine,
    pub(super) request: BuildRequest,
    pub(super) plan: Plan,
    pub(super) wanted: PlanRequest,
    pub(super) place: Place,
    pub(super) teller: Teller,
    /// What distinguishes it from other builds.
    pub(super) id: String,
    /// The Dockerfile, for messages.
    pub(super) text: String,
    /// Stages that are done.
    done: Vec<watch::Sender<Option<Arc<Current>>>>,
    /// Layers that nothing but this build has yet.
    held: Mutex<Vec<HeldLease>>,
    /// What it has in common with the builds of other platforms.
    pub(super) together: Arc<Together>,
    /// Images that it used.
    pub(super) materials: Mutex<BTreeSet<Material>>,
    /// When it began.
    pub(super) began: Timestamp,
    /// Steps that were done before this build: read where one is to be explained.
    pub(super) past: tokio::sync::OnceCell<Arc<Vec<Past>>>,
}

impl Build {
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one value, put together in one place"
    )]
    pub(super) fn new(
        engine: Engine,
        request: BuildRequest,
        plan: Plan,
        wanted: PlanRequest,
        place: Place,
        teller: Teller,
        id: String,
        text: String,
        together: Arc<Together>,
    ) -> Build {
        let began = engine.shared.now();
        let done = plan.stages.iter().map(|_| watch::Sender::new(None)).collect();
        let globals = plan.globals.keys().cloned();
        together.declared.lock().unwrap_or_else(PoisonError::into_inner).extend(globals);
        Build {
            engine,
            request,
            plan,
            wanted,
            place,
            teller,
            id,
            text,
            done,
            held: Mutex::default(),
            together,
            past: tokio::sync::OnceCell::new(),
            materials: Mutex::default(),
            began,
        }
    }

    /// Builds what is needed; answers what the target came to.
    pub(super) async fn run(self: &Arc<Self>) -> Result<Arc<Current>, BuildError> {
        self.import().await?;
        let ready = self.prepare().await?;
        let Some(target) = self.plan.needed.last().copied() else {
            return Err(Failure::new(ErrorKind::Internal, "the build has no stage").into());
        };
        let mut tasks = JoinSet::new();
        for (number, stage) in ready {
            let build = Arc::clone(self);
            tasks.spawn(async move {
                let built = build.stage(number, stage).await?;
                build.done[number].send_replace(Some(Arc::new(built)));
                Ok::<(), BuildError>(())
            });
        }
        let mut failed: Option<BuildError> = None;
        while let Some(ended) = tasks.join_next().await {
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) if error.is_cancelled() => Ok(()),
                Err(error) => Err(Failure::new(ErrorKind::Internal, error.to_string()).into()),
            };
            if let (Err(error), None) = (ended, &failed) {
                failed = Some(error);
                // The others would only work for nobody.
                tasks.abort_all();
            }
        }
        match failed {
            Some(error) => Err(error),
            None => self.stage_done(target).await,
        }
    }

    /// Build arguments that no `ARG` asked for.
    pub(super) fn unused_arguments(&self) -> Vec<String> {
        let declared = self.together.declared.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |name: &String| {
            declared.contains(name)
                || name.to_ascii_lowercase().ends_with("_proxy")
                || name.starts_with("BUILDKIT_")
                || name == "SOURCE_DATE_EPOCH"
        };
        self.wanted.build_args.keys().filter(|name| !known(name)).cloned().collect()
    }

    async fn stage(self: &Arc<Self>, number: usize, ready: Ready) -> Result<Current, BuildError> {
        let stage = &self.plan.stages[number];
        let mut vertices = ready.vertices.into_iter();
        let mut from =
            vertices.next().unwrap_or_else(|| Vertex::new(&self.id, VertexKind::Base, "FROM"));
        self.start(&mut from).await?;
        let mut current = match (&stage.base, ready.base) {
            (Base::Stage(base), _) => self.stage_done(*base).await?.as_ref().clone(),
            (_, Some(image)) => image,
            _ => Current::scratch(&self.platform(stage.platform.as_deref())?),
        };
        self.hold(current.layers());
        from.cached = stage.base != Base::Scratch;
        if from.cached {
            from.result = Some(current.id()?);
        }
        self.complete(&mut from).await?;
        self.date(&mut current.config);
        let mut state =
            State::on(current.config.config.clone().unwrap_or_default(), self.plan.escape);
        // They have been taken: each does what those before it left to do.
        state.config.on_build = None;
        if stage.base == Base::Scratch {
            state.config.working_dir = Some("/".to_owned());
        }
        state.build_args = self.wanted.build_args.clone();
        state.globals = self.plan.globals.clone();
        state.platform_args = self.wanted.platform_args.clone();
        state.inherit(std::mem::take(&mut current.args));
        let fresh = self.request.no_cache || self.is_filtered(number);
        let mut below = from.name;
        for (instruction, mut vertex) in ready.instructions.iter().zip(vertices) {
            self.start(&mut vertex).await?;
            if let Kind::Arg(args) = &instruction.kind {
                let names = args.iter().map(|arg| arg.name.clone());
                self.together.declared.lock().unwrap_or_else(PoisonError::into_inner).extend(names);
            }
            let done = match state.apply(&instruction.kind) {
                Ok(effect) => {
                    let turn = Turn { stage: number, fresh, below: &below };
                    self.step(turn, current, &state, &effect, &mut vertex).await
                }
                Err(error) => Err(BuildError::of(error)),
            };
            match done {
                Ok(made) => current = made,
                Err(error) => {
                    vertex.error = Some(error.failure.message().to_owned());
                    self.complete(&mut vertex).await?;
                    return Err(self.at(error, Some(instruction)));
                }
            }
            vertex.result = Some(current.id()?);
            self.complete(&mut vertex).await?;
            if vertex.kind == VertexKind::Layer {
                below = vertex.name;
            }
        }
        current.args = state.declared();
        Ok(current)
    }

    fn is_filtered(&self, number: usize) -> bool {
        let name = self.plan.stages[number].name.clone().unwrap_or_default();
        let is_this = |filter: &String| {
            filter.eq_ignore_ascii_case(&name) && !name.is_empty() || filter.parse() == Ok(number)
        };
        self.request.no_cache_filter.iter().any(is_this)
    }

    async fn step(
        self: &Arc<Self>,
        turn: Turn<'_>,
        current: Current,
        state: &State,
        effect: &Effect,
        vertex: &mut Vertex,
    ) -> Result<Current, BuildError> {
        match effect {
            Effect::Config { shown } => self.configured(current, state, shown).await,
            Effect::Run(step) => self.run_step(turn, current, state, step, vertex).await,
            Effect::Copy(step) => self.copy_step(turn, current, state, step, vertex).await,
            Effect::Directory { path, shown } => {
                self.directory_step(turn, current, state, (path, shown), vertex).await
            }
        }
    }

    /// An instruction that only changes the configuration: as old as what it stands on, so that it is the same image every time.
    async fn configured(
        &self,
        current: Current,
        state: &State,
        shown: &str,
    ) -> Result<Current, BuildError> {
        let before = current.config.history.last().and_then(|entry| entry.created.clone());
        let created = match before.or_else(|| current.config.created.clone()) {
            Some(created) => created,
            None => {
                let key =
                    Digest::sha256_of(format!("first {} {shown}", current.files()).as_bytes());
                self.first_made(&key).await?
            }
        };
        Ok(next(current, state, None, created, shown, true))
    }

    /// When something was done for the first time that needs nothing to be done.
    async fn first_made(&self, key: &Digest) -> Result<String, Failure> {
        let shared = &self.engine.shared;
        let _turn = shared.builds.turn(key).await;
        if let Some(made) = shared.builds.find(key, &shared.layers, shared.now()) {
            return Ok(made.created);
        }
        let made = Made { layer: None, created: self.now(), what: "first".to_owned(), size: 0 };
        shared.builds.learn(key, made.clone(), None, shared.now());
        Ok(made.created)
    }

    /// What a step made, or the cache knew, as an image.
    pub(super) fn finish(
        &self,
        current: Current,
        state: &State,
        made: &Made,
        shown: &str,
    ) -> Current {
        if let Some(layer) = &made.layer {
            self.hold(std::slice::from_ref(layer));
        }
        next(current, state, made.layer.clone(), made.created.clone(), shown, false)
    }

    /// The time that is written into images.
    pub(super) fn now(&self) -> String {
        match self.request.epoch {
            Some(seconds) => Timestamp::from_seconds(seconds).format_rfc3339_nano(),
            None => self.engine.shared.now().format_rfc3339_nano(),
        }
    }

    /// Makes a base image no younger than what is built on it.
    fn date(&self, config: &mut ImageConfig) {
        let Some(epoch) = self.request.epoch.map(Timestamp::from_seconds) else { return };
        let history = config.history.iter_mut().map(|entry| &mut entry.created);
        for created in history.chain([&mut config.created]) {
            let time = created.as_deref().and_then(Timestamp::parse_rfc3339);
            if time.is_none_or(|time| time > epoch) {
                *created = Some(self.now());
            }
        }
    }

    /// Keeps layers from being swept as long as the build is at work.
    pub(super) fn hold(&self, layers: &[Digest]) {
        let lease = self.engine.shared.hold(layers);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }

    /// Waits for another stage.
    pub(super) async fn stage_done(&self, number: usize) -> Result<Arc<Current>, BuildError> {
        let gone = || Failure::new(ErrorKind::Internal, format!("stage {number} was not built"));
        let mut done = self.done.get(number).ok_or_else(gone)?.subscribe();
        let built = done.wait_for(Option::is_some).await.map_err(|_| gone())?;
        built.clone().ok_or_else(|| gone().into())
    }

    pub(super) fn platform(&self, own: Option<&str>) -> Result<Platform, Failure> {
        let text = own.or(self.request.platform.as_deref());
        let Some(text) = text else { return Ok(Platform::host()) };
        text.parse().map_err(|error: ferry_oci::InvalidPlatform| {
            Failure::new(ErrorKind::InvalidArgument, error.to_string())
        })
    }

    pub(super) async fn start(&self, vertex: &mut Vertex) -> Result<(), Failure> {
        vertex.started = Some(self.engine.shared.now());
        self.teller.vertex(vertex).await
    }

    pub(super) async fn complete(&self, vertex: &mut Vertex) -> Result<(), Failure> {
        vertex.completed = Some(self.engine.shared.now());
        self.teller.vertex(vertex).await
    }

    pub(super) async fn log(
        &self,
        vertex: &Vertex,
        stderr: bool,
        bytes: Vec<u8>,
    ) -> Result<(), Failure> {
        let (at, vertex) = (self.engine.shared.now(), vertex.digest.clone());
        self.teller.send(BuildProgress::Log(Log { vertex, at, stderr, bytes: bytes.into() })).await
    }

    /// An error with the lines that it is about.
    pub(super) fn at(&self, error: BuildError, instruction: Option<&Instruction>) -> BuildError {
        let Some(instruction) = instruction.filter(|one| one.line > 0 && error.excerpt.is_none())
        else {
            return error;
        };
        let (first, last) = (instruction.line, instruction.last_line);
        let excerpt = Excerpt::of(&self.request.dockerfile, &self.text, first, last);
        BuildError { excerpt: Some(Box::new(excerpt)), ..error }
    }

    /// Remembers which steps this build is made of.
    pub(super) fn note(&self, key: Digest, made: Made) {
        self.together.keys.lock().unwrap_or_else(PoisonError::into_inner).push((key, made));
    }

    /// Whether this build itself has done the step.
    pub(super) fn was_done_here(&self, key: &Digest) -> bool {
        let keys = self.together.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().any(|(known, _)| known == key)
    }

    /// Tells of arguments that nothing asked for.
    pub(super) async fn warn_of_unused(&self, vertex: &Vertex) -> Result<(), Failure> {
        let unused = self.unused_arguments();
        if unused.is_empty() {
            return Ok(());
        }
        let warning = Warning {
            vertex: vertex.digest.clone(),
            short: format!("One or more build-args {unused:?} were not consumed"),
            detail: Vec::new(),
            url: String::new(),
            file: self.request.dockerfile.clone(),
            lines: None,
        };
        self.teller.send(BuildProgress::Warning(warning)).await
    }
}

/// Where in the build a step is, and whether it is to be done anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) stage: usize,
    pub(super) fresh: bool,
    /// What the step stands on, in words.
    pub(super) below: &'a str,
}

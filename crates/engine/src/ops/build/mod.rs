//! `build`: a Dockerfile and a context become an image, step by step, with what earlier builds have made.
//!
//! A step's key is what it finds (the layers below), what it says, and digests of what it copies; what comes of it is a layer. These are
//! kept in the `BuildCache`; only the image of the target is recorded. What happens on the way is told as [`BuildProgress`].

mod attest;
mod built;
mod cache;
mod carry;
mod compare;
mod context;
mod copy;
mod current;
mod emulation;
mod explain;
mod facts;
mod fetch;
mod files;
mod graph;
mod hand_out;
mod history;
mod kept;
mod known;
mod mounts;
mod platforms;
mod prepare;
mod progress;
mod prune;
mod request;
mod run;
mod sources;
mod steps;
mod tree;
mod verify;

use std::{collections::BTreeMap, sync::Arc};

use ferry_build::PlanRequest;
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Digest, Platform, Reference};
use futures_util::future::try_join_all;
use tokio::sync::mpsc;

use self::{
    built::Part, current::Current, graph::Build, history::Recorder, platforms::Together,
    progress::Teller,
};
use super::image::{self, keep::keep};
use crate::{Engine, random};

pub use attest::{Attest, Provenance};
pub use built::Built;
pub use cache::CacheRecord;
pub use files::{Layout, ResultTree};
pub use hand_out::{Filled, fill};
pub use history::{BuildRecord, Ending, Output, annotate, called, forget, histories, history};
pub use kept::{Current as CurrentTree, KeptTree, Told, ToldKind, keep as keep_tree};
pub use progress::{BuildProgress, Log, Status, Step, Vertex, VertexKind, Warning};
pub use prune::{Budget, PruneRequest, prune, records};
pub use request::{
    Asked, BuildClient, BuildError, BuildRequest, Connection, ContextSource, Excerpt, NamedContext,
};

pub use verify::{Verdict, verify};

pub(crate) use cache::BuildCache;
pub(crate) use history::Histories;
pub(crate) use kept::KeptTrees;
pub(crate) use mounts::CacheMounts;
pub(crate) use run::remove_leftovers;

pub(crate) use prune::{Collecting, of as cache_records};

/// Builds an image and records it.
///
/// # Errors
/// In Docker's words: the Dockerfile does not read, a base image is not there, a step fails.
pub async fn build(
    engine: &Engine,
    request: BuildRequest,
    context: ContextSource,
    progress: mpsc::Sender<BuildProgress>,
) -> Result<Digest, BuildError> {
    solve(engine, request, context, progress).await?.record().await
}

/// Builds, and answers what came of it; nothing has a name yet.
///
/// # Errors
/// As for [`build`].
pub async fn solve(
    engine: &Engine,
    request: BuildRequest,
    context: ContextSource,
    progress: mpsc::Sender<BuildProgress>,
) -> Result<Built, BuildError> {
    let id = random::id()?;
    let recorder = Recorder::begin(engine, &id, &request);
    let teller = Teller::recorded(progress, recorder.shelf());
    let built = solve_recorded(engine, request, context, id, teller).await;
    recorder.end(&built);
    built
}

async fn solve_recorded(
    engine: &Engine,
    mut request: BuildRequest,
    context: ContextSource,
    id: String,
    teller: Teller,
) -> Result<Built, BuildError> {
    request.settle_epoch()?;
    let names = names(&request.tags)?;
    let requests = platforms::each(&request)?;
    let (place, text, vertex) = receive(engine, &request, context, &id, &teller).await?;
    let file =
        ferry_dockerfile::parse(&text).map_err(|error| unreadable(error, &request, &text))?;
    refuse_frontends(file.syntax.as_deref())?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let several = requests.len() > 1;
    let together = Arc::new(Together { several, ..Together::default() });
    let mut builds = Vec::new();
    for request in requests {
        let wanted = wanted(&request)?;
        let plan =
            ferry_build::plan(&file, &wanted).map_err(|error| unplanned(error, &request, &text))?;
        if builds.is_empty() {
            let found = findings(engine, &file, &text, &wanted, &place);
            let is_error = ferry_build::is_error(&file, &wanted);
            warn(&request, found, is_error, &vertex, &teller).await?;
        }
        let id = match (&request.platform, several) {
            (Some(platform), true) => format!("{id} {platform}"),
            _ => id.clone(),
        };
        builds.push(Arc::new(Build::new(
            engine.clone(),
            request,
            plan,
            wanted,
            place.clone(),
            teller.clone(),
            id,
            text.clone(),
            Arc::clone(&together),
        )));
    }
    // The first that fails ends the others.
    let outcomes = try_join_all(builds.iter().map(Build::run)).await;
    for build in &builds {
        build.remember().await;
    }
    prune::ask_to_collect(engine);
    if outcomes.is_err() {
        // What was done is worth keeping even where the build fails.
        persist(engine).await?;
    }
    let parts: Vec<Part> =
        builds.into_iter().zip(outcomes?).map(|(build, outcome)| Part { build, outcome }).collect();
    let main = platforms::main(parts.iter().map(|part| &part.outcome.config));
    let built = Built { parts, main, names };
    let build = &built.main().build;
    if let Some(name) = &build.request.cache_image {
        let name = Reference::parse(name).map_err(image::bad_reference)?.with_default_tag();
        let (config, shared) = (build.cache_image()?, engine.shared.clone());
        crate::blocking(move || Ok(keep(&shared, config.as_bytes(), None, &[name])?)).await?;
    }
    Ok(built)
}

/// What `--call` asks of a Dockerfile.
///
/// # Errors
/// The Dockerfile does not read, or there is no such target.
pub async fn describe(
    engine: &Engine,
    request: BuildRequest,
    context: ContextSource,
    progress: mpsc::Sender<BuildProgress>,
) -> Result<Described, BuildError> {
    let (id, teller) = (random::id()?, Teller::new(progress));
    let (place, text, _) = receive(engine, &request, context, &id, &teller).await?;
    let file =
        ferry_dockerfile::parse(&text).map_err(|error| unreadable(error, &request, &text))?;
    refuse_frontends(file.syntax.as_deref())?;
    let first = platforms::each(&request)?.into_iter().next();
    let wanted = wanted(first.as_ref().unwrap_or(&request))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let plan =
        ferry_build::plan(&file, &wanted).map_err(|error| unplanned(error, &request, &text))?;
    let target = plan.needed.last().copied().unwrap_or_default();
    Ok(Described {
        findings: findings(engine, &file, &text, &wanted, &place),
        outline: ferry_build::outline(&file, &text, &plan, target),
        text,
    })
}

/// A Dockerfile, looked at.
#[derive(Debug, Clone)]
pub struct Described {
    /// What could be better.
    pub findings: Vec<ferry_build::Finding>,
    /// What it takes, and its targets.
    pub outline: ferry_build::Outline,
    /// Its text.
    pub text: String,
}

fn wanted(request: &BuildRequest) -> Result<PlanRequest, BuildError> {
    let platform = platform(request)?;
    Ok(PlanRequest {
        build_args: request.build_args.clone(),
        target: request.target.clone(),
        platform_args: platform_args(&platform, request),
        contexts: request.contexts.keys().cloned().collect(),
    })
}

/// What could be better in a Dockerfile, as far as can be told without fetching anything.
fn findings(
    engine: &Engine,
    file: &ferry_dockerfile::Dockerfile,
    text: &str,
    wanted: &PlanRequest,
    place: &context::Place,
) -> Vec<ferry_build::Finding> {
    let env_of = |image: &str| {
        let found = engine.shared.images.get(image).ok()?;
        let config = found.entry.config.config.clone().unwrap_or_default();
        Some(config.env.unwrap_or_default())
    };
    let ignored = |path: &str| place.ignores(path);
    let around = ferry_build::Surroundings { env_of: &env_of, ignored: &ignored };
    ferry_build::lint(file, text, wanted, &around)
}

/// Tells what could be better. Where `# check=error=true` says so, that is an error.
async fn warn(
    request: &BuildRequest,
    findings: Vec<ferry_build::Finding>,
    is_error: bool,
    vertex: &Vertex,
    teller: &Teller,
) -> Result<(), BuildError> {
    let count = findings.len();
    for finding in findings {
        let warning = Warning {
            vertex: vertex.digest.clone(),
            short: format!("{}: {} (line {})", finding.rule, finding.message, finding.line),
            detail: vec![finding.description.to_owned()],
            url: finding.url(),
            file: request.dockerfile.clone(),
            lines: Some((finding.line, finding.line)),
        };
        teller.send(BuildProgress::Warning(warning)).await?;
    }
    if count > 0 && is_error {
        let words = format!("lint violation found for rules: {count}");
        return Err(Failure::new(ErrorKind::InvalidArgument, words).into());
    }
    Ok(())
}

async fn receive(
    engine: &Engine,
    request: &BuildRequest,
    context: ContextSource,
    id: &str,
    teller: &Teller,
) -> Result<(context::Place, Vec<u8>, Vertex), BuildError> {
    let name = format!("[internal] load build definition from {}", request.dockerfile);
    let mut vertex = Vertex::new(id, VertexKind::Internal, name);
    vertex.started = Some(engine.shared.now());
    teller.vertex(&vertex).await?;
    let mut place = context::Place::new(&engine.shared)?;
    let received = place.receive(engine, context, request).await;
    vertex.error = received.as_ref().err().map(|failure| failure.message().to_owned());
    vertex.completed = Some(engine.shared.now());
    teller.vertex(&vertex).await?;
    Ok((place, received?, vertex))
}

/// Records the image and names it.
async fn export(
    build: &Arc<Build>,
    outcome: &Current,
    names: Vec<Reference>,
) -> Result<Digest, BuildError> {
    let mut vertex = Vertex::new(&build.id, VertexKind::Export, "exporting to image");
    build.start(&mut vertex).await?;
    let config_json = build.inscribed(outcome)?;
    let shared = build.engine.shared.clone();
    let id = crate::blocking(move || {
        let id = keep(&shared, config_json.as_bytes(), None, &names)?;
        for name in &names {
            image::event(&shared, "tag", &id, &name.familiar());
        }
        shared.builds.persist(&shared.layers)?;
        Ok(id)
    })
    .await?;
    build.attest(&id, outcome).await?;
    build.warn_of_unused(&vertex).await?;
    vertex.result = Some(id.clone());
    build.complete(&mut vertex).await?;
    Ok(id)
}

async fn persist(engine: &Engine) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || shared.builds.persist(&shared.layers)).await
}

/// What does not read, with its lines.
fn unreadable(
    error: ferry_dockerfile::ParseError,
    request: &BuildRequest,
    text: &[u8],
) -> BuildError {
    let line = match &error {
        ferry_dockerfile::ParseError::Line { line, .. } => Some(*line),
        _ => None,
    };
    let excerpt = line.map(|line| {
        Box::new(Excerpt::of(&request.dockerfile, &String::from_utf8_lossy(text), line, line))
    });
    BuildError { excerpt, ..BuildError::of(error) }
}

/// What cannot be planned, with its lines where they are known.
fn unplanned(error: ferry_build::BuildError, request: &BuildRequest, text: &str) -> BuildError {
    let excerpt = error.lines().filter(|(first, _)| *first > 0);
    let excerpt =
        excerpt.map(|(first, last)| Box::new(Excerpt::of(&request.dockerfile, text, first, last)));
    BuildError { excerpt, ..BuildError::of(error) }
}

fn platform(request: &BuildRequest) -> Result<Platform, Failure> {
    let Some(text) = &request.platform else { return Ok(Platform::host()) };
    text.parse::<Platform>()
        .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))
}

fn names(tags: &[String]) -> Result<Vec<Reference>, Failure> {
    let mut names: Vec<Reference> = Vec::new();
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        let name = Reference::parse(tag).map_err(image::bad_reference)?;
        if name.digest().is_some() {
            let words = "build tag cannot contain a digest";
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        let name = name.with_default_tag();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Docker's own frontend is what is spoken here; another one would be a program that is not here.
fn refuse_frontends(syntax: Option<&str>) -> Result<(), Failure> {
    let Some(syntax) = syntax else { return Ok(()) };
    let image = syntax.split_whitespace().next().unwrap_or_default();
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let (name, _) = image.split_once([':', '@']).unwrap_or((image, ""));
    if matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream") {
        return Ok(());
    }
    let words = format!("the frontend {syntax} is not supported: only docker/dockerfile is");
    Err(Failure::new(ErrorKind::NotImplemented, words)
        .with_hint("remove the line `# syntax=` or name docker/dockerfile:1 in it"))
}

fn platform_args(target: &Platform, request: &BuildRequest) -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &host)] {
        let variant = platform.variant.clone().unwrap_or_default();
        args.insert(format!("{prefix}PLATFORM"), platform.to_string());
        args.insert(format!("{prefix}OS"), platform.os.clone());
        args.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        args.insert(format!("{prefix}VARIANT"), variant);
    }
    let stage = if request.target.is_empty() { "default" } else { &request.target };
    args.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    // Whoever declares it knows it, also where no argument of the build says it.
    args.extend(request.epoch.map(|epoch| ("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string())));
    args
}

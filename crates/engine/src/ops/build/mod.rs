//! `build`: a Dockerfile and a context become an image, step by step, with what earlier builds have made.
//!
//! A step's key is the image it stands on, what it says, and digests of what it copies; its outcome is an image configuration. These
//! are kept in the `BuildCache`; only the last one of a build is recorded as an image.

mod cache;
mod context;
mod copy;
mod run;
mod stage;
mod tree;

use std::collections::BTreeMap;

use ferry_build::PlanRequest;
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::HostSettings;
use ferry_oci::{Digest, Platform, Reference};
use ferry_transfer::RegistryAuth;
use tokio::{io::AsyncRead, sync::mpsc};

use super::image::{self, PullProgress, keep::keep};
use crate::{Engine, bridge};

pub(crate) use cache::BuildCache;
pub(crate) use context::sweep_leftovers;

/// What `build` is asked for.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// What the image is to be called.
    pub tags: Vec<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, Option<String>>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// The stage to build; empty is the last.
    pub target: String,
    /// Do every step anew.
    pub no_cache: bool,
    /// Ask the registry for newer base images.
    pub pull: bool,
    /// Say nothing but the image's id.
    pub quiet: bool,
    /// `os/architecture`, when it is not this machine's.
    pub platform: Option<String>,
    /// Credentials by registry.
    pub auths: BTreeMap<String, RegistryAuth>,
    /// Limits, network and the like for `RUN`.
    pub host: HostSettings,
}

/// What a build says on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress {
    /// Text.
    Text(String),
    /// A base image on its way.
    Pull(PullProgress),
    /// The image's id.
    Image(String),
}

/// Why a build failed, and with which exit code if a process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildError {
    /// Why.
    pub failure: Failure,
    /// What `RUN` exited with; 0 for anything else.
    pub code: i32,
}

impl From<Failure> for BuildError {
    fn from(failure: Failure) -> Self {
        BuildError { failure, code: 0 }
    }
}

/// Where a build says things.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    progress: mpsc::Sender<BuildProgress>,
    quiet: bool,
}

impl Teller {
    /// Text, unless the build is quiet.
    async fn say(&self, text: String) -> Result<(), Failure> {
        if self.quiet {
            return Ok(());
        }
        self.send(BuildProgress::Text(text)).await
    }

    /// Nobody who listens any more wants the build, either.
    async fn send(&self, message: BuildProgress) -> Result<(), Failure> {
        let gone = |_| Failure::new(ErrorKind::Internal, "the client has left");
        self.progress.send(message).await.map_err(gone)
    }
}

/// Builds an image.
///
/// # Errors
/// In Docker's words: the Dockerfile does not read, a base image is not there, a step fails.
pub async fn build(
    engine: &Engine,
    request: BuildRequest,
    body: impl AsyncRead + Send + Unpin + 'static,
    progress: mpsc::Sender<BuildProgress>,
) -> Result<Digest, BuildError> {
    let reader = bridge::reader_of(body);
    let names = names(&request.tags)?;
    let shared = engine.shared.clone();
    let dockerfile = request.dockerfile.clone();
    let (place, text) = crate::blocking(move || {
        let place = context::Place::new(&shared)?;
        let text = place.receive(reader, &dockerfile)?;
        Ok((place, text))
    })
    .await?;
    let file = ferry_dockerfile::parse(&text).map_err(Failure::from)?;
    refuse_frontends(file.syntax.as_deref())?;
    let platform = match &request.platform {
        Some(text) => text
            .parse::<Platform>()
            .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?,
        None => Platform::host(),
    };
    let wanted = PlanRequest {
        build_args: request.build_args.clone(),
        target: request.target.clone(),
        platform_args: platform_args(&platform, &request.target),
    };
    let plan = ferry_build::plan(&file, &wanted).map_err(Failure::from)?;
    let teller = Teller { progress, quiet: request.quiet };
    let mut stages = stage::Stages::new(engine, &request, &plan, wanted, place, &teller);
    let config_json = stages.build().await?;
    let used = stages.unused_arguments();
    drop(stages);
    let shared = engine.shared.clone();
    let kept = names.clone();
    let id = crate::blocking(move || {
        let id = keep(&shared, config_json.as_bytes(), None, &kept)?;
        for name in &kept {
            image::event(&shared, "tag", &id, &name.familiar());
        }
        Ok(id)
    })
    .await?;
    if !used.is_empty() {
        teller
            .say(format!("[Warning] One or more build-args {used:?} were not consumed\n"))
            .await?;
    }
    teller.send(BuildProgress::Image(id.to_string())).await?;
    if request.quiet {
        teller.send(BuildProgress::Text(format!("{id}\n"))).await?;
    } else {
        teller.say(format!("Successfully built {}\n", short(&id.hex()))).await?;
        for name in &names {
            teller.say(format!("Successfully tagged {}\n", name.familiar())).await?;
        }
    }
    Ok(id)
}

/// Forgets all steps; answers their keys and the bytes that are free again.
///
/// # Errors
/// When the disk fails.
pub async fn prune(engine: &Engine) -> Result<(Vec<String>, u64), Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let gone = shared.builds.clear()?;
        Ok((gone, image::sweep_layers(&shared)))
    })
    .await
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

fn platform_args(target: &Platform, stage: &str) -> BTreeMap<String, String> {
    let host = Platform::host();
    let mut args = BTreeMap::new();
    for (prefix, platform) in [("TARGET", target), ("BUILD", &host)] {
        let variant = platform.variant.clone().unwrap_or_default();
        args.insert(format!("{prefix}PLATFORM"), platform.to_string());
        args.insert(format!("{prefix}OS"), platform.os.clone());
        args.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        args.insert(format!("{prefix}VARIANT"), variant);
    }
    let stage = if stage.is_empty() { "default" } else { stage };
    args.insert("TARGETSTAGE".to_owned(), stage.to_owned());
    args
}

/// The first twelve characters of an id.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

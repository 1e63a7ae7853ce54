//! What a build is asked for, and whom it can ask for more: its client.

use std::{collections::BTreeMap, fmt, os::fd::OwnedFd, pin::Pin, sync::Arc};

use ferry_archive::Times;
use ferry_errkind::{ErrorKind, Failure, Kinded};
use ferry_model::container::HostSettings;
use ferry_transfer::RegistryAuth;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Attest;

/// What `build` is asked for.
#[derive(Debug, Clone, Default)]
pub struct BuildRequest {
    /// What its client calls the build; empty where that has no name for it.
    pub reference: String,
    /// The Dockerfile's path in the context.
    pub dockerfile: String,
    /// The Dockerfile's text, where it is not in the context.
    pub dockerfile_text: Option<Vec<u8>>,
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
    /// Do the steps of these stages anew.
    pub no_cache_filter: Vec<String>,
    /// Ask the registry for newer base images.
    pub pull: bool,
    /// `os/architecture`, when it is not this machine's.
    pub platform: Option<String>,
    /// Several platforms at once, instead of that: what comes of it is an image for each.
    pub platforms: Vec<String>,
    /// Credentials by registry.
    pub auths: BTreeMap<String, RegistryAuth>,
    /// Limits, network and the like for `RUN`.
    pub host: HostSettings,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// What may be done that is not allowed without being asked for: `network.host`, `security.insecure`.
    pub entitlements: Vec<String>,
    /// `--cache-from`: images whose layers may stand for steps.
    pub cache_from: Vec<String>,
    /// Put the keys of the steps into the image, for `--cache-from`.
    pub inline_cache: bool,
    /// Record an image of all layers and keys under this name, for `--cache-from` elsewhere.
    pub cache_image: Option<String>,
    /// `SOURCE_DATE_EPOCH`: the time that everything is to have been made at, in seconds. No file of a layer is younger, those of contexts
    /// are as old, and every `RUN` is told.
    pub epoch: Option<i64>,
    /// Keep what a `RUN` that fails has written, as an image that somebody may look around in.
    pub keep_failed: bool,
    /// Say of every step that is done why it was not in the cache.
    pub explain: bool,
    /// What is to be said of the image.
    pub attest: Attest,
    /// Who can be asked for secrets and agents.
    pub client: Option<Arc<dyn BuildClient>>,
}

impl BuildRequest {
    /// The epoch that is asked for, or that a build argument names.
    pub(super) fn settle_epoch(&mut self) -> Result<(), Failure> {
        let given = self.build_args.get("SOURCE_DATE_EPOCH").and_then(Option::as_deref);
        if let (None, Some(text)) = (self.epoch, given.filter(|text| !text.is_empty())) {
            let words = || format!("invalid SOURCE_DATE_EPOCH: {text:?} is no number of seconds");
            let invalid = |_| Failure::new(ErrorKind::InvalidArgument, words());
            self.epoch = Some(text.parse().map_err(invalid)?);
        }
        Ok(())
    }

    /// The times that files get in layers.
    pub(super) fn times(&self) -> Times {
        self.epoch.map_or(Times::Own, Times::UpTo)
    }
}

/// Where the build context comes from.
pub enum ContextSource {
    /// A tar, compressed or not. No bytes are an empty context.
    Tar(Box<dyn AsyncRead + Send + Unpin>),
    /// A directory that is handed over open, read where it is: `.dockerignore` is respected, nothing is copied beforehand.
    Directory(OwnedFd),
    /// A directory that a client's files were received into, without those that are ignored.
    Received(OwnedFd),
    /// A git repository, or a tar or Dockerfile at a URL.
    Remote(String),
}

impl fmt::Debug for ContextSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ContextSource::Tar(_) => out.write_str("Tar"),
            ContextSource::Directory(fd) => write!(out, "Directory({fd:?})"),
            ContextSource::Received(fd) => write!(out, "Received({fd:?})"),
            ContextSource::Remote(url) => write!(out, "Remote({url:?})"),
        }
    }
}

/// What a name in `FROM`, `COPY --from` and `RUN --mount=from` means in this build.
#[derive(Debug, Clone)]
pub enum NamedContext {
    /// An image, `docker-image://`.
    Image(String),
    /// A directory that is handed over open.
    Directory(Arc<OwnedFd>),
    /// A git repository or a tar at a URL.
    Remote(String),
}

/// A future that a [`BuildClient`] answers.
pub type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A connection to an agent.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Who wants the build: has secrets and agents that steps may ask for.
pub trait BuildClient: fmt::Debug + Send + Sync {
    /// A secret's bytes; `None` where there is none of that id.
    fn secret(&self, id: &str) -> Asked<'_, Option<Vec<u8>>>;

    /// Whether there is an agent of that id; empty is `default`.
    fn has_agent(&self, id: &str) -> Asked<'_, bool>;

    /// A new connection to an agent.
    fn agent(&self, id: &str) -> Asked<'_, Box<dyn Connection>>;
}

/// Why a build failed, and with which exit code if a process did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildError {
    /// Why.
    #[serde(with = "words")]
    pub failure: Failure,
    /// What `RUN` exited with; 0 for anything else.
    pub code: i32,
    /// What it ran.
    pub command: Vec<String>,
    /// The image of what a step had written when it failed, if that was to be kept.
    pub kept: Option<String>,
    /// The lines of the Dockerfile that it is about.
    pub excerpt: Option<Box<Excerpt>>,
}

/// Lines of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// The file's name.
    pub file: String,
    /// Number of the first line at fault, from 1.
    pub first: usize,
    /// Number of the last.
    pub last: usize,
    /// Lines around them, with their numbers.
    pub lines: Vec<(usize, String)>,
}

impl Excerpt {
    /// Lines `first` to `last` of a file and four around them.
    pub(super) fn of(file: &str, text: &str, first: usize, last: usize) -> Excerpt {
        let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned()));
        let near =
            |(number, _): &(usize, String)| (first.saturating_sub(4)..=last + 4).contains(number);
        Excerpt { file: file.to_owned(), first, last, lines: numbered.filter(near).collect() }
    }
}

impl From<Failure> for BuildError {
    fn from(failure: Failure) -> Self {
        BuildError { failure, code: 0, command: Vec::new(), kept: None, excerpt: None }
    }
}

impl BuildError {
    /// As it is told outside of a build.
    pub(super) fn of<E: Kinded + std::error::Error>(error: E) -> BuildError {
        Failure::new(error.kind(), ferry_errkind::chain(&error)).into()
    }
}

/// What is remembered of a failure: its words.
mod words {
    use ferry_errkind::{ErrorKind, Failure};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(failure: &Failure, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(failure.message())
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Failure, D::Error> {
        Ok(Failure::new(ErrorKind::Internal, String::deserialize(from)?))
    }
}

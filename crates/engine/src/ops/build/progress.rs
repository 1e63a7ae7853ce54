//! What a build tells on its way: the vertices of its graph, and what they write. Faces make of it Docker's classic lines, BuildKit's
//! messages, or a picture in a terminal.
//!
//! A [`Vertex`] is told whenever something about it changes: when it is known, when it starts, when it is done. What was told last holds.

use bytes::Bytes;
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    super::image::PullProgress,
    history::{self, Shelf},
};
use crate::Engine;

/// What a build says on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildProgress {
    /// A vertex as it is now.
    Vertex(Vertex),
    /// What a process of a vertex wrote.
    Log(Log),
    /// How far something inside a vertex is: a layer on its way.
    Status(Status),
    /// What could be better in the Dockerfile, or was not used.
    Warning(Warning),
    /// The image's id.
    Image(String),
}

/// Something that is done: one instruction, or what the builder does by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vertex {
    /// Its identity within the build.
    pub digest: Digest,
    /// What it is called, as BuildKit calls it: `[build 2/4] RUN make`.
    pub name: String,
    /// What sort of thing it is.
    pub kind: VertexKind,
    /// What it stands on.
    pub inputs: Vec<Digest>,
    /// Which instruction of the whole build it is.
    pub step: Option<Step>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it was done, or failed.
    pub completed: Option<Timestamp>,
    /// Taken from the cache.
    pub cached: bool,
    /// Why it failed.
    pub error: Option<String>,
    /// The id of the image that it made.
    pub result: Option<Digest>,
    /// The container that it runs in.
    pub container: Option<String>,
    /// Why it was not taken from the cache, where that was asked for.
    #[serde(default)]
    pub why: Vec<String>,
}

/// What sort of thing a vertex is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VertexKind {
    /// What is read before anything is built: the Dockerfile, the context, names of images.
    Internal,
    /// `FROM`.
    Base,
    /// An instruction that makes a layer.
    Layer,
    /// An instruction that changes the configuration only. BuildKit shows none of these.
    Config,
    /// The result on its way out.
    Export,
}

/// An instruction's place among those that are to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its number, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// Its text.
    pub text: String,
    /// Triggers of the base image that follow a `FROM`.
    pub triggers: usize,
}

/// Output of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Whose.
    pub vertex: Digest,
    /// When.
    pub at: Timestamp,
    /// Its standard error, not its standard output.
    pub stderr: bool,
    /// What.
    pub bytes: Bytes,
}

/// How far something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// In which vertex.
    pub vertex: Digest,
    /// When.
    pub at: Timestamp,
    /// A layer or file, how many bytes of it are there.
    pub progress: PullProgress,
}

/// Something that is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The vertex that it is about, or that of the Dockerfile.
    pub vertex: Digest,
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where it is explained.
    pub url: String,
    /// The Dockerfile's name.
    pub file: String,
    /// First and last line, from 1.
    pub lines: Option<(usize, usize)>,
}

/// Where a build says things.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    progress: mpsc::Sender<BuildProgress>,
    /// Where it is taken down, too.
    shelf: Option<Shelf>,
}

impl Teller {
    pub(super) fn new(progress: mpsc::Sender<BuildProgress>) -> Self {
        Teller { progress, shelf: None }
    }

    /// One whose words are remembered.
    pub(super) fn recorded(progress: mpsc::Sender<BuildProgress>, shelf: Shelf) -> Self {
        Teller { progress, shelf: Some(shelf) }
    }

    /// Nobody who listens any more wants the build, either.
    pub(super) async fn send(&self, message: BuildProgress) -> Result<(), Failure> {
        if let Some(shelf) = &self.shelf {
            history::note(shelf, &message);
        }
        let gone = |_| Failure::new(ErrorKind::Internal, "the client has left");
        self.progress.send(message).await.map_err(gone)
    }

    /// Writes down what was told after the build's end, too.
    pub(super) fn save(&self, engine: &Engine) {
        if let Some(shelf) = &self.shelf {
            history::save(engine, shelf);
        }
    }

    pub(super) async fn vertex(&self, vertex: &Vertex) -> Result<(), Failure> {
        self.send(BuildProgress::Vertex(vertex.clone())).await
    }
}

impl Vertex {
    /// One that has not begun.
    pub(super) fn new(build: &str, kind: VertexKind, name: impl Into<String>) -> Vertex {
        let name = name.into();
        Vertex {
            digest: Digest::sha256_of(format!("{build} {kind:?} {name}").as_bytes()),
            name,
            kind,
            inputs: Vec::new(),
            step: None,
            started: None,
            completed: None,
            cached: false,
            error: None,
            result: None,
            container: None,
            why: Vec::new(),
        }
    }
}

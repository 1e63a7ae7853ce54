//! What is said of a build, as BuildKit says it.

use ferry_engine::ops::build::{BuildProgress, Log, Status, Vertex, VertexKind, Warning};
use ferry_errkind::Failure;
use ferry_oci::{Digest, Reference};

use super::error::words;
use crate::{
    builds::{Build, now},
    proto::{
        moby::buildkit::v1::{
            self as wire, StatusResponse, VertexLog, VertexStatus, VertexWarning,
        },
        pb::{Position, Range, SourceInfo},
    },
    status::stamp,
};

/// What clients of BuildKit see of the engine's messages.
#[derive(Debug, Clone)]
pub(super) struct Renderer {
    /// The names that the image gets; `None` when no image is to stay.
    pub(super) names: Option<Vec<String>>,
}

impl Renderer {
    /// What comes of a message of the engine: nothing, where BuildKit does not show it.
    pub(super) fn render(&self, message: BuildProgress) -> Vec<StatusResponse> {
        let mut messages = Vec::new();
        if let BuildProgress::Vertex(one) = &message {
            // Before its end: clients take nothing of a vertex that has ended.
            let statuses = self.exported(one);
            if self.names.is_some() && !statuses.is_empty() {
                messages.push(StatusResponse { statuses, ..StatusResponse::default() });
            }
        }
        messages.extend(self.shown(message));
        messages
    }

    fn shown(&self, message: BuildProgress) -> Option<StatusResponse> {
        let none = StatusResponse::default();
        Some(match message {
            BuildProgress::Vertex(one) => {
                let shown = match one.kind {
                    VertexKind::Config => false,
                    // What is fetched from the client has vertices of this face.
                    VertexKind::Internal => {
                        !one.name.starts_with("[internal] load build definition")
                    }
                    VertexKind::Export => self.names.is_some(),
                    VertexKind::Base | VertexKind::Layer => true,
                };
                if !shown {
                    return None;
                }
                StatusResponse { vertexes: vec![vertex(one)], ..none }
            }
            BuildProgress::Log(one) => StatusResponse { logs: vec![log(one)], ..none },
            BuildProgress::Status(one) => StatusResponse { statuses: vec![status(one)?], ..none },
            BuildProgress::Warning(one) => StatusResponse { warnings: vec![warning(one)], ..none },
            BuildProgress::Image(_) => return None,
        })
    }

    /// The image's id and names, in BuildKit's words.
    fn exported(&self, vertex: &Vertex) -> Vec<VertexStatus> {
        let (Some(id), Some(at)) = (&vertex.result, vertex.completed) else { return Vec::new() };
        if vertex.kind != VertexKind::Export {
            return Vec::new();
        }
        let names = self.names.iter().flatten().filter_map(|name| Reference::parse(name).ok());
        let names = names.map(|name| format!("naming to {}", name.with_default_tag().canonical()));
        let lines = std::iter::once(format!("writing image {id}")).chain(names);
        let status = |name: String| VertexStatus {
            id: name.clone(),
            vertex: vertex.digest.to_string(),
            name,
            timestamp: Some(stamp(at)),
            started: Some(stamp(at)),
            completed: Some(stamp(at)),
            ..VertexStatus::default()
        };
        lines.map(status).collect()
    }
}

fn vertex(vertex: Vertex) -> wire::Vertex {
    wire::Vertex {
        digest: vertex.digest.to_string(),
        inputs: vertex.inputs.iter().map(Digest::to_string).collect(),
        name: vertex.name,
        cached: vertex.cached,
        started: vertex.started.map(stamp),
        completed: vertex.completed.map(stamp),
        error: vertex.error.map(|error| words(&error)).unwrap_or_default(),
        progress_group: None,
    }
}

fn log(log: Log) -> VertexLog {
    VertexLog {
        vertex: log.vertex.to_string(),
        timestamp: Some(stamp(log.at)),
        stream: if log.stderr { 2 } else { 1 },
        msg: log.bytes.to_vec(),
    }
}

/// How far a layer is. What is said without one has no place in BuildKit's progress.
fn status(status: Status) -> Option<VertexStatus> {
    let id = status.progress.id?;
    let number = |bytes: Option<u64>| i64::try_from(bytes.unwrap_or_default()).unwrap_or(i64::MAX);
    let done = status.progress.status.ends_with("complete");
    Some(VertexStatus {
        name: format!("{id} {}", status.progress.status),
        id,
        vertex: status.vertex.to_string(),
        current: number(status.progress.current),
        total: number(status.progress.total),
        timestamp: Some(stamp(status.at)),
        started: Some(stamp(status.at)),
        completed: done.then(|| stamp(status.at)),
    })
}

fn warning(warning: Warning) -> VertexWarning {
    let line = |number: usize| {
        Some(Position { line: i32::try_from(number).unwrap_or(i32::MAX), character: 0 })
    };
    let ranges = warning.lines.map(|(first, last)| Range { start: line(first), end: line(last) });
    VertexWarning {
        vertex: warning.vertex.to_string(),
        level: 1,
        short: warning.short.into_bytes(),
        detail: warning.detail.into_iter().map(String::into_bytes).collect(),
        url: warning.url,
        info: Some(SourceInfo { filename: warning.file, ..SourceInfo::default() }),
        ranges: ranges.into_iter().collect(),
    }
}

/// A vertex of this face: what is fetched from the client or handed to it.
#[derive(Debug, Clone)]
pub(crate) struct Own(wire::Vertex);

impl Own {
    /// Begins one.
    pub(crate) fn begin(build: &Build, name: String) -> Own {
        let digest = Digest::sha256_of(format!("{} {name}", build.id()).as_bytes()).to_string();
        let started = Some(stamp(now()));
        let vertex = wire::Vertex { digest, name, started, ..wire::Vertex::default() };
        build.status.vertex(vertex.clone());
        Own(vertex)
    }

    /// Says how many bytes have come so far.
    pub(crate) fn transferring(&self, build: &Build, what: &str, bytes: u64) {
        self.say(build, what, bytes, false);
    }

    /// Says how many bytes came.
    pub(crate) fn transferred(&self, build: &Build, what: &str, bytes: u64) {
        self.say(build, what, bytes, true);
    }

    fn say(&self, build: &Build, what: &str, bytes: u64, done: bool) {
        let at = stamp(now());
        let status = VertexStatus {
            id: what.to_owned(),
            vertex: self.0.digest.clone(),
            name: what.to_owned(),
            current: i64::try_from(bytes).unwrap_or(i64::MAX),
            total: 0,
            timestamp: Some(at),
            started: self.0.started,
            completed: done.then_some(at),
        };
        build.status.say(StatusResponse { statuses: vec![status], ..StatusResponse::default() });
    }

    /// Ends it.
    pub(crate) fn end(&self, build: &Build, error: Option<&Failure>) {
        let error = error.map(|failure| failure.message().to_owned()).unwrap_or_default();
        build.status.vertex(wire::Vertex {
            completed: Some(stamp(now())),
            error,
            ..self.0.clone()
        });
    }
}

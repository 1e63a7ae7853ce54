//! `/build` as our own command line asks it: a question, then the context, or a directory that it has open.

use std::{collections::BTreeMap, sync::Arc};

use base64::Engine as _;
use ferry_docker_api::{
    JsonMessage,
    solve::{
        self, AskedContext, AskedProvenance, BuildAsk, Place, SolveStatus, SolveVertex, Verified,
        VertexLog, VertexStatus, VertexWarning,
    },
};
use ferry_engine::ops::build::{
    Asked, Attest, BuildClient, BuildError, BuildProgress, BuildRequest, Connection, ContextSource,
    Described, Excerpt, NamedContext, Provenance, Verdict, Vertex,
};
use ferry_errkind::{ErrorKind, Failure};
use rustix::fs::FileType;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{handed::take, refuse::invalid};

/// Longest question, in bytes: secrets are in it.
const MAX_ASK: u32 = 32 << 20;

/// Reads the question in front of a context.
pub(super) async fn read(body: &mut (impl AsyncRead + Unpin)) -> Result<BuildAsk, Failure> {
    let broken = |error: std::io::Error| invalid(format!("cannot read the question: {error}"));
    let length = body.read_u32_le().await.map_err(broken)?;
    if length > MAX_ASK {
        return Err(Failure::new(ErrorKind::TooLarge, "the question is too long"));
    }
    let mut text = vec![0; usize::try_from(length).unwrap_or_default()];
    body.read_exact(&mut text).await.map_err(broken)?;
    serde_json::from_slice(&text).map_err(|error| invalid(format!("invalid question: {error}")))
}

/// Puts what was asked into the request; answers where the context is, if it does not follow.
pub(super) fn apply(
    ask: &BuildAsk,
    wanted: &mut BuildRequest,
    peer: Option<i32>,
) -> Result<Option<ContextSource>, Failure> {
    let BuildAsk {
        dockerfile,
        directory,
        remote,
        contexts,
        secrets,
        agents,
        no_cache_filter,
        entitlements,
        cache_from,
        inline_cache,
        cache_image,
        epoch,
        keep_failed,
        explain,
        provenance,
        sbom,
        verify: _,
        call: _,
        result: _,
        layout: _,
    } = ask;
    wanted.dockerfile_text = dockerfile.as_deref().map(decoded).transpose()?;
    for (name, context) in contexts {
        let context = match context {
            AskedContext::Image(image) => NamedContext::Image(image.clone()),
            AskedContext::Remote(url) => NamedContext::Remote(url.clone()),
            AskedContext::Directory(handed) => {
                NamedContext::Directory(Arc::new(take(*handed, peer, FileType::Directory)?))
            }
        };
        wanted.contexts.insert(name.clone(), context);
    }
    let mut own = Own { secrets: BTreeMap::new(), agents: agents.clone(), peer };
    for (id, text) in secrets {
        own.secrets.insert(id.clone(), decoded(text)?);
    }
    wanted.client = Some(Arc::new(own));
    wanted.no_cache_filter.clone_from(no_cache_filter);
    wanted.entitlements.clone_from(entitlements);
    wanted.cache_from.clone_from(cache_from);
    wanted.inline_cache = *inline_cache;
    wanted.cache_image.clone_from(cache_image);
    wanted.epoch = *epoch;
    wanted.keep_failed = *keep_failed;
    wanted.explain = *explain;
    let said = |asked: AskedProvenance| Provenance { max: asked.max, v1: asked.v1 };
    wanted.attest = Attest { provenance: provenance.map(said), sbom: *sbom };
    Ok(match (directory, remote) {
        (Some(handed), _) => {
            Some(ContextSource::Directory(take(*handed, peer, FileType::Directory)?))
        }
        (None, Some(url)) => Some(ContextSource::Remote(url.clone())),
        (None, None) => None,
    })
}

fn decoded(text: &str) -> Result<Vec<u8>, Failure> {
    let engine = base64::engine::general_purpose::STANDARD;
    engine.decode(text).map_err(|error| invalid(format!("invalid base64: {error}")))
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// What the client said beforehand.
struct Own {
    secrets: BTreeMap<String, Vec<u8>>,
    agents: BTreeMap<String, String>,
    peer: Option<i32>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Own").field("agents", &self.agents).finish_non_exhaustive()
    }
}

impl BuildClient for Own {
    fn secret(&self, id: &str) -> Asked<'_, Option<Vec<u8>>> {
        let secret = self.secrets.get(id).cloned();
        Box::pin(async move { Ok(secret) })
    }

    fn has_agent(&self, id: &str) -> Asked<'_, bool> {
        let has = self.agents.contains_key(id);
        Box::pin(async move { Ok(has) })
    }

    fn agent(&self, id: &str) -> Asked<'_, Box<dyn Connection>> {
        // The path is one of the client's.
        let path = self.agents.get(id).zip(self.peer);
        let path = path.map(|(path, peer)| format!("/proc/{peer}/root{path}"));
        Box::pin(async move {
            let missing = |why: String| Failure::new(ErrorKind::NotFound, why);
            let path = path.ok_or_else(|| missing("there is no such agent".to_owned()))?;
            let stream = tokio::net::UnixStream::connect(&path).await;
            let stream = stream.map_err(|error| missing(format!("{path}: {error}")))?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        })
    }
}

/// An event as a message.
pub(super) fn message(event: BuildProgress) -> JsonMessage {
    let mut status = SolveStatus::default();
    match event {
        BuildProgress::Image(id) => {
            let aux = Some(serde_json::json!({ "ID": id }));
            JsonMessage { aux, ..JsonMessage::default() }
        }
        other => {
            add(&mut status, other);
            tagged(solve::STATUS_ID, &status)
        }
    }
}

/// Puts what was told into BuildKit's form; an image's id has no place there.
pub(super) fn add(status: &mut SolveStatus, event: BuildProgress) {
    match event {
        BuildProgress::Vertex(vertex) => status.vertexes.push(self::vertex(vertex)),
        BuildProgress::Log(log) => status.logs.push(VertexLog {
            vertex: log.vertex.to_string(),
            stream: if log.stderr { 2 } else { 1 },
            data: encoded(&log.bytes),
            timestamp: log.at.format_rfc3339_nano(),
        }),
        BuildProgress::Status(told) => {
            let at = told.at.format_rfc3339_nano();
            let progress = told.progress;
            let done = progress.current.is_none() && progress.id.is_some();
            status.statuses.push(VertexStatus {
                id: progress.id.unwrap_or(progress.status),
                vertex: told.vertex.to_string(),
                current: progress.current.unwrap_or_default(),
                total: progress.total.unwrap_or_default(),
                completed: done.then(|| at.clone()),
                timestamp: at,
            });
        }
        BuildProgress::Warning(warning) => status.warnings.push(VertexWarning {
            vertex: warning.vertex.to_string(),
            level: 1,
            short: encoded(&warning.short),
            detail: warning.detail.iter().map(encoded).collect(),
            url: warning.url,
            file: warning.file,
            lines: warning.lines,
        }),
        BuildProgress::Image(_) => {}
    }
}

/// A message of our own.
pub(super) fn tagged(id: &str, value: &impl serde::Serialize) -> JsonMessage {
    // Texts and numbers always have a JSON form.
    let aux = serde_json::to_value(value).ok();
    JsonMessage { id: id.to_owned(), aux, ..JsonMessage::default() }
}

fn vertex(vertex: Vertex) -> SolveVertex {
    SolveVertex {
        digest: vertex.digest.to_string(),
        inputs: vertex.inputs.iter().map(ToString::to_string).collect(),
        name: vertex.name,
        started: vertex.started.map(|at| at.format_rfc3339_nano()),
        completed: vertex.completed.map(|at| at.format_rfc3339_nano()),
        cached: vertex.cached,
        error: vertex.error.unwrap_or_default(),
        why: vertex.why,
    }
}

/// Where the error is.
pub(super) fn place(error: &BuildError) -> Option<JsonMessage> {
    Some(tagged(solve::PLACE_ID, &excerpt(error.excerpt.as_ref()?)))
}

/// Lines of a Dockerfile.
pub(super) fn excerpt(excerpt: &Excerpt) -> Place {
    let Excerpt { file, first, last, lines } = excerpt;
    Place { file: file.clone(), first: *first, last: *last, lines: lines.clone() }
}

/// What `--verify` found.
pub(super) fn verified(verdict: Verdict) -> JsonMessage {
    let Verdict { image, built, difference, times } = verdict;
    let (image, built) = (image.to_string(), built.to_string());
    tagged(solve::VERIFIED_ID, &Verified { image, built, difference, times })
}

/// What `--call` asked for.
pub(super) fn described(described: &Described) -> JsonMessage {
    let Described { findings, outline, text } = described;
    let findings: Vec<_> = findings
        .iter()
        .map(|finding| {
            serde_json::json!({
                "rule": finding.rule,
                "description": finding.description,
                "url": finding.url(),
                "message": finding.message,
                "line": finding.line,
            })
        })
        .collect();
    let args: Vec<_> = outline
        .args
        .iter()
        .map(|arg| serde_json::json!({"name": arg.name, "value": arg.value, "description": arg.description}))
        .collect();
    let targets: Vec<_> = outline
        .targets
        .iter()
        .map(|one| {
            serde_json::json!({
                "name": one.name,
                "default": one.default,
                "description": one.description,
                "base": one.base,
            })
        })
        .collect();
    let value = serde_json::json!({
        "findings": findings,
        "target": outline.target,
        "description": outline.description,
        "args": args,
        "secrets": outline.secrets,
        "ssh": outline.ssh,
        "targets": targets,
        "text": text,
    });
    tagged(solve::CALL_ID, &value)
}

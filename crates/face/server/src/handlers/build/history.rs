//! Beyond Docker: the builds that are remembered. Docker's clients ask BuildKit's gRPC for them.

use ferry_docker_api::{
    build_history::{BuildHistory, BuildLine},
    solve::SolveStatus,
};
use ferry_engine::ops::build::{
    self as ops, BuildError, BuildProgress, BuildRecord, Ending, Vertex, VertexKind,
};
use ferry_errkind::Failure;

use super::direct;
use crate::{
    reply::{self, Reply},
    request::Request,
};

pub(crate) async fn list(request: Request) -> Result<Reply, Failure> {
    let lines: Vec<BuildLine> = ops::histories(&request.engine).iter().map(line).collect();
    reply::json(&lines)
}

pub(crate) async fn one(request: Request) -> Result<Reply, Failure> {
    let record = ops::history(&request.engine, request.name()).await?;
    let mut status = SolveStatus::default();
    let line = line(&record);
    let place = record.excerpt().map(direct::excerpt);
    let BuildRecord { vertices, warnings, logs, cut, .. } = record;
    let events = vertices.into_iter().map(BuildProgress::Vertex);
    let events = events.chain(warnings.into_iter().map(BuildProgress::Warning));
    let written = logs.head.into_iter().chain(logs.tail).map(BuildProgress::Log);
    for event in events.chain(written) {
        direct::add(&mut status, event);
    }
    reply::json(&BuildHistory { line, status, place, cut })
}

fn line(record: &BuildRecord) -> BuildLine {
    let (state, error) = match &record.ending {
        Ending::Running => ("running", ""),
        Ending::Done => ("done", ""),
        Ending::Failed(BuildError { failure, .. }) => ("failed", failure.message()),
        Ending::Cancelled => ("cancelled", ""),
    };
    let is_step = |vertex: &&Vertex| matches!(vertex.kind, VertexKind::Base | VertexKind::Layer);
    let steps = || record.vertices.iter().filter(is_step);
    BuildLine {
        id: record.id.clone(),
        tags: record.tags.clone(),
        dockerfile: record.dockerfile.clone(),
        target: record.target.clone(),
        state: state.to_owned(),
        error: error.to_owned(),
        started: record.started.format_rfc3339_nano(),
        ended: record.ended.map(|ended| ended.format_rfc3339_nano()),
        image: record.image.clone(),
        steps: steps().count(),
        cached: steps().filter(|vertex| vertex.cached).count(),
        completed: steps()
            .filter(|vertex| vertex.completed.is_some() && vertex.error.is_none())
            .count(),
        warnings: record.warnings.len(),
    }
}

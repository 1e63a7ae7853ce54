//! `/volumes`.

use bytes::Bytes;
use ferry_docker_api::{VolumeCreateRequest, VolumeList, VolumePruneReport, VolumeSnapshot};
use ferry_engine::ops::volume as ops;
use ferry_errkind::Failure;

use crate::{
    body::Body,
    convert,
    read_body::BodyReader,
    reply::{self, Reply},
    request::Request,
};

pub(crate) async fn list(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&["dangling", "driver", "label", "name"])?;
    let volumes = ops::list(&request.engine, &filters.0).await?;
    let volumes = volumes.into_iter().map(convert::volume::to_wire).collect();
    reply::json(&VolumeList { volumes: Some(volumes), warnings: None })
}

pub(crate) async fn inspect(request: Request) -> Result<Reply, Failure> {
    let volume = ops::inspect(&request.engine, request.name()).await?;
    reply::json(&convert::volume::to_wire(volume))
}

pub(crate) async fn create(mut request: Request) -> Result<Reply, Failure> {
    let wire: VolumeCreateRequest = request.json().await?;
    let volume = ops::create(&request.engine, convert::volume::create(wire)?).await?;
    reply::created(&convert::volume::to_wire(volume))
}

pub(crate) async fn remove(request: Request) -> Result<Reply, Failure> {
    ops::remove(&request.engine, request.name(), request.query.flag("force")).await?;
    Ok(reply::no_content())
}

pub(crate) async fn prune(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&["all", "label", "label!"])?;
    let pruned = ops::prune(&request.engine, &filters.0).await?;
    reply::json(&VolumePruneReport {
        volumes_deleted: Some(pruned.deleted),
        space_reclaimed: pruned.reclaimed,
    })
}

// Beyond Docker.

/// A tar that is cut off must not look whole: the connection breaks.
const BROKEN: crate::body::RenderFailure = |_| None::<Bytes>;

pub(crate) async fn clone(request: Request) -> Result<Reply, Failure> {
    let volume = ops::clone(&request.engine, request.name(), request.query.get("name")).await?;
    reply::created(&convert::volume::to_wire(volume))
}

pub(crate) async fn rename(request: Request) -> Result<Reply, Failure> {
    ops::rename(&request.engine, request.name(), request.query.get("name")).await?;
    Ok(reply::no_content())
}

pub(crate) async fn snapshot(request: Request) -> Result<Reply, Failure> {
    let name = request.query.get("name");
    let snapshot = ops::snapshot(&request.engine, request.name(), name).await?;
    reply::created(&convert::volume::snapshot(snapshot))
}

pub(crate) async fn snapshots(request: Request) -> Result<Reply, Failure> {
    let snapshots = ops::snapshots(&request.engine, request.name()).await?;
    let snapshots: Vec<VolumeSnapshot> =
        snapshots.into_iter().map(convert::volume::snapshot).collect();
    reply::json(&snapshots)
}

pub(crate) async fn remove_snapshot(request: Request) -> Result<Reply, Failure> {
    let name = request.query.get("name");
    ops::remove_snapshot(&request.engine, request.name(), name).await?;
    Ok(reply::no_content())
}

pub(crate) async fn restore(request: Request) -> Result<Reply, Failure> {
    ops::restore(&request.engine, request.name(), request.query.get("name")).await?;
    Ok(reply::no_content())
}

pub(crate) async fn export(request: Request) -> Result<Reply, Failure> {
    let named = |field: &str| Some(request.query.get(field)).filter(|name| !name.is_empty());
    let (snapshot, root) = (named("snapshot"), named("root"));
    let pieces = ops::export(&request.engine, request.name(), snapshot, root).await?;
    Ok(reply::content("application/x-tar", Body::Fallible(pieces, BROKEN)))
}

pub(crate) async fn import(request: Request) -> Result<Reply, Failure> {
    let name = request.name().to_owned();
    let labels = std::collections::BTreeMap::new();
    let volume = ops::import(&request.engine, &name, labels, BodyReader::new(request.body)).await?;
    reply::created(&convert::volume::to_wire(volume))
}

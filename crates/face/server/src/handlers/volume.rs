//! `/volumes`.

use ferry_docker_api::{VolumeCreateRequest, VolumeList, VolumePruneReport};
use ferry_engine::ops::volume as ops;
use ferry_errkind::Failure;

use crate::{
    convert,
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

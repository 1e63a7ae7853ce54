//! `/networks`.

use ferry_docker_api::{
    NetworkConnectRequest, NetworkCreateRequest, NetworkCreated, NetworkDisconnectRequest,
    NetworkPruneReport,
};
use ferry_engine::ops::network as ops;
use ferry_errkind::Failure;
use http::StatusCode;

use super::container::convert_deleted;
use crate::{
    convert,
    reply::{self, Reply},
    request::Request,
};

pub(crate) async fn list(request: Request) -> Result<Reply, Failure> {
    let accepted = ["dangling", "driver", "id", "label", "name", "scope", "type"];
    let filters = request.query.filters(&accepted)?;
    let views = ops::list(&request.engine, &filters.0).await?;
    // dockerd tells containers only in inspect.
    let to_wire = |view| convert::network::to_wire(view, false);
    reply::json(&views.into_iter().map(to_wire).collect::<Vec<_>>())
}

pub(crate) async fn inspect(request: Request) -> Result<Reply, Failure> {
    let view = ops::inspect(&request.engine, request.name()).await?;
    reply::json(&convert::network::to_wire(view, true))
}

pub(crate) async fn create(mut request: Request) -> Result<Reply, Failure> {
    let wire: NetworkCreateRequest = request.json().await?;
    let create = convert::network::create(wire)?;
    let (id, warnings) = ops::create(&request.engine, create).await?;
    reply::created(&NetworkCreated { id, warning: warnings.join("\n") })
}

pub(crate) async fn remove(request: Request) -> Result<Reply, Failure> {
    ops::remove(&request.engine, request.name()).await?;
    Ok(reply::no_content())
}

pub(crate) async fn connect(mut request: Request) -> Result<Reply, Failure> {
    let NetworkConnectRequest { container, endpoint_config } = request.json().await?;
    let endpoint = convert::endpoint::request(endpoint_config.unwrap_or_default())?;
    ops::connect(&request.engine, request.name(), &container, endpoint).await?;
    Ok(reply::status(StatusCode::OK))
}

pub(crate) async fn disconnect(mut request: Request) -> Result<Reply, Failure> {
    let NetworkDisconnectRequest { container, force } = request.json().await?;
    ops::disconnect(&request.engine, request.name(), &container, force).await?;
    Ok(reply::status(StatusCode::OK))
}

pub(crate) async fn prune(request: Request) -> Result<Reply, Failure> {
    let filters = request.query.filters(&["label", "label!", "until"])?;
    let pruned = ops::prune(&request.engine, &filters.0).await?;
    reply::json(&NetworkPruneReport { networks_deleted: convert_deleted(pruned.deleted) })
}

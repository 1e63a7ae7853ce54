//! `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use std::collections::BTreeMap;

use bytes::Bytes;
use ferry_docker_api::{AuthConfig, AuthResponse, DiskUsage};
use ferry_engine::ops;
use ferry_errkind::Failure;
use ferry_model::{container::ListContainers, image::ListImages};
use http::{HeaderName, HeaderValue, header};

use super::now;
use crate::{
    body::Body,
    convert,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// Answers whatever the engine does. There is no `Builder-Version` until there is a builder.
pub(crate) async fn ping(_: Request) -> Result<Reply, Failure> {
    let body = Body::Full(Some(Bytes::from_static(b"OK")));
    let mut reply = reply::content("text/plain; charset=utf-8", body);
    let headers = reply.headers_mut();
    let no_cache = HeaderValue::from_static("no-cache, no-store, must-revalidate");
    headers.insert(header::CACHE_CONTROL, no_cache);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("swarm"), HeaderValue::from_static("inactive"));
    Ok(reply)
}

pub(crate) async fn version(request: Request) -> Result<Reply, Failure> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    reply::json(&convert::system::version(&request.product, kernel))
}

pub(crate) async fn info(request: Request) -> Result<Reply, Failure> {
    let info = ops::system::info(&request.engine).await?;
    reply::json(&convert::system::info(info, &request.product, now()))
}

pub(crate) async fn auth(mut request: Request) -> Result<Reply, Failure> {
    let config: AuthConfig = request.required_json().await?;
    let outcome = ops::system::auth(&request.engine, convert::auth::registry(config)).await?;
    reply::json(&AuthResponse { identity_token: outcome.identity_token, status: outcome.status })
}

/// What is asked for by `type`, or all.
pub(crate) async fn disk_usage(request: Request) -> Result<Reply, Failure> {
    let kinds = request.query.all("type");
    let known = ["container", "image", "volume", "build-cache"];
    if let Some(other) = kinds.iter().find(|kind| !known.contains(&kind.as_str())) {
        return Err(invalid(format!("unknown object type: {other}")));
    }
    let wants = |kind: &str| kinds.is_empty() || kinds.iter().any(|wanted| wanted == kind);
    let engine = &request.engine;
    let mut usage = DiskUsage::default();
    if wants("image") {
        let all = ListImages { all: true, shared_size: true, filters: BTreeMap::new() };
        let images: Vec<_> =
            ops::image::list(engine, all).await?.into_iter().map(convert::image::summary).collect();
        usage.layers_size = images.iter().map(|image| image.size).sum();
        usage.images = Some(images);
    }
    if wants("container") {
        let all = ListContainers { all: true, size: true, ..ListContainers::default() };
        let views = ops::container::list(engine, all).await?;
        let now = now();
        let lines = views.iter().map(|view| convert::container::summary(view, now)).collect();
        usage.containers = Some(lines);
    }
    if wants("volume") {
        let volumes = ops::volume::list(engine, &BTreeMap::new()).await?;
        usage.volumes = Some(volumes.into_iter().map(convert::volume::to_wire).collect());
    }
    if wants("build-cache") {
        usage.build_cache = Some(Vec::new());
    }
    reply::json(&usage)
}

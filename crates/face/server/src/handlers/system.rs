//! `/_ping`, `/version`, `/info`, `/auth`, `/system/df`.

use bytes::Bytes;
use ferry_docker_api::{AuthConfig, AuthResponse, DiskUsage};
use ferry_engine::ops::{
    self,
    disk::{Usage, Wanted},
};
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderName, HeaderValue, header};

use super::now;
use crate::{
    body::Body,
    convert,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// Answers whatever the engine does. The builder is of version 2: clients may speak BuildKit's protocol.
pub(crate) async fn ping(_: Request) -> Result<Reply, Failure> {
    ping_with(b"OK")
}

/// `HEAD /_ping`, which says that it would answer nothing.
pub(crate) async fn ping_head(_: Request) -> Result<Reply, Failure> {
    ping_with(b"")
}

fn ping_with(body: &'static [u8]) -> Result<Reply, Failure> {
    let body = Body::Full(Some(Bytes::from_static(body)));
    let mut reply = reply::content("text/plain; charset=utf-8", body);
    let headers = reply.headers_mut();
    let no_cache = HeaderValue::from_static("no-cache, no-store, must-revalidate");
    headers.insert(header::CACHE_CONTROL, no_cache);
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("builder-version"), HeaderValue::from_static("2"));
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
    let wanted = Wanted {
        images: wants("image"),
        containers: wants("container"),
        volumes: wants("volume"),
        builds: wants("build-cache"),
    };
    let Usage { layers, images, containers, volumes, builds } =
        ops::disk::usage(&request.engine, wanted).await?;
    let now = now();
    let usage = DiskUsage {
        layers_size: i64::try_from(layers).unwrap_or(i64::MAX),
        images: images.map(|all| all.into_iter().map(convert::image::summary).collect()),
        containers: containers
            .map(|all| all.iter().map(|view| convert::container::summary(view, now)).collect()),
        volumes: volumes.map(|all| all.into_iter().map(convert::volume::with_usage).collect()),
        build_cache: builds.map(|all| all.into_iter().map(convert::system::cache_record).collect()),
        ..DiskUsage::default()
    };
    reply::json(&usage)
}

/// There are no plugins, which is what clients ask before they look for one by a name that is something else.
pub(crate) async fn plugins(_: Request) -> Result<Reply, Failure> {
    reply::json(&[(); 0])
}

pub(crate) async fn plugin(request: Request) -> Result<Reply, Failure> {
    let name = request.name();
    Err(Failure::new(ErrorKind::NotFound, format!("plugin \"{name}\" not found")))
}

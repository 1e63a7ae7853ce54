//! `/served/…`, beyond Docker: what is here, for a process that serves it as a registry (`ferry registry serve --from-engine`) or
//! copies it (`ferry image cp`).

use bytes::Bytes;
use ferry_engine::ops::image as ops;
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::Digest;
use http::{HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::{
    body::Body,
    refuse::invalid,
    reply::{self, Reply},
    request::Request,
};

/// A manifest's digest, as registries tell it.
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Repositories with their tags.
pub(crate) async fn repositories(request: Request) -> Result<Reply, Failure> {
    reply::json(&ops::served(&request.engine))
}

/// A manifest by its tag or digest.
pub(crate) async fn manifest(request: Request) -> Result<Reply, Failure> {
    let (repository, wanted) = (request.query.get("repository"), request.query.get("reference"));
    let found = ops::served_manifest(&request.engine, repository, wanted).await?;
    let mut reply = reply::content(found.media_type, Body::Full(Some(found.json.into())));
    reply.headers_mut().insert(DIGEST, value(&found.digest)?);
    Ok(reply)
}

/// Layers, by the digests of their tars.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Layers {
    #[serde(rename = "Layers", default)]
    layers: Vec<Digest>,
}

/// Which of some layers are here.
pub(crate) async fn layers(mut request: Request) -> Result<Reply, Failure> {
    let Layers { layers } = request.json().await?;
    reply::json(&Layers { layers: ops::served_layers(&request.engine, layers) })
}

/// A blob, from a byte on. Its whole size is in the answer's head.
pub(crate) async fn blob(request: Request) -> Result<Reply, Failure> {
    let query = &request.query;
    let digest: Digest = query.get("digest").parse().map_err(|_| invalid("digest is none"))?;
    let from = u64::try_from(query.integer("from")?.unwrap_or_default())
        .map_err(|_| invalid("from is negative"))?;
    let found = ops::served_blob(&request.engine, query.get("repository"), &digest, from).await?;
    let broken: crate::body::RenderFailure = |_| None::<Bytes>;
    let body = Body::Fallible(found.pieces, broken);
    let mut reply = reply::content("application/octet-stream", body);
    reply.headers_mut().insert(HeaderName::from_static("x-size"), value(&found.size)?);
    reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(reply)
}

fn value(of: &impl ToString) -> Result<HeaderValue, Failure> {
    HeaderValue::try_from(of.to_string())
        .map_err(|error| Failure::new(ErrorKind::Internal, error.to_string()))
}

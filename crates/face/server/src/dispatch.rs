//! From an HTTP request to a handler and back.

use std::{convert::Infallible, sync::Arc};

use ferry_buildkit::BuildKit;
use ferry_docker_api::ApiVersion;
use ferry_engine::Engine;
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderName, HeaderValue, StatusCode, header};
use hyper::body::Incoming;

use crate::{
    convert::container::Defaults,
    query::Query,
    reply::{self, Reply},
    request::{Peer, Request},
    request_body::RequestBody,
    table::{self, Endpoint, Serve},
    versions::Changes,
};

/// What the daemon says it is.
#[derive(Debug, Clone)]
pub struct Product {
    /// Version of Ferry.
    pub version: String,
    /// Version control id of the build; may be empty.
    pub git_commit: String,
    /// RFC 3339; may be empty.
    pub build_time: String,
}

/// What every connection shares.
pub(crate) struct State {
    engine: Engine,
    buildkit: BuildKit,
    product: Arc<Product>,
    defaults: Arc<Defaults>,
    server: HeaderValue,
}

impl State {
    pub(crate) fn new(engine: Engine, buildkit: BuildKit, product: Product) -> Self {
        let defaults = Arc::new(Defaults::of(engine.config()));
        let server = format!("Ferry/{} (linux)", product.version);
        let server = HeaderValue::from_str(&server)
            .unwrap_or_else(|_| HeaderValue::from_static("Ferry (linux)"));
        State { engine, buildkit, product: Arc::new(product), defaults, server }
    }
}

/// Answers one request. There is always an answer.
pub(crate) async fn answer(
    state: Arc<State>,
    peer: Option<Peer>,
    request: http::Request<Incoming>,
) -> Result<Reply, Infallible> {
    let line = format!("{} {}", request.method(), request.uri().path());
    let mut reply = match dispatch(&state, peer, request).await {
        Ok(reply) => reply,
        Err(refusal) => refusal.into_reply(&line),
    };
    if reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        tracing::debug!(status = reply.status().as_u16(), "{line}");
    }
    let headers = reply.headers_mut();
    headers.insert(header::SERVER, state.server.clone());
    headers.insert(HeaderName::from_static("api-version"), API_VERSION);
    headers
        .insert(HeaderName::from_static("docker-experimental"), HeaderValue::from_static("false"));
    headers.insert(HeaderName::from_static("ostype"), HeaderValue::from_static("linux"));
    Ok(reply)
}

/// [`ApiVersion::MAX`]; a test holds the two together.
const API_VERSION: HeaderValue = HeaderValue::from_static("1.51");

/// Why there is no answer of a handler.
enum Refusal {
    Failure(Failure),
    /// Clients before 1.24 do not read JSON errors.
    PlainText(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Failure(failure)
    }
}

impl Refusal {
    fn into_reply(self, line: &str) -> Reply {
        match self {
            Refusal::PlainText(words) => {
                let body = crate::body::Body::Full(Some(format!("{words}\n").into()));
                let mut reply = reply::content("text/plain; charset=utf-8", body);
                *reply.status_mut() = StatusCode::BAD_REQUEST;
                reply
            }
            Refusal::Failure(failure) => {
                if failure.kind() == ErrorKind::Internal {
                    tracing::error!("{line}: {}", failure.message());
                } else {
                    tracing::debug!("{line}: {}", failure.message());
                }
                reply::failure(&failure)
            }
        }
    }
}

async fn dispatch(
    state: &Arc<State>,
    peer: Option<Peer>,
    mut request: http::Request<Incoming>,
) -> Result<Reply, Refusal> {
    let upgrade =
        request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let body = RequestBody::hear(body, &parts.headers).await?;
    let (version, path) = table::split_version(parts.uri.path());
    let not_found = || Failure::new(ErrorKind::NotFound, "page not found");
    let (endpoint, params) = table::find(&parts.method, path).ok_or_else(not_found)?;
    let version = version.map_or(Ok(ApiVersion::MAX), check_version)?;
    let Serve::Here(handler) = endpoint.serve else { return Err(unserved(endpoint).into()) };
    let changes = Changes::since(version, endpoint);
    let mut query = Query::parse(parts.uri.query());
    changes.upgrade_query(&mut query);
    let request = Request {
        engine: state.engine.clone(),
        buildkit: state.buildkit.clone(),
        product: Arc::clone(&state.product),
        defaults: Arc::clone(&state.defaults),
        query,
        headers: parts.headers,
        params,
        upgrade,
        body,
        changes: changes.clone(),
        peer,
    };
    let mut reply = handler(request).await?;
    changes.downgrade(&mut reply);
    Ok(reply)
}

fn check_version(text: &str) -> Result<ApiVersion, Refusal> {
    let invalid = |_| Failure::new(ErrorKind::NotFound, "page not found");
    let version: ApiVersion = text.parse().map_err(invalid)?;
    let (min, max) = (ApiVersion::MIN, ApiVersion::MAX);
    if version > max {
        let words =
            format!("client version {text} is too new. Maximum supported API version is {max}");
        return Err(Failure::new(ErrorKind::InvalidArgument, words).into());
    }
    if version < min {
        return Err(Refusal::PlainText(format!(
            "client version {text} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version"
        )));
    }
    Ok(version)
}

fn unserved(endpoint: &Endpoint) -> Failure {
    match endpoint.serve {
        Serve::NotASwarm if endpoint.path == "/swarm/leave" => {
            Failure::new(ErrorKind::Unavailable, "This node is not part of a swarm")
        }
        Serve::NotASwarm => Failure::new(
            ErrorKind::Unavailable,
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.",
        ),
        Serve::NotYet | Serve::Here(_) => {
            let words = format!("Ferry does not serve {} {} yet", endpoint.method, endpoint.path);
            Failure::new(ErrorKind::NotImplemented, words)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> String {
        match check_version(text) {
            Ok(version) => format!("speaks {version}"),
            Err(Refusal::Failure(failure)) => failure.message().to_owned(),
            Err(Refusal::PlainText(words)) => words,
        }
    }

    #[test]
    fn versions_are_refused_in_dockers_words() {
        assert_eq!(API_VERSION.to_str().ok(), Some(ApiVersion::MAX.to_string().as_str()));
        assert_eq!(words("1.24"), "speaks 1.24");
        assert_eq!(words("1.51"), "speaks 1.51");
        assert_eq!(
            words("1.99"),
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            words("1.12"),
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert_eq!(words("1.2.3"), "page not found");
    }

    #[test]
    fn what_is_not_served_is_named() {
        for endpoint in table::endpoints().iter().filter(|endpoint| !endpoint.is_served()) {
            let failure = unserved(endpoint);
            let named = failure.message().contains(endpoint.path);
            assert!(named || failure.kind() == ErrorKind::Unavailable, "{endpoint:?}");
        }
    }
}

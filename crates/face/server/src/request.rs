//! A request on its way to a handler: endpoint found, version checked, query read, body not yet.

use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use ferry_buildkit::BuildKit;
use ferry_docker_api::AuthConfig;
use ferry_engine::Engine;
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::upgrade::OnUpgrade;
use serde::de::DeserializeOwned;

use crate::{
    convert::container::Defaults, dispatch::Product, query::Query, request_body::RequestBody,
    versions::Changes,
};

/// JSON bodies are small; the largest honest ones carry a seccomp profile or many environment variables.
const JSON_LIMIT: usize = 16 << 20;

/// What a handler gets. It always looks as if the client spoke the newest version.
pub(crate) struct Request {
    /// The engine.
    pub(crate) engine: Engine,
    /// Builds by BuildKit's protocol.
    pub(crate) buildkit: BuildKit,
    /// What the daemon says it is.
    pub(crate) product: Arc<Product>,
    /// What containers get that say nothing.
    pub(crate) defaults: Arc<Defaults>,
    /// The query.
    pub(crate) query: Query,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The path's parameters, decoded.
    pub(crate) params: Vec<String>,
    /// How the connection becomes the handler's own, when the client asked for it.
    pub(crate) upgrade: Option<OnUpgrade>,
    /// The body.
    pub(crate) body: RequestBody,
    /// What is different for an older client.
    pub(crate) changes: Changes,
    /// The process at the other end, if it is one of this machine.
    pub(crate) peer: Option<Peer>,
}

/// A process that has connected to a socket of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its id, where the daemon's PID namespace has one.
    pub(crate) pid: Option<i32>,
    /// The user that it was when it connected.
    pub(crate) user: u32,
    /// That user's group.
    pub(crate) group: u32,
}

impl Request {
    /// The path's first parameter: the id or name that the endpoint is about.
    pub(crate) fn name(&self) -> &str {
        self.params.first().map_or("", String::as_str)
    }

    /// Reads the body as JSON. Docker's rules: an absent body reads as all defaults, anything else must be
    /// `application/json` and exactly one value.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, Failure> {
        if hyper::body::Body::is_end_stream(&self.body)
            && !self.headers.contains_key(header::CONTENT_TYPE)
        {
            return self.parse(b"{}");
        }
        check_content_type(&self.headers)?;
        if hyper::body::Body::is_end_stream(&self.body) {
            return self.parse(b"{}");
        }
        let bytes = self.whole_body().await?;
        if bytes.trim_ascii().is_empty() {
            return Err(invalid("invalid JSON: got EOF while reading request body"));
        }
        self.parse(&bytes)
    }

    /// As [`Request::json`], for endpoints that need a body.
    pub(crate) async fn required_json<T: DeserializeOwned + Default>(
        &mut self,
    ) -> Result<T, Failure> {
        if hyper::body::Body::is_end_stream(&self.body) {
            check_content_type(&self.headers)?;
            return Err(invalid("invalid JSON: got EOF while reading request body"));
        }
        self.json().await
    }

    /// The `X-Registry-Auth` header. One that does not read counts as none, as in Docker.
    pub(crate) fn registry_auth(&self) -> Option<AuthConfig> {
        let text = self.headers.get("x-registry-auth")?.to_str().ok()?.trim_end_matches('=');
        let urlsafe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let standard = base64::engine::general_purpose::STANDARD_NO_PAD;
        let bytes = urlsafe.decode(text).or_else(|_| standard.decode(text)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    async fn whole_body(&mut self) -> Result<Bytes, Failure> {
        match Limited::new(&mut self.body, JSON_LIMIT).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => {
                let words = format!("request body is larger than {} MiB", JSON_LIMIT >> 20);
                Err(Failure::new(ErrorKind::TooLarge, words))
            }
            Err(error) => Err(invalid(&format!("cannot read the request body: {error}"))),
        }
    }

    fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failure> {
        let changed = self.changes.upgrade_body(bytes)?;
        let mut reader = serde_json::Deserializer::from_slice(changed.as_deref().unwrap_or(bytes));
        let value = T::deserialize(&mut reader).map_err(|error| invalid_json(&error))?;
        reader.end().map_err(|_| invalid("unexpected content after JSON"))?;
        Ok(value)
    }
}

fn check_content_type(headers: &HeaderMap) -> Result<(), Failure> {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let text = text.unwrap_or_default();
    let kind = text.split(';').next().unwrap_or_default().trim();
    if kind.is_empty() {
        return Err(invalid("malformed Content-Type header (): mime: no media type"));
    }
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(invalid(&format!(
            "unsupported Content-Type header ({text}): must be 'application/json'"
        )));
    }
    Ok(())
}

/// Go's words where there are any; serde's tell the place, too.
pub(crate) fn invalid_json(error: &serde_json::Error) -> Failure {
    if error.is_eof() {
        return invalid("invalid JSON: unexpected EOF");
    }
    invalid(&format!("invalid JSON: {error}"))
}

fn invalid(words: &str) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, words)
}

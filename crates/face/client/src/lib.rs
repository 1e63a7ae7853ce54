//! Client of the Docker Engine API: HTTP/1.1 over a unix socket, TCP or TLS, against ferryd and dockerd alike.
//!
//! Knows: connections, API versions, how errors are told, streams that leave HTTP. Does not know: what commands there are, where
//! the configuration lies, how anything is shown.
//! Start with [`Client`], [`Call`], [`ClientError`].
//!
//! Invariants: no request is sent twice unless the daemon has said that it did not look at the first; nothing is asked of the daemon
//! (no ping) that the command did not need, except before a body that could not be sent again.

mod answer;
mod body;
mod call;
mod connection;
mod endpoint;
mod error;
mod hijack;
mod stream;
mod tls;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferry_docker_api::ApiVersion;
use http::Method;

pub use answer::{Answer, JsonLines, Rest};
pub use call::{Call, path_segment};
pub use endpoint::{Endpoint, InvalidEndpoint, SshPlace};
pub use error::ClientError;
pub use hijack::Hijacked;
pub use stream::Stream;
pub use tls::{TlsError, TlsFiles};

use connection::Connection;

/// How to reach a daemon.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// TLS, for TCP.
    pub tls: Option<TlsFiles>,
    /// A version that must be spoken (`DOCKER_API_VERSION`); otherwise the newest that both sides know.
    pub version: Option<ApiVersion>,
    /// `User-Agent`.
    pub user_agent: String,
    /// Headers of every request (`HttpHeaders` in `config.json`).
    pub headers: Vec<(String, String)>,
    /// What the daemon is called in messages: `Docker` or `Ferry`.
    pub product: &'static str,
}

/// A client. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    version: ApiVersion,
    /// Whether the daemon was heard to speak `version`.
    agreed: bool,
    idle: Vec<Connection>,
    /// A connection that somebody else opened, not yet in use.
    opened: Option<std::os::unix::net::UnixStream>,
}

impl Client {
    /// A client; it connects when it is first used.
    pub fn new(config: Config) -> Self {
        let version = config.version.unwrap_or(ApiVersion::MAX);
        let agreed = config.version.is_some();
        let state = State { version, agreed, idle: Vec::new(), opened: None };
        Client(Arc::new(Inner { config, state: Mutex::new(state) }))
    }

    /// Uses `stream`, which is connected to the endpoint, as the first connection.
    #[must_use]
    pub fn with_connection(self, stream: std::os::unix::net::UnixStream) -> Self {
        self.state().opened = Some(stream);
        self
    }

    /// `GET path`; the path without version: `/containers/json`.
    pub fn get(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), Method::GET, path.as_ref())
    }

    /// `POST path`.
    pub fn post(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), Method::POST, path.as_ref())
    }

    /// `PUT path`.
    pub fn put(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), Method::PUT, path.as_ref())
    }

    /// `HEAD path`.
    pub fn head(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), Method::HEAD, path.as_ref())
    }

    /// `DELETE path`.
    pub fn delete(&self, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), Method::DELETE, path.as_ref())
    }

    /// A request with any method; `path` may have its query behind it, already escaped.
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Call {
        Call::new(self.clone(), method, path.as_ref())
    }

    /// Where the daemon listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.0.config.endpoint
    }

    /// The version that is spoken: the newest known here until the daemon turned out to be older.
    pub fn version(&self) -> ApiVersion {
        self.state().version
    }

    /// Finds out which version to speak, if that is not known yet.
    pub async fn negotiate(&self) -> Result<ApiVersion, ClientError> {
        if !self.state().agreed {
            self.head("/_ping").unversioned().send().await?.discard().await?;
        }
        Ok(self.version())
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the version that the daemon says it speaks, in the `Api-Version` header of every answer.
    pub(crate) fn heard(&self, version: ApiVersion) {
        let mut state = self.state();
        if !state.agreed {
            state.agreed = true;
            state.version = state.version.min(version);
        }
    }
}

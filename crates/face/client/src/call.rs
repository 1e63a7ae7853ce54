//! One request: what is asked, and how the answer is taken.

use std::fmt::{Display, Write};

use bytes::Bytes;
use ferry_docker_api::{ApiVersion, Filters};
use ferry_stdx::percent;
use http::{HeaderName, HeaderValue, Method, Request, header};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::AsyncRead;

use crate::{
    Answer, Client, ClientError, Hijacked, JsonLines, body::Payload, connection::SendFailure,
};

/// A request in the making. Ends with [`Call::done`], [`Call::json`], [`Call::lines`], [`Call::send`] or [`Call::hijack`].
#[derive(Debug)]
#[must_use = "a request is sent by `done`, `json`, `lines`, `send` or `hijack`"]
pub struct Call {
    pub(crate) client: Client,
    pub(crate) method: Method,
    path: String,
    query: String,
    versioned: bool,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Payload,
    unwritable: Option<serde_json::Error>,
}

impl Call {
    pub(crate) fn new(client: Client, method: Method, path: &str) -> Self {
        Call {
            client,
            method,
            path: path.to_owned(),
            query: String::new(),
            versioned: true,
            headers: Vec::new(),
            body: Payload::Empty,
            unwritable: None,
        }
    }

    /// Adds `name=value` to the query.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.query.push(if self.query.is_empty() { '?' } else { '&' });
        self.query.push_str(name);
        self.query.push('=');
        self.query.push_str(&percent::encode(&value.to_string(), b""));
        self
    }

    /// As [`Call::query`], when `on`.
    pub fn query_if(self, on: bool, name: &str, value: impl Display) -> Self {
        if on { self.query(name, value) } else { self }
    }

    /// Adds the filters, if there are any.
    pub fn filters(self, filters: &Filters) -> Self {
        let text = filters.to_json();
        self.query_if(!text.is_empty(), "filters", text)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends JSON.
    pub fn json_body<T: Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => self.body = Payload::Full(Bytes::from(bytes)),
            Err(error) => self.unwritable = Some(error),
        }
        self.header("Content-Type", "application/json")
    }

    /// Sends these bytes.
    pub fn bytes_body(mut self, content_type: &str, bytes: Bytes) -> Self {
        self.body = Payload::Full(bytes);
        self.header("Content-Type", content_type)
    }

    /// Sends what `reader` gives: with a length as `Content-Length`, without in chunks.
    pub fn upload(
        mut self,
        content_type: &str,
        reader: impl AsyncRead + Send + Sync + 'static,
        length: Option<u64>,
    ) -> Self {
        self.body = Payload::reader(reader, length);
        self.header("Content-Type", content_type)
    }

    /// The path stands for itself, without a version before it.
    pub fn unversioned(mut self) -> Self {
        self.versioned = false;
        self
    }

    /// Sends it; an answer that is an error is the error.
    pub async fn send(mut self) -> Result<Answer, ClientError> {
        if let Some(source) = self.unwritable.take() {
            return Err(ClientError::Encode { source });
        }
        if self.versioned && matches!(self.body, Payload::Reader { .. }) {
            // This body cannot be sent again in another version's request.
            Box::pin(self.client.negotiate()).await?;
        }
        let spare = self.body.again();
        let body = std::mem::replace(&mut self.body, Payload::Empty);
        match self.attempt(body).await {
            Err(error) if self.learns_from(&error) => match spare {
                Some(body) => self.attempt(body).await,
                None => Err(error),
            },
            other => other,
        }
    }

    /// Sends it, and forgets what a success says.
    pub async fn done(self) -> Result<(), ClientError> {
        self.send().await?.discard().await
    }

    /// Sends it and reads the answer as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        self.send().await?.json().await
    }

    /// Sends it and reads the answer as JSON values one after another.
    pub async fn lines<T: DeserializeOwned>(self) -> Result<JsonLines<T>, ClientError> {
        Ok(self.send().await?.lines())
    }

    /// Sends it and takes the connection over, for streams in both directions.
    pub async fn hijack(mut self) -> Result<Hijacked, ClientError> {
        if let Some(source) = self.unwritable.take() {
            return Err(ClientError::Encode { source });
        }
        match crate::hijack::hijack(&self).await {
            Err(error) if self.learns_from(&error) => crate::hijack::hijack(&self).await,
            other => other,
        }
    }

    async fn attempt(&self, body: Payload) -> Result<Answer, ClientError> {
        let target = self.target();
        let mut request = self.request(&target, body)?;
        loop {
            let (mut connection, used) = self.client.connection().await?;
            let response = match connection.send(request).await {
                Ok(response) => response,
                // The daemon closes connections that were idle for long: that says nothing about this request.
                Err(SendFailure::NotSent(again)) if used => {
                    request = *again;
                    continue;
                }
                Err(SendFailure::NotSent(_)) => {
                    return Err(self.client.unanswered(&target, "the connection was closed"));
                }
                Err(SendFailure::Broken(error)) => {
                    return Err(self.client.unanswered(&target, error));
                }
            };
            let status = response.status();
            let version = api_version(response.headers());
            let answer = Answer::new(self.client.clone(), target, response, connection);
            if status.is_client_error() || status.is_server_error() {
                return Err(answer.into_error().await);
            }
            if let Some(version) = version {
                self.client.heard(version);
            }
            return Ok(answer);
        }
    }

    /// Whether the error says that the daemon is older, and which version it speaks: then it is worth asking again.
    fn learns_from(&self, error: &ClientError) -> bool {
        let ClientError::Api { status: 400, message, .. } = error else { return false };
        let Some((_, supported)) = message.split_once("Maximum supported API version is ") else {
            return false;
        };
        let Ok(version) = supported.trim().parse::<ApiVersion>() else { return false };
        let before = self.client.version();
        if !self.versioned || version >= before {
            return false;
        }
        self.client.heard(version);
        self.client.version() < before
    }

    /// What stands in the request line.
    pub(crate) fn target(&self) -> String {
        let mut target = String::with_capacity(self.path.len() + self.query.len() + 8);
        if self.versioned {
            let _ = write!(target, "/v{}", self.client.version());
        }
        target.push_str(&self.path);
        target.push_str(&self.query);
        target
    }

    fn request(&self, target: &str, body: Payload) -> Result<Request<Payload>, ClientError> {
        let config = self.client.config();
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(target)
            .header(header::HOST, self.client.host_header())
            .header(header::USER_AGENT, config.user_agent.as_str());
        for (name, value) in config.headers.iter().chain(&self.headers) {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(value))
            {
                request = request.header(name, value);
            }
        }
        request.body(body).map_err(|source| ClientError::Build { path: self.path.clone(), source })
    }
}

impl Client {
    /// dockerd's client sends a name that cannot exist for sockets without one.
    pub(crate) fn host_header(&self) -> &str {
        match self.endpoint() {
            crate::Endpoint::Unix(_) | crate::Endpoint::Ssh(_) => "api.moby.localhost",
            crate::Endpoint::Tcp { written, .. } => written.trim_start_matches("tcp://"),
        }
    }
}

pub(crate) fn api_version(headers: &http::HeaderMap) -> Option<ApiVersion> {
    headers.get("api-version")?.to_str().ok()?.parse().ok()
}

/// Escapes a part of a path, so that an argument with `/`, `?` or `..` in it names one thing.
pub fn path_segment(text: &str) -> String {
    percent::encode(text, b"")
}

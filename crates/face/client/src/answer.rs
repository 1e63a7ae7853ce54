//! Answers.

use std::marker::PhantomData;

use bytes::{Bytes, BytesMut};
use ferry_docker_api::ErrorResponse;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use crate::{Client, ClientError, connection::Connection};

/// A JSON answer may be as large as this: `inspect` of many, lists of a large host.
const ANSWER_LIMIT: usize = 256 << 20;
/// An error's body may be as large as this.
const ERROR_LIMIT: usize = 1 << 20;
/// One message of a stream may be as large as this.
const LINE_LIMIT: usize = 16 << 20;

/// An answer that is not an error: its head, and its body as it comes.
#[derive(Debug)]
pub struct Answer {
    client: Client,
    path: String,
    status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
    /// Goes back to the client when the body has been read to its end.
    connection: Option<Connection>,
}

impl Answer {
    pub(crate) fn new(
        client: Client,
        path: String,
        response: http::Response<Incoming>,
        connection: Connection,
    ) -> Self {
        let (parts, body) = response.into_parts();
        let (status, headers) = (parts.status, parts.headers);
        Answer { client, path, status, headers, body, connection: Some(connection) }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header; the first of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(self.broken(error)),
                None => {
                    if let Some(connection) = self.connection.take() {
                        self.client.keep(connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Bytes, ClientError> {
        self.read(ANSWER_LIMIT).await
    }

    /// The whole body, from JSON.
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, ClientError> {
        let bytes = self.read(ANSWER_LIMIT).await?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ClientError::Decode { path: self.path.clone(), source })
    }

    /// The body as JSON values one after another.
    pub fn lines<T: DeserializeOwned>(self) -> JsonLines<T> {
        JsonLines { answer: self, buffer: BytesMut::new(), ended: false, kind: PhantomData }
    }

    /// Reads the body to its end and forgets it, so that the connection can be used again.
    pub async fn discard(mut self) -> Result<(), ClientError> {
        self.read(ANSWER_LIMIT).await.map(drop)
    }

    /// The error that the answer is.
    pub(crate) async fn into_error(mut self) -> ClientError {
        let status = self.status;
        match self.read(ERROR_LIMIT).await {
            Ok(bytes) => api_error(status, &bytes, &self.path),
            Err(error) => error,
        }
    }

    async fn read(&mut self, limit: usize) -> Result<Bytes, ClientError> {
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.chunk().await? else { return Ok(first) };
        let mut all = BytesMut::from(first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.chunk().await? {
            if all.len() + piece.len() > limit {
                return Err(ClientError::TooLarge { path: self.path.clone(), limit });
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        ClientError::Receive { path: self.path.clone(), source: error.into() }
    }
}

/// What the daemon says in an error's body.
pub(crate) fn api_error(status: StatusCode, body: &[u8], path: &str) -> ClientError {
    let told: ErrorResponse = serde_json::from_slice(body).unwrap_or_else(|_| ErrorResponse {
        message: String::from_utf8_lossy(body).into_owned(),
        ..Default::default()
    });
    let message = match told.message.trim() {
        "" => format!(
            "request returned {status} for API route and version {path}, check if the server supports the requested API version"
        ),
        words => words.to_owned(),
    };
    let hint = Some(told.hint).filter(|hint| !hint.is_empty());
    ClientError::Api { status: status.as_u16(), message, hint }
}

/// JSON values one after another, with or without lines between them.
#[derive(Debug)]
pub struct JsonLines<T> {
    answer: Answer,
    buffer: BytesMut,
    ended: bool,
    kind: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> JsonLines<T> {
    /// The next value; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(value) = self.take()? {
                return Ok(Some(value));
            }
            if self.ended {
                return Ok(None);
            }
            match self.answer.chunk().await? {
                Some(piece) => self.buffer.extend_from_slice(&piece),
                None => self.ended = true,
            }
            if self.buffer.len() > LINE_LIMIT {
                let path = self.answer.path.clone();
                return Err(ClientError::TooLarge { path, limit: LINE_LIMIT });
            }
        }
    }

    /// What follows the values that were read, with the line that the last one is in ended.
    pub fn into_rest(self) -> Rest {
        let mut buffer = self.buffer;
        for end in [b"\r".as_slice(), b"\n"] {
            if buffer.starts_with(end) {
                let _ = buffer.split_to(1);
            }
        }
        Rest { first: Some(buffer.freeze()), answer: self.answer }
    }

    fn take(&mut self) -> Result<Option<T>, ClientError> {
        let mut values = serde_json::Deserializer::from_slice(&self.buffer).into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                let used = values.byte_offset();
                let _ = self.buffer.split_to(used);
                Ok(Some(value))
            }
            Some(Err(error)) if error.is_eof() && !self.ended => Ok(None),
            Some(Err(source)) => {
                Err(ClientError::Decode { path: self.answer.path.clone(), source })
            }
            None => {
                self.buffer.clear();
                Ok(None)
            }
        }
    }
}

/// Bytes behind JSON values.
#[derive(Debug)]
pub struct Rest {
    first: Option<Bytes>,
    answer: Answer,
}

impl Rest {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The connection breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.first.take() {
            Some(first) if !first.is_empty() => Ok(Some(first)),
            _ => self.answer.chunk().await,
        }
    }
}

//! A file at a URL that belongs to no registry.

use bytes::Bytes;
use http::{StatusCode, header};

use crate::{
    Client, Fault, RequestError,
    http::{Body, Call, Location},
};

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It is no URL that can be asked.
    #[error("invalid URL {0:?}: it must be http:// or https:// and have no user name in it")]
    Url(String),
    /// The server cannot be asked.
    #[error("cannot fetch {url}")]
    Request {
        /// What was asked for.
        url: String,
        /// Why not.
        source: Box<RequestError>,
    },
    /// The server has no such file.
    #[error("invalid response status {0}")]
    Status(u16),
    /// It broke off.
    #[error("{url} broke off")]
    Body {
        /// What was asked for.
        url: String,
        /// Why.
        source: Fault,
    },
}

impl ferry_errkind::Kinded for FetchError {
    fn kind(&self) -> ferry_errkind::ErrorKind {
        match self {
            FetchError::Url(_) => ferry_errkind::ErrorKind::InvalidArgument,
            FetchError::Status(404) => ferry_errkind::ErrorKind::NotFound,
            _ => ferry_errkind::ErrorKind::Internal,
        }
    }
}

/// A file on its way.
#[derive(Debug)]
pub struct Fetched {
    url: String,
    body: Body,
    /// The name that the server gives it.
    pub name: Option<String>,
    /// When it was changed last, in the words of HTTP.
    pub modified: Option<String>,
    /// What it is said to be.
    pub content_type: String,
}

impl Client {
    /// Asks for a file.
    ///
    /// # Errors
    /// The URL does not read, nobody answers, or there is no such file.
    pub async fn fetch(&self, url: &str) -> Result<Fetched, FetchError> {
        let location = Location::parse(url).ok_or_else(|| FetchError::Url(url.to_owned()))?;
        let answer = self.shared.http.send(Call::get(location)).await.map_err(|source| {
            FetchError::Request { url: url.to_owned(), source: Box::new(source) }
        })?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status(answer.status.as_u16()));
        }
        let name = answer.header(header::CONTENT_DISPOSITION).and_then(file_name);
        let modified = answer.header(header::LAST_MODIFIED).map(str::to_owned);
        let content_type = answer.header(header::CONTENT_TYPE).unwrap_or_default().to_owned();
        Ok(Fetched { url: url.to_owned(), body: answer.body, name, modified, content_type })
    }
}

impl Fetched {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// It broke off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let next = self.body.next().await;
        next.map_err(|source| FetchError::Body { url: self.url.clone(), source })
    }
}

/// `attachment; filename="x"`.
fn file_name(text: &str) -> Option<String> {
    let value = text.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
    let name = value.trim().trim_matches('"').rsplit('/').next()?;
    (!matches!(name, "" | "." | "..")).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        assert_eq!(file_name("attachment; filename=\"a b.txt\"").unwrap(), "a b.txt");
        assert_eq!(file_name("attachment; filename=\"../x\"").unwrap(), "x");
        assert_eq!(file_name("inline"), None);
    }
}

//! What a registry says instead of what it was asked for, in the words that Docker makes of it.

use std::{fmt, time::Duration};

use ferry_errkind::ErrorKind;
use http::{
    HeaderMap, StatusCode,
    header::{RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Deserialize;

use crate::auth::parse_challenges;

/// Most of a registry's words that are passed on.
const MAX_WORDS: usize = 1024;
/// Largest refusal that is read.
pub(crate) const MAX_BODY: usize = 64 << 10;

/// An answer that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// `UNAUTHORIZED`, `MANIFEST_UNKNOWN`, …; empty when the registry did not say.
    pub code: String,
    /// The registry's words.
    pub message: String,
    /// When to come again.
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    errors: Vec<Item>,
    /// Docker Hub's token server.
    #[serde(default)]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Refusal {
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
        let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let body = &body[..body.len().min(MAX_BODY)];
        let parsed: Option<Body> = serde_json::from_slice(body).ok();
        let item = parsed.as_ref().and_then(|body| body.errors.first());
        if is_out_of_scope(headers) {
            let message = "requested access to the resource is denied".to_owned();
            return Refusal {
                status: status.as_u16(),
                code: "DENIED".to_owned(),
                message,
                retry_after,
            };
        }
        let (code, message) = match (item, parsed.as_ref().and_then(|body| body.details.as_ref())) {
            (Some(item), _) if !item.code.is_empty() => (item.code.clone(), item.message.clone()),
            (_, details) => {
                let text = details.cloned();
                let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
                (code_of(status).to_owned(), text)
            }
        };
        Refusal {
            status: status.as_u16(),
            code: clean(&code),
            message: clean(&message),
            retry_after,
        }
    }

    /// A code that a registry names, or that its status means.
    pub(crate) fn is(&self, code: &str) -> bool {
        self.code == code
    }

    /// Trying again may help.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self.status {
            400 => ErrorKind::InvalidArgument,
            401 => ErrorKind::Unauthorized,
            403 => ErrorKind::Forbidden,
            404 => ErrorKind::NotFound,
            // Docker answers 429, for which there is no kind; its faults of registries are 500.
            429 => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        }
    }
}

/// Whether the registry knows who asks, and that they may not (RFC 6750, 3.1). Docker Hub says so of what is not there.
fn is_out_of_scope(headers: &HeaderMap) -> bool {
    let headers = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let mut challenges = headers.flat_map(parse_challenges);
    challenges.any(|challenge| challenge.parameter("error") == Some("insufficient_scope"))
}

/// What a status means where the registry does not say more.
fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHORIZED",
        403 => "DENIED",
        429 => "TOOMANYREQUESTS",
        _ => "",
    }
}

/// Foreign words go to terminals and logs: no control characters, and not too many.
fn clean(text: &str) -> String {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(MAX_WORDS).map(printable).collect()
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code.is_empty() {
            let reason =
                StatusCode::from_u16(self.status).ok().and_then(|it| it.canonical_reason());
            let reason = reason.unwrap_or_default();
            return write!(f, "received unexpected HTTP status: {} {reason}", self.status);
        }
        f.write_str(&self.code.to_lowercase().replace('_', " "))?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (status, body, words) in [
            (
                404,
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"a":1}}]}"#,
                "manifest unknown: manifest unknown",
            ),
            (403, "", "denied"),
            (503, "<html>", "received unexpected HTTP status: 503 Service Unavailable"),
            (
                401,
                r#"{"details":"incorrect username or password"}"#,
                "unauthorized: incorrect username or password",
            ),
            (401, "no\u{1b}[31m", "unauthorized: no [31m"),
            (401, r#"{"errors":[{}]}"#, r#"unauthorized: {"errors":[{}]}"#),
            (
                429,
                r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#,
                "toomanyrequests: slow down",
            ),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Refusal::of(status, &HeaderMap::new(), body.as_bytes()).to_string(), words);
        }
    }
}

//! Errors of the distribution API: a code, its status, and words.

use ferry_errkind::chain;
use ferry_registry_store::{Refusal, StoreError};
use http::{Response, StatusCode, header};
use serde_json::{Value, json};

use crate::body::Body;

/// The codes of the specification, and those that distribution has beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    TagInvalid,
    RangeInvalid,
    PageInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    TooLarge,
    NotFound,
    Unavailable,
    /// What an upstream gives is not what it should be.
    Upstream,
    Unknown,
}

impl Code {
    fn parts(self) -> (&'static str, StatusCode) {
        match self {
            Code::BlobUnknown => ("BLOB_UNKNOWN", StatusCode::NOT_FOUND),
            Code::BlobUploadInvalid => ("BLOB_UPLOAD_INVALID", StatusCode::BAD_REQUEST),
            Code::BlobUploadUnknown => ("BLOB_UPLOAD_UNKNOWN", StatusCode::NOT_FOUND),
            Code::DigestInvalid => ("DIGEST_INVALID", StatusCode::BAD_REQUEST),
            Code::ManifestBlobUnknown => ("MANIFEST_BLOB_UNKNOWN", StatusCode::BAD_REQUEST),
            Code::ManifestInvalid => ("MANIFEST_INVALID", StatusCode::BAD_REQUEST),
            Code::ManifestUnknown => ("MANIFEST_UNKNOWN", StatusCode::NOT_FOUND),
            Code::NameInvalid => ("NAME_INVALID", StatusCode::BAD_REQUEST),
            Code::NameUnknown => ("NAME_UNKNOWN", StatusCode::NOT_FOUND),
            Code::SizeInvalid => ("SIZE_INVALID", StatusCode::BAD_REQUEST),
            Code::TagInvalid => ("TAG_INVALID", StatusCode::BAD_REQUEST),
            Code::RangeInvalid => ("RANGE_INVALID", StatusCode::RANGE_NOT_SATISFIABLE),
            Code::PageInvalid => ("PAGINATION_NUMBER_INVALID", StatusCode::BAD_REQUEST),
            Code::Unauthorized => ("UNAUTHORIZED", StatusCode::UNAUTHORIZED),
            Code::Denied => ("DENIED", StatusCode::FORBIDDEN),
            Code::Unsupported => ("UNSUPPORTED", StatusCode::METHOD_NOT_ALLOWED),
            Code::TooManyRequests => ("TOOMANYREQUESTS", StatusCode::TOO_MANY_REQUESTS),
            Code::TooLarge => ("SIZE_INVALID", StatusCode::PAYLOAD_TOO_LARGE),
            Code::NotFound => ("NOT_FOUND", StatusCode::NOT_FOUND),
            Code::Unavailable => ("UNAVAILABLE", StatusCode::SERVICE_UNAVAILABLE),
            Code::Upstream => ("UNKNOWN", StatusCode::BAD_GATEWAY),
            Code::Unknown => ("UNKNOWN", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }
}

/// A refusal or failure, as it is told to the client.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    code: Code,
    message: String,
    detail: Box<Value>,
    /// Headers that go with it: where an upload goes on, how to authenticate.
    headers: Vec<(header::HeaderName, String)>,
}

impl Fault {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Fault {
        Fault { code, message: message.into(), detail: Box::new(Value::Null), headers: Vec::new() }
    }

    /// Names what it is about.
    pub(crate) fn about(mut self, name: &str, value: impl Into<Value>) -> Fault {
        self.detail = Box::new(json!({ name: value.into() }));
        self
    }

    pub(crate) fn header(mut self, name: header::HeaderName, value: String) -> Fault {
        self.headers.push((name, value));
        self
    }

    /// Whether it means that something is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code.parts().1 == StatusCode::NOT_FOUND
    }

    /// Whether somebody else than the client is at fault, and it may pass.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::Upstream | Code::TooManyRequests)
    }

    /// Whether it has this code.
    pub(crate) fn is(&self, code: Code) -> bool {
        self.code == code
    }

    /// Its words.
    pub(crate) fn words(&self) -> &str {
        &self.message
    }

    /// Whether it means that the client has to say who it is.
    pub(crate) fn is_unauthorized(&self) -> bool {
        self.code == Code::Unauthorized
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> Code {
        self.code
    }

    pub(crate) fn response(self) -> Response<Body> {
        let (name, status) = self.code.parts();
        let mut error = json!({ "code": name, "message": self.message });
        if !self.detail.is_null() {
            error["detail"] = *self.detail;
        }
        let text = json!({ "errors": [error] }).to_string();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, crate::dispatch::JSON);
        for (name, value) in self.headers {
            if let Ok(value) = value.parse() {
                headers.insert(name, value);
            }
        }
        response
    }
}

/// When to come again with an upload that there is no room for, in seconds.
const RETRY: u64 = 30;

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        let refusal = match error {
            StoreError::Refused(refusal) => refusal,
            StoreError::Bucket(error) if error.is_passing() => {
                tracing::error!("{}", chain(&error));
                let words = "where this registry keeps its content does not answer";
                return Fault::new(Code::Unavailable, words)
                    .header(header::RETRY_AFTER, RETRY.to_string());
            }
            other => {
                // The words may name paths of this machine: they are for the log.
                tracing::error!("{}", chain(&other));
                return Fault::new(Code::Unknown, "the registry has failed; its log says why");
            }
        };
        let message = refusal.to_string();
        let fault = |code| Fault::new(code, message);
        match refusal {
            Refusal::BlobUnknown(digest) => {
                fault(Code::BlobUnknown).about("digest", digest.to_string())
            }
            Refusal::BlobInUse(digest, _) => {
                fault(Code::Unsupported).about("digest", digest.to_string())
            }
            Refusal::ManifestUnknown(target) => {
                fault(Code::ManifestUnknown).about("unknown", target)
            }
            Refusal::ManifestBlobUnknown(missing) => {
                let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
                fault(Code::ManifestBlobUnknown).about("digests", missing)
            }
            Refusal::ManifestInvalid(_) => fault(Code::ManifestInvalid),
            Refusal::DigestMismatch { wanted, found } => Fault {
                detail: Box::new(
                    json!({ "digest": wanted.to_string(), "found": found.to_string() }),
                ),
                ..fault(Code::DigestInvalid)
            },
            Refusal::UploadUnknown(id) => fault(Code::BlobUploadUnknown).about("upload", id),
            Refusal::UploadBusy(id) => fault(Code::BlobUploadInvalid).about("upload", id),
            Refusal::TooLarge(_) => fault(Code::TooLarge),
            Refusal::NoSpace => fault(Code::Unavailable),
            Refusal::TooManyUploads(_) => {
                fault(Code::TooManyRequests).header(header::RETRY_AFTER, RETRY.to_string())
            }
            Refusal::RepositoryUnknown(name) => fault(Code::NameUnknown).about("name", name),
            Refusal::TagImmutable(tag) => fault(Code::Denied).about("tag", tag),
        }
    }
}

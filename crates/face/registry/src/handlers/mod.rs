//! The operations of the distribution API: read the request, one call of the store, write the answer.

pub(crate) mod blobs;
pub(crate) mod lists;
pub(crate) mod manifests;
pub(crate) mod token;
pub(crate) mod uploads;

use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::body::Body;

/// An answer without a body.
pub(crate) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header. Values are digests, names and numbers, which are always valid ones.
pub(crate) fn set(response: &mut Response<Body>, name: &'static str, value: impl ToString) {
    if let Ok(value) = HeaderValue::try_from(value.to_string()) {
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
}

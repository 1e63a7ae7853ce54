//! One request, from its head to its answer.

use std::{convert::Infallible, sync::Arc};

use ferry_registry_store::{Store, StoreError};
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;

use crate::{
    body::Body,
    fault::{Code, Fault},
    handlers::{blobs, lists, manifests, uploads},
    query::Query,
    route::Route,
};

/// Of all JSON that is no manifest.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) store: Arc<Store>,
}

/// A request's head, read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: http::HeaderMap,
}

pub(crate) type Answer = Result<Response<Body>, Fault>;

impl Call {
    /// A header's value, if it is text.
    pub(crate) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Runs what touches the disk on a thread that may wait.
    pub(crate) async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = Arc::clone(&self.state.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        Ok(done.map_err(|_| Fault::new(Code::Unknown, "the registry has failed"))??)
    }
}

/// Answers a request.
pub(crate) async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let route = Route::parse(head.uri.path());
    let call = Call {
        state,
        query: Query::parse(head.uri.query().unwrap_or_default()),
        method: head.method,
        headers: head.headers,
    };
    let answer = match route {
        None => Err(Fault::new(Code::NotFound, "there is no such page")),
        Some(Err(fault)) => Err(fault),
        Some(Ok(route)) => handle(&call, route, body).await,
    };
    let mut response = answer.unwrap_or_else(Fault::response);
    let headers = response.headers_mut();
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    Ok(response)
}

async fn handle(call: &Call, route: Route, body: Incoming) -> Answer {
    match (route, call.method.as_str()) {
        (Route::Base, "GET" | "HEAD") => Ok(json("{}".to_owned())),
        (Route::Catalog, "GET") => lists::catalog(call).await,
        (Route::Tags(name), "GET") => lists::tags(call, name).await,
        (Route::Referrers(name, digest), "GET") => lists::referrers(call, name, digest).await,
        (Route::Manifest(name, target), "GET" | "HEAD") => manifests::get(call, name, target).await,
        (Route::Manifest(name, target), "PUT") => manifests::put(call, name, target, body).await,
        (Route::Manifest(name, target), "DELETE") => manifests::delete(call, name, target).await,
        (Route::Blob(name, digest), "GET" | "HEAD") => blobs::get(call, name, digest).await,
        (Route::Blob(name, digest), "DELETE") => blobs::delete(call, name, digest).await,
        (Route::Uploads(name), "POST") => uploads::begin(call, name, body).await,
        (Route::Upload(name, id), "GET" | "HEAD") => uploads::status(call, name, id).await,
        (Route::Upload(name, id), "PATCH") => uploads::append(call, name, id, body).await,
        (Route::Upload(name, id), "PUT") => uploads::finish(call, name, id, body).await,
        (Route::Upload(name, id), "DELETE") => uploads::cancel(call, name, id).await,
        _ => Err(Fault::new(Code::Unsupported, "the operation is unsupported")),
    }
}

/// 200 with JSON.
pub(crate) fn json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

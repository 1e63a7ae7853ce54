//! One request, from its head to its answer.

use std::{convert::Infallible, net::IpAddr, sync::Arc, time::Instant};

use ferry_access::Action;
use ferry_registry_store::{Limits, Store, StoreError};
use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::{
    access::{Access, Identity},
    body::Body,
    daemon,
    fault::{Code, Fault},
    handlers::{blobs, lists, manifests, token, uploads},
    journal::{Audit, Requests},
    pages,
    proxy::{self, Upstreams},
    query::Query,
    route::Route,
    rules::Rules,
};

/// Of all JSON that is no manifest.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is served.
#[derive(Debug)]
pub(crate) enum Content {
    /// What was pushed here.
    Store(Arc<Store>),
    /// What a daemon has, to be read only.
    Daemon(ferry_client::Client),
}

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) content: Content,
    pub(crate) access: Access,
    pub(crate) audit: Arc<Audit>,
    pub(crate) requests: Option<Requests>,
    /// Whose content is kept here as a copy.
    pub(crate) upstreams: Upstreams,
    /// What comes from other registries, and goes to them, on its own.
    pub(crate) rules: Arc<Rules>,
}

/// A request's head, read.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) state: Arc<State>,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: http::HeaderMap,
    pub(crate) peer: IpAddr,
    /// `None` until it is known; only `/token` asks who without a need to know.
    pub(crate) identity: Option<Identity>,
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
        on_store(self.kept()?, work).await
    }

    /// As [`Call::store`]; what is changed goes into the audit log, with who did it.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<(T, Value), StoreError> + Send + 'static,
    ) -> Result<T, Fault> {
        let audit = Arc::clone(&self.state.audit);
        let (who, from) = (self.who().map(str::to_owned), self.peer.to_string());
        self.store(move |store| {
            let (outcome, mut entry) = work(store)?;
            entry["who"] = who.into();
            entry["from"] = from.into();
            audit.record(entry);
            Ok(outcome)
        })
        .await
    }

    /// Whether the client may do this.
    pub(crate) fn may(&self, action: Action, repository: &str) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.may(action, repository))
    }

    /// Whether the client may see this in a list.
    pub(crate) fn sees(&self, repository: &str) -> bool {
        self.identity.as_ref().is_some_and(|identity| identity.granted(Action::Pull, repository))
    }

    /// How much is taken.
    pub(crate) fn limits(&self) -> Limits {
        match &self.state.content {
            Content::Store(store) => store.limits().clone(),
            Content::Daemon(_) => Limits::default(),
        }
    }

    /// Whether a tag stays as it is once it is set.
    pub(crate) fn is_immutable(&self, repository: &str, tag: &str) -> bool {
        match &self.state.content {
            Content::Store(store) => store.is_immutable(repository, tag),
            Content::Daemon(_) => false,
        }
    }

    /// The store, where one is served.
    pub(crate) fn kept(&self) -> Result<Arc<Store>, Fault> {
        match &self.state.content {
            Content::Store(store) => Ok(Arc::clone(store)),
            Content::Daemon(_) => {
                Err(Fault::new(Code::Unsupported, "the operation is unsupported"))
            }
        }
    }

    fn who(&self) -> Option<&str> {
        self.identity.as_ref().and_then(|identity| identity.name.as_deref())
    }
}

/// Runs what touches the disk on a thread that may wait.
pub(crate) async fn on_store<T: Send + 'static>(
    store: Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Fault> {
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    Ok(done.map_err(|_| Fault::new(Code::Unknown, "the registry has failed"))??)
}

/// Answers a request.
pub(crate) async fn answer(
    state: Arc<State>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let began = Instant::now();
    let (head, body) = request.into_parts();
    let mut call = Call {
        state,
        query: Query::parse(head.uri.query().unwrap_or_default()),
        path: head.uri.path().to_owned(),
        method: head.method,
        headers: head.headers,
        peer,
        identity: None,
    };
    let mut response = handle(&mut call, body).await.unwrap_or_else(Fault::response);
    let headers = response.headers_mut();
    headers.insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    if let Some(requests) = &call.state.requests {
        requests.record(json!({
            "from": peer.to_string(),
            "who": call.who(),
            "method": call.method.as_str(),
            "path": call.path,
            "status": response.status().as_u16(),
            "bytes": response.body().length(),
            "milliseconds": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "agent": call.header(header::USER_AGENT),
        }));
    }
    Ok(response)
}

async fn handle(call: &mut Call, body: Incoming) -> Answer {
    let state = Arc::clone(&call.state);
    let access = &state.access;
    access.guard.may_ask(call.peer)?;
    if call.path == "/token" {
        return token::token(call, body).await;
    }
    let daemon = matches!(state.content, Content::Daemon(_));
    if pages::is_page(&call.path) && !daemon {
        return pages::page(call).await;
    }
    let Some(route) = Route::parse(&call.path) else {
        return Err(Fault::new(Code::NotFound, "there is no such page"));
    };
    let route = route?;
    let (route, upstream) = state.upstreams.lead(call, route)?;
    let identity = access.identify(&call.headers, call.peer).await?;
    access.authorise(&identity, &route, &call.method, &call.headers)?;
    call.identity = Some(identity);
    if let Some((upstream, theirs)) = upstream {
        return proxy::operate(call, upstream, theirs, route).await;
    }
    operate(call, route, body).await
}

async fn operate(call: &Call, route: Route, body: Incoming) -> Answer {
    if let Content::Daemon(client) = &call.state.content {
        return daemon::operate(call, client, route).await;
    }
    match (route, call.method.as_str()) {
        (Route::Base, "GET" | "HEAD") => Ok(answer_json("{}".to_owned())),
        (Route::Catalog, "GET") => lists::catalog(call).await,
        (Route::Search, "GET") => lists::search(call).await,
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
pub(crate) fn answer_json(text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

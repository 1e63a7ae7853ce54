//! HTTP/1.1 as a registry client needs it: kept connections, timeouts, limits, redirects that leak nothing.

mod body;
mod dial;
mod fault;
mod insecure;
mod location;
mod proxy;
mod tls;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, LOCATION, PROXY_AUTHORIZATION, USER_AGENT},
};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;

pub use self::fault::{Fault, RequestError};
pub(crate) use self::{
    body::Body,
    insecure::Insecure,
    location::{Location, Origin, percent},
    proxy::Proxies,
};

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// How long an idle connection is worth keeping: registries close theirs after a minute or more.
const IDLE: Duration = Duration::from_secs(20);
/// Most idle connections to one origin.
const MAX_IDLE: usize = 8;
/// Largest chunk of a body that is handed on. With [`crate::stream::DEPTH`] this bounds the memory of a layer on its way.
const CHUNK: usize = 256 << 10;

type Sender = SendRequest<Full<Bytes>>;

/// Speaks HTTP with anyone.
#[derive(Debug)]
pub(crate) struct Http {
    user_agent: HeaderValue,
    insecure: Insecure,
    proxies: Proxies,
    certificates: Vec<PathBuf>,
    pub(crate) connect_patience: Duration,
    pub(crate) stall: Duration,
    roots: OnceLock<RootCertStore>,
    idle: Arc<Idle>,
}

/// Connections that wait for their next request.
#[derive(Debug, Default)]
pub(crate) struct Idle(Mutex<HashMap<Origin, Vec<(Instant, Sender)>>>);

/// A request, but for what [`Http`] adds.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) location: Location,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    /// Who answered, after all redirects.
    pub(crate) origin: Origin,
}

impl Call {
    pub(crate) fn get(location: Location) -> Call {
        let (method, headers) = (Method::GET, HeaderMap::new());
        Call { method, location, headers, body: Bytes::new() }
    }

    pub(crate) fn form(location: Location, form: String) -> Call {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        Call { method: Method::POST, location, headers, body: form.into() }
    }

    fn word(&self) -> &'static str {
        if self.method == Method::POST { "Post" } else { "Get" }
    }

    fn failed(&self, fault: Fault) -> RequestError {
        RequestError::new(self.word(), &self.location, fault)
    }
}

impl Answer {
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Http {
    pub(crate) fn new(
        user_agent: &str,
        insecure: Insecure,
        proxies: Proxies,
        tuning: &crate::Tuning,
    ) -> Http {
        Http {
            user_agent: HeaderValue::from_str(user_agent)
                .unwrap_or_else(|_| HeaderValue::from_static("ferry")),
            insecure,
            proxies,
            certificates: tuning.certificates.clone(),
            connect_patience: tuning.connect_patience,
            stall: tuning.stall,
            roots: OnceLock::new(),
            idle: Arc::default(),
        }
    }

    pub(crate) async fn is_insecure(&self, origin: &Origin) -> bool {
        self.insecure.allows(origin).await
    }

    /// Sends a request and follows where the answer leads. Credentials stay with the origin that they are for.
    pub(crate) async fn send(&self, mut call: Call) -> Result<Answer, RequestError> {
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.send_once(&call).await.map_err(|fault| call.failed(fault))?;
            let Some(target) = redirect(&answer) else { return Ok(answer) };
            let target = target.to_owned();
            answer.body.skip().await;
            let refused = || call.failed(Fault::Redirect(target.clone()));
            // A form may hold a token: it goes nowhere else.
            if call.method != Method::GET {
                return Err(refused());
            }
            let next = call.location.join(&target).ok_or_else(refused)?;
            let downgrade = call.location.origin.https && !next.origin.https;
            if downgrade && !self.is_insecure(&next.origin).await {
                return Err(refused());
            }
            if next.origin != call.location.origin {
                call.headers.remove(AUTHORIZATION);
            }
            call.location = next;
        }
        Err(call.failed(Fault::Redirects(MAX_REDIRECTS)))
    }

    async fn send_once(&self, call: &Call) -> Result<Answer, Fault> {
        let origin = &call.location.origin;
        // A kept connection may have been closed meanwhile: that says nothing about the server.
        while let Some(mut sender) = self.idle.take(origin) {
            let sent = self.exchange(call, &mut sender).await;
            match sent {
                Ok(answer) => return Ok(self.answer(answer, origin, sender)),
                Err(Fault::Stalled(after)) => return Err(Fault::Stalled(after)),
                Err(_) => {}
            }
        }
        let mut sender = self.connect(origin).await?;
        let answer = self.exchange(call, &mut sender).await?;
        Ok(self.answer(answer, origin, sender))
    }

    async fn exchange(
        &self,
        call: &Call,
        sender: &mut Sender,
    ) -> Result<http::Response<hyper::body::Incoming>, Fault> {
        let request = self.request(call)?;
        let exchange = async {
            sender.ready().await?;
            sender.send_request(request).await
        };
        match tokio::time::timeout(self.stall, exchange).await {
            Ok(answer) => answer.map_err(|error| Fault::broken(&error)),
            Err(_) => Err(Fault::Stalled(self.stall)),
        }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Fault> {
        let origin = &call.location.origin;
        let mut request = Request::new(Full::new(call.body.clone()));
        let proxy = self.proxies.of(origin).filter(|_| !origin.https);
        // A proxy wants to know the whole address.
        let target = match proxy {
            Some(_) => call.location.to_string(),
            None => call.location.path.clone(),
        };
        let invalid = |_| Fault::Redirect(call.location.to_string());
        *request.uri_mut() = target.parse().map_err(invalid)?;
        request.method_mut().clone_from(&call.method);
        let headers = request.headers_mut();
        headers.clone_from(&call.headers);
        if let Ok(host) = HeaderValue::from_str(&origin.authority()) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, self.user_agent.clone());
        let authorization = proxy.and_then(|proxy| proxy.authorization.as_deref());
        if let Some(Ok(value)) = authorization.map(HeaderValue::from_str) {
            headers.insert(PROXY_AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn connect(&self, origin: &Origin) -> Result<Sender, Fault> {
        let tls = if origin.https {
            let insecure = self.is_insecure(origin).await;
            let system = self.roots.get_or_init(tls::system_roots);
            Some(Arc::new(tls::settings(origin, insecure, &self.certificates, system)?))
        } else {
            None
        };
        let route = dial::Route {
            origin,
            proxy: self.proxies.of(origin),
            tls,
            patience: self.connect_patience,
        };
        let stream = route.open().await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(CHUNK)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Fault::broken(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection to a registry broke");
            }
        });
        Ok(sender)
    }

    fn answer(
        &self,
        answer: http::Response<hyper::body::Incoming>,
        origin: &Origin,
        sender: Sender,
    ) -> Answer {
        let (parts, body) = answer.into_parts();
        let keep = body::Keep { idle: Arc::clone(&self.idle), origin: origin.clone(), sender };
        let body = Body::new(body, keep, self.stall);
        let origin = origin.clone();
        Answer { status: parts.status, headers: parts.headers, body, origin }
    }
}

impl Idle {
    fn take(&self, origin: &Origin) -> Option<Sender> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(origin)?;
        while let Some((since, sender)) = kept.pop() {
            if since.elapsed() < IDLE && !sender.is_closed() {
                return Some(sender);
            }
        }
        None
    }

    pub(crate) fn put(&self, origin: Origin, sender: Sender) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|_, kept| {
            kept.retain(|(since, sender)| since.elapsed() < IDLE && !sender.is_closed());
            !kept.is_empty()
        });
        let kept = idle.entry(origin).or_default();
        if kept.len() < MAX_IDLE && !sender.is_closed() {
            kept.push((Instant::now(), sender));
        }
    }
}

/// Where the answer leads instead.
fn redirect(answer: &Answer) -> Option<&str> {
    match answer.status.as_u16() {
        301 | 302 | 303 | 307 | 308 => answer.header(LOCATION),
        _ => None,
    }
}

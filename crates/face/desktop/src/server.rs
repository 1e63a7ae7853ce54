//! What a request goes through: the guard, then the page's files, the Engine API, or a tunnel.

use std::{convert::Infallible, ffi::OsString, sync::Arc, time::Duration};

use ferry_cli::face::Logins;
use ferry_client::Client;
use http::{Method, Request, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::{
    assets, errand, files,
    guard::{Guard, Refusal, wish},
    proxy,
    reply::{Reply, failure, reply, set},
    tunnel,
    usage::Usage,
};

/// Connections at once; a page opens a few, each stream is one.
const CONNECTIONS: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A head is never larger: the page sends short ones.
const HEAD_LIMIT: usize = 64 << 10;

/// `{}` in base64.
const NOBODY: &str = "e30=";

/// What every request may use.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) guard: Arc<Guard>,
    pub(crate) client: Client,
    pub(crate) usage: Arc<Usage>,
    /// What our own commands are called with.
    pub(crate) globals: Vec<OsString>,
    /// Credentials of registries.
    pub(crate) logins: Logins,
}

impl Shared {
    /// The user's own credentials for a request that a registry answers in the end: an `X-Registry-Auth`.
    pub(crate) async fn login_for(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Option<String> {
        let image = errand::registry_of(method, path, query)?;
        let logins = self.logins.clone();
        // A helper program may be asked. What cannot be read is as what is not there: the registry says what it wants.
        let found = tokio::task::spawn_blocking(move || logins.auth(&image, &|_| {})).await;
        let found = found.ok().and_then(Result::ok).filter(|auth| !auth.is_empty());
        // A push says who pushes even where that is nobody.
        found.or_else(|| path.ends_with("/push").then(|| NOBODY.to_owned()))
    }
}

/// Serves until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    guard: Arc<Guard>,
    client: Client,
    logins: Logins,
) {
    let globals = errand::globals();
    let shared = Shared { guard, client, usage: Arc::default(), globals, logins };
    let shared = Arc::new(shared);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, mostly: others may end meanwhile.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            connection(stream, shared).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    // Keystrokes in a terminal must not wait for each other.
    drop(stream.set_nodelay(true));
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_LIMIT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // The browser has gone, or speaks no HTTP: there is nobody to tell.
    drop(served.await);
}

async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let path = request.uri().path().to_owned();
    if let Err(refusal) = shared.guard.check_host(request.headers()) {
        return refused(refusal, false);
    }
    if path == "/"
        && request.method() == Method::GET
        && let Some(token) = token(request.uri().query())
    {
        return log_in(shared, &token);
    }
    let upgrade = request.headers().contains_key(header::UPGRADE);
    if let Err(refusal) = shared.guard.check(request.headers(), wish(request.method(), upgrade)) {
        return refused(refusal, path == "/");
    }
    if path == "/stream" {
        return tunnel::open(shared, request);
    }
    if let Some(rest) = path.strip_prefix("/api/") {
        let rest = format!("/{rest}");
        return proxy::forward(shared, &rest, request).await;
    }
    if path == "/logins" {
        let (parts, body) = request.into_parts();
        return errand::logins(shared, &parts.method, body).await;
    }
    if request.method() != Method::GET {
        return failure(405, "method not allowed", None);
    }
    if let Some(what) = path.strip_prefix("/files/") {
        return files::serve(shared, what, request.uri().query()).await;
    }
    assets::serve(&path, request.headers())
}

fn token(query: Option<&str>) -> Option<String> {
    let pairs = query?.split('&');
    pairs.filter_map(|pair| pair.strip_prefix("token=")).map(str::to_owned).next()
}

/// A cross-site click brings the user here without cookies, and would go on so after a redirect: a page of our own that goes on has
/// our site as its origin. It also takes the token out of the address bar.
fn log_in(shared: &Shared, token: &str) -> Reply {
    match shared.guard.log_in(token) {
        Ok(Some(cookie)) => {
            let page = "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=\"0;url=/\"><title>Ferry</title>";
            let mut reply = reply(StatusCode::OK, "text/html; charset=utf-8", page);
            set(
                &mut reply,
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; frame-ancestors 'none'",
            );
            set(&mut reply, header::SET_COOKIE, &cookie);
            reply
        }
        Ok(None) => refused(Refusal::Session, true),
        Err(error) => failure(500, error.message(), None),
    }
}

fn refused(refusal: Refusal, page: bool) -> Reply {
    match refusal {
        Refusal::Session if page => reply(
            StatusCode::UNAUTHORIZED,
            "text/plain; charset=utf-8",
            "This address has been used, or the desktop was started again.\n\nPress Enter where `ferry desktop` runs, and open the address that it prints.\n\n이 주소는 이미 사용되었거나 데스크톱이 다시 시작되었습니다.\n`ferry desktop`을 실행한 곳에서 Enter를 누르고 새로 나온 주소를 여십시오.\n",
        ),
        Refusal::Session => failure(401, &refusal.to_string(), None),
        Refusal::Host | Refusal::Origin => failure(403, &refusal.to_string(), None),
    }
}

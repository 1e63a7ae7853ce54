//! One client's connection: which container each of its requests is for, and what goes there and back.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use ferry_engine::{
    Engine,
    ops::names::{self, HostName},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body_util::Either;
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    upgrade::OnUpgrade,
};
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, net::TcpStream};

use crate::page::{self, Answer};

/// A container on this machine takes a connection at once, or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection to a container that was quiet for longer is not used again: servers close theirs after some seconds, and a request that
/// crosses that would be lost.
const REUSE: Duration = Duration::from_secs(1);
/// Marks what came through here, in `Via`: a container that sends it back to us is a circle.
const OURSELVES: &str = "ferry-names";

/// Headers that mean the connection, not the message.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// Takes turns among several containers of one name.
static TURN: AtomicUsize = AtomicUsize::new(0);

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    engine: Engine,
    peer: IpAddr,
    /// The proxy's own port.
    port: u16,
    tls: bool,
    /// The connection to a container that its last request took.
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    to: SocketAddr,
    since: Instant,
    sender: SendRequest<Incoming>,
}

impl Client {
    pub(crate) fn new(engine: Engine, peer: IpAddr, port: u16, tls: bool) -> Client {
        Client { engine, peer, port, tls, kept: Mutex::new(None) }
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    /// Sends a request to the container that it names, and its answer back.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Answer {
        let Some(host) = host_of(&request) else {
            let words = "the request does not say which host it is for\n".to_owned();
            return page::words(StatusCode::BAD_REQUEST, words);
        };
        if came_from_here(request.headers()) || request.method() == Method::CONNECT {
            let words = format!("{host} leads back to this proxy\n");
            return page::words(StatusCode::LOOP_DETECTED, words);
        }
        let Some(name) = name_of(&host) else { return self.unknown(&host) };
        let found = names::find(&self.engine, name);
        if found.is_empty() {
            return self.unknown(&host);
        }
        match choose(found) {
            Ok((container, target)) => self.forward(&host, &container, target, request).await,
            Err(why) => page::words(StatusCode::BAD_GATEWAY, format!("{host}: {why}\n")),
        }
    }

    /// Who asks for a name of another domain is a page of that domain whose name was led here, and is told nothing.
    fn unknown(&self, host: &str) -> Answer {
        let ours = host == "localhost"
            || name_of(host).is_some()
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if !ours {
            let words = format!("no container answers as {host}\n");
            return page::words(StatusCode::NOT_FOUND, words);
        }
        page::unknown(host, &names::list(&self.engine), self.scheme(), self.port)
    }

    async fn forward(
        &self,
        host: &str,
        container: &str,
        target: SocketAddr,
        mut request: Request<Incoming>,
    ) -> Answer {
        let upgrade = wanted_upgrade(request.headers());
        let client_side = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let request = self.onward(request, host, upgrade);
        let failed = |why: String| {
            let words =
                format!("{host}: container {container} does not answer at {target}: {why}\n");
            page::words(StatusCode::BAD_GATEWAY, words)
        };
        let (mut sender, request) = match self.sender(target).await {
            Ok(sender) => (sender, request),
            Err(why) => return failed(why),
        };
        let mut response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return failed(ferry_errkind::chain(&error)),
        };
        let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let kind = response.headers().get(header::UPGRADE).cloned();
        strip(response.headers_mut());
        if switched {
            let Some(client_side) = client_side else {
                return failed("it changes to another protocol unasked".to_owned());
            };
            let server_side = hyper::upgrade::on(&mut response);
            tokio::spawn(join(client_side, server_side));
            set_upgrade(response.headers_mut(), kind);
        } else {
            let kept = Kept { to: target, since: Instant::now(), sender };
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        *response.version_mut() = Version::HTTP_11;
        response.map(Either::Left)
    }

    /// A connection to a container: the last request's, if it goes on there.
    async fn sender(&self, to: SocketAddr) -> Result<SendRequest<Incoming>, String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut kept) = kept.filter(|kept| kept.to == to && kept.since.elapsed() < REUSE)
            && kept.sender.ready().await.is_ok()
        {
            return Ok(kept.sender);
        }
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(to)).await;
        let stream = match connected {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err(format!("no answer in {} s", CONNECT_TIMEOUT.as_secs())),
        };
        // As for the client's own connection.
        drop(stream.set_nodelay(true));
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|error| ferry_errkind::chain(&error))?;
        // Ends with the sender, and with the protocol that an upgrade leads to.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!("a connection of the proxy to {to} ended: {error}");
            }
        });
        Ok(sender)
    }

    /// The request as the container gets it.
    fn onward(
        &self,
        request: Request<Incoming>,
        host: &str,
        upgrade: Option<HeaderValue>,
    ) -> Request<Incoming> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let said = parts.headers.get(header::HOST).cloned();
        // What was a path before is one now.
        parts.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
        parts.version = Version::HTTP_11;
        let headers = &mut parts.headers;
        strip(headers);
        // It was answered here when the body was asked for.
        headers.remove(header::EXPECT);
        if let Some(said) = said.or_else(|| HeaderValue::from_str(host).ok()) {
            headers.insert(HeaderName::from_static("x-forwarded-host"), said.clone());
            headers.insert(header::HOST, said);
        }
        // Whatever the client says about its way here: the way begins here.
        headers.remove(header::FORWARDED);
        if let Ok(peer) = HeaderValue::from_str(&self.peer.to_canonical().to_string()) {
            headers.insert(HeaderName::from_static("x-forwarded-for"), peer);
        }
        let scheme = HeaderValue::from_static(self.scheme());
        headers.insert(HeaderName::from_static("x-forwarded-proto"), scheme);
        headers.insert(HeaderName::from_static("x-forwarded-port"), self.port.into());
        headers.append(header::VIA, HeaderValue::from_static("1.1 ferry-names"));
        set_upgrade(headers, upgrade);
        Request::from_parts(parts, body)
    }
}

/// The host that a request is for: without port and the dot at its end, in small letters.
fn host_of(request: &Request<Incoming>) -> Option<String> {
    let said = match request.uri().authority() {
        Some(authority) => authority.as_str(),
        None => request.headers().get(header::HOST)?.to_str().ok()?,
    };
    Some(bare(said)).filter(|host| !host.is_empty())
}

fn bare(said: &str) -> String {
    let host = match said.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => said,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What is before `.localhost`.
fn name_of(host: &str) -> Option<&str> {
    host.strip_suffix(".localhost").filter(|name| !name.is_empty())
}

/// One of the containers that can be asked, else why none can.
fn choose(found: Vec<HostName>) -> Result<(String, SocketAddr), String> {
    let mut able = Vec::new();
    let mut whys = Vec::new();
    for one in found {
        match one.target {
            Ok(target) => able.push((one.container, target)),
            Err(why) => whys.push(why),
        }
    }
    if able.is_empty() {
        return Err(whys.join("; "));
    }
    let turn = TURN.fetch_add(1, Ordering::Relaxed) % able.len();
    Ok(able.swap_remove(turn))
}

fn came_from_here(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::VIA)
        .iter()
        .any(|via| via.to_str().is_ok_and(|via| via.contains(OURSELVES)))
}

/// Whether any of the header's lists has that word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|own| own.trim().eq_ignore_ascii_case(word))
}

fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = lists(headers, &header::CONNECTION, "upgrade");
    headers.get(header::UPGRADE).filter(|_| wanted).cloned()
}

fn set_upgrade(headers: &mut HeaderMap, kind: Option<HeaderValue>) {
    if let Some(kind) = kind {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, kind);
    }
}

/// Takes away what is about the connection, and what the connection's own header names.
fn strip(headers: &mut HeaderMap) {
    let trailers = lists(headers, &header::TE, "trailers");
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Carries bytes both ways once both sides have changed to another protocol.
async fn join(client: OnUpgrade, server: OnUpgrade) {
    let (client, server) = match tokio::try_join!(client, server) {
        Ok(sides) => sides,
        Err(error) => return tracing::debug!("an upgrade through the proxy failed: {error}"),
    };
    let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
    if let Err(error) = copy_bidirectional(&mut client, &mut server).await {
        tracing::debug!("an upgraded connection of the proxy ended: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_known_by_its_name_alone() {
        for (said, host) in [
            ("Web.Shop.localhost:8080", "web.shop.localhost"),
            ("web.localhost.", "web.localhost"),
            ("[::1]:80", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(bare(said), host);
        }
        assert_eq!(name_of("web.shop.localhost"), Some("web.shop"));
        assert_eq!(name_of("localhost"), None);
        assert_eq!(name_of(".localhost"), None);
        assert_eq!(name_of("web.localhost.evil.example"), None);
    }

    #[test]
    fn what_is_about_the_connection_stays_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers, deflate"),
            ("accept", "*/*"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert!(wanted_upgrade(&headers).is_none());
        strip(&mut headers);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers[header::TE], "trailers");
        headers.insert("connection", HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert("upgrade", HeaderValue::from_static("websocket"));
        assert_eq!(wanted_upgrade(&headers).unwrap(), "websocket");
    }

    #[test]
    fn containers_of_one_name_take_turns() {
        let one = |name: &str, port| HostName {
            name: "web.shop".to_owned(),
            container: name.to_owned(),
            target: Ok(SocketAddr::from(([127, 0, 0, 1], port))),
        };
        let chosen: std::collections::BTreeSet<String> =
            (0..2).map(|_| choose(vec![one("a", 1), one("b", 2)]).unwrap().0).collect();
        assert_eq!(chosen.len(), 2);
        let ended = HostName { target: Err("container a is exited".to_owned()), ..one("a", 1) };
        assert_eq!(choose(vec![ended]).unwrap_err(), "container a is exited");
    }
}

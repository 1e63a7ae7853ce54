//! One question, or one deed, from inside the pod's network.

use std::{net::UdpSocket, time::Duration};

use bytes::Bytes;
use ferry_client::{Client, Stream, TlsFiles};
use http::{Request, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::{exec, probes::Action};

/// Why something was not what it should be.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The container said so.
    No(String),
    /// The question did not come to the container. As for a kubelet that says nothing about it.
    Unasked(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Refusal::No(why) | Refusal::Unasked(why)) = self;
        out.write_str(why)
    }
}

/// Does it; why it did not succeed. Time limits are the caller's.
pub(super) async fn ask(client: &Client, container: &str, action: &Action) -> Result<(), Refusal> {
    let answer = match action {
        Action::Exec(command) => match exec::run(client, container, command).await {
            Ok(Some(0)) => Ok(()),
            Ok(Some(code)) => Err(format!("exit code {code}")),
            Ok(None) => return Err(Refusal::Unasked("nobody knows how it ended".to_owned())),
            Err(error) => return Err(Refusal::Unasked(error.message())),
        },
        Action::Http { tls, host, port, path, headers } => match connect(host, *port).await {
            Ok(stream) => page(stream, *tls, path, headers).await,
            Err(why) => Err(why),
        },
        Action::Tcp { host, port } => connect(host, *port).await.map(drop),
        Action::Grpc { port, service } => health(*port, service).await,
        Action::Sleep(seconds) => {
            tokio::time::sleep(Duration::from_secs(*seconds)).await;
            Ok(())
        }
    };
    answer.map_err(Refusal::No)
}

/// The pod's own address, as others see it; nothing is sent.
fn address() -> String {
    let socket = UdpSocket::bind(("0.0.0.0", 0));
    let own = socket.and_then(|socket| {
        socket.connect(("192.0.2.1", 9))?;
        socket.local_addr()
    });
    own.map_or_else(|_| "127.0.0.1".to_owned(), |own| own.ip().to_string())
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let host = if host.is_empty() { address() } else { host.to_owned() };
    let stream = TcpStream::connect((host.as_str(), port)).await;
    stream.map_err(|error| format!("cannot connect to {host} port {port}: {error}"))
}

/// A page is good if its status is from 200 to 399. With TLS nobody asks whose certificate it is, as a kubelet does not.
async fn page(
    stream: TcpStream,
    tls: bool,
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let peer = stream.peer_addr();
    let (ip, peer) = peer.map_or_else(
        |_| ("localhost".to_owned(), "localhost".to_owned()),
        |peer| (peer.ip().to_string(), peer.to_string()),
    );
    let stream = if tls {
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.map_or(ip.as_str(), |(_, host)| host);
        // A port is no part of a name; an address of IPv6 has more colons.
        let host = host
            .split_once(':')
            .filter(|(_, port)| !port.contains(':'))
            .map_or(host, |(name, _)| name);
        let secured = TlsFiles::ANYBODY.connect(stream, host).await;
        secured.map_err(|error| format!("no TLS with {peer}: {error}"))?
    } else {
        Stream::Tcp(stream)
    };
    let mut request = Request::get(path);
    let has = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    if !has("host") {
        request = request.header(header::HOST, peer);
    }
    if !has("user-agent") {
        request = request.header(header::USER_AGENT, concat!("ferry/", env!("CARGO_PKG_VERSION")));
    }
    if !has("accept") {
        request = request.header(header::ACCEPT, "*/*");
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let served = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| error.to_string());
    served.abort();
    match answer?.status() {
        status if status.is_success() || status.is_redirection() => Ok(()),
        status => Err(format!("HTTP status {}", status.as_u16())),
    }
}

/// `grpc.health.v1.Health/Check` without TLS: serving is number 1 of field 1.
async fn health(port: u16, service: &str) -> Result<(), String> {
    let words = |error: hyper::Error| error.to_string();
    let stream = connect("", port).await?;
    let io = TokioIo::new(stream);
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), io).await.map_err(words)?;
    let served = tokio::spawn(connection);
    let mut message = Vec::new();
    if !service.is_empty() {
        let length = u8::try_from(service.len()).ok().filter(|length| *length < 128);
        message.extend([0x0a, length.ok_or("the service's name is too long")?]);
        message.extend(service.as_bytes());
    }
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    body.extend(message);
    let request = Request::post(format!("http://localhost:{port}/grpc.health.v1.Health/Check"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(words)?;
    let early = status(answer.headers());
    let collected = answer.into_body().collect().await.map_err(words)?;
    let code = collected.trailers().and_then(status).or(early);
    served.abort();
    match (code.as_deref(), collected.to_bytes().get(5..)) {
        (Some("0"), Some([0x08, 1, ..])) => Ok(()),
        (Some("0"), _) => Err("the service is not serving".to_owned()),
        (code, _) => Err(format!("gRPC status {}", code.unwrap_or("unknown"))),
    }
}

fn status(headers: &http::HeaderMap) -> Option<String> {
    headers.get("grpc-status")?.to_str().ok().map(str::to_owned)
}

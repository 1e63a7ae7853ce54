//! HTTP in front of the streams: a path with a token, and an upgrade to WebSocket or SPDY.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use super::{Streams, Ticket, spdy, websocket};

type Answer = Response<Full<Bytes>>;

/// How long a client may take to send its request.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) async fn serve(streams: Weak<Streams>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let Some(streams) = streams.upgrade() else { return };
                tokio::spawn(connection(streams, stream));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a streaming connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(streams: Arc<Streams>, stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| answer(Arc::clone(&streams), request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a streaming connection ended");
    }
}

async fn answer(streams: Arc<Streams>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    let upgrade = upgrade.map(str::to_ascii_lowercase).unwrap_or_default();
    if !matches!(upgrade.as_str(), "websocket" | "spdy/3.1") {
        return Ok(words(
            StatusCode::BAD_REQUEST,
            "unable to upgrade: give Upgrade: websocket or SPDY/3.1",
        ));
    }
    let Some(ticket) = streams.redeem(request.uri().path()) else {
        return Ok(words(StatusCode::NOT_FOUND, "404 page not found"));
    };
    let engine = streams.engine.clone();
    Ok(match upgrade.as_str() {
        "websocket" => websocket::upgrade(engine, ticket, request),
        _ => spdy::upgrade(engine, ticket, request),
    })
}

/// An answer in words.
pub(super) fn words(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *answer.status_mut() = status;
    answer
}

/// The answer that begins an upgrade.
pub(super) fn switching(upgrade: &'static str, more: &[(&'static str, String)]) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static(upgrade));
    for (name, value) in more {
        if let Ok(value) = value.parse() {
            headers.insert(*name, value);
        }
    }
    answer
}

/// The first of our protocols that a client offers in this header, which may be there several times.
pub(super) fn chosen<'p>(
    request: &Request<Incoming>,
    name: &str,
    ours: &[&'p str],
) -> Option<&'p str> {
    let values = request.headers().get_all(name).into_iter();
    let offered: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    ours.iter().find(|own| offered.contains(own)).copied()
}

/// The protocols of a ticket over SPDY, the best first.
pub(super) fn protocols(ticket: &Ticket) -> &'static [&'static str] {
    match ticket {
        Ticket::Forward(_) => &["portforward.k8s.io"],
        Ticket::Exec(_) | Ticket::Attach(_) => &["v5.channel.k8s.io", "v4.channel.k8s.io"],
    }
}

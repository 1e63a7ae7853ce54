//! Streams of the Engine API over WebSockets: logs, events, pulls, and terminals.
//!
//! Browsers open only six connections of HTTP/1.1 to a server at once, and none in both directions. So the page opens a WebSocket and
//! sends, as text, which request it means: `{"method":"GET","path":"/events","hijack":false,"body":null}`. The first answer is text,
//! too: `{"status":200}`, or the failure with `message`. What follows is binary in both directions, until one side closes.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use ferry_client::{Answer, ClientError, Hijacked};
use futures_util::{FutureExt, SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, StatusCode, header};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::broadcast::error::RecvError,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use crate::{
    errand,
    proxy::words,
    reply::{Reply, failure, reply, set},
    server::Shared,
};

/// A message of the page: keystrokes, a paste, a request.
const MESSAGE_LIMIT: usize = 4 << 20;
/// Bytes of a terminal in one message.
const PIECE: usize = 32 << 10;
/// Bytes of a stream in one message.
const BATCH: usize = 256 << 10;
/// RFC 6455, 1.3.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Our own stream beside the API's: what all containers use.
const USAGE: &str = "/usage";
/// And another: what Compose says while it does something.
const COMPOSE: &str = "/compose";

pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What the page asks a tunnel for.
#[derive(Debug, Deserialize)]
struct Wanted {
    method: String,
    path: String,
    #[serde(default)]
    hijack: bool,
    #[serde(default)]
    body: Option<Value>,
    /// `X-Registry-Auth`, for pulls and pushes.
    #[serde(default)]
    auth: Option<String>,
}

/// Answers the handshake and goes on with the tunnel.
pub(crate) fn open(shared: &Arc<Shared>, mut request: Request<Incoming>) -> Reply {
    let Some(key) = key(request.headers()) else {
        return failure(400, "a WebSocket handshake is expected here", None);
    };
    let accept = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{MAGIC}").as_bytes());
    let shared = Arc::clone(shared);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_LIMIT))
            .max_frame_size(Some(MESSAGE_LIMIT));
        let io = TokioIo::new(upgraded);
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        // The browser has gone in the middle of it: there is nobody to tell.
        drop(run(socket, &shared).await);
    });
    let mut reply = reply(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    set(&mut reply, header::CONNECTION, "Upgrade");
    set(&mut reply, header::UPGRADE, "websocket");
    set(&mut reply, header::SEC_WEBSOCKET_ACCEPT, &STANDARD.encode(accept));
    reply
}

fn key(headers: &HeaderMap) -> Option<&str> {
    let is = |name, wanted: &str| {
        headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| {
            value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted))
        })
    };
    let handshake = is(header::UPGRADE, "websocket")
        && is(header::CONNECTION, "upgrade")
        && is(header::SEC_WEBSOCKET_VERSION, "13");
    headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok().filter(|_| handshake)
}

pub(crate) type Broken = tokio_tungstenite::tungstenite::Error;

async fn run(mut socket: Socket, shared: &Shared) -> Result<(), Broken> {
    let Some(Ok(Message::Text(text))) = socket.next().await else { return Ok(()) };
    let wanted: Wanted = match serde_json::from_str(&text) {
        Ok(wanted) => wanted,
        Err(error) => return refuse(socket, 400, &format!("invalid request: {error}"), None).await,
    };
    if wanted.path == USAGE {
        return usage(socket, shared).await;
    }
    if wanted.path == COMPOSE {
        return errand::compose(socket, shared, wanted.body).await;
    }
    let Some(call) = call(shared, &wanted).await else {
        return refuse(socket, 400, "invalid request: method or path", None).await;
    };
    if wanted.hijack {
        match call.hijack().await {
            Ok(hijacked) => both_ways(socket, hijacked).await,
            Err(error) => refuse_error(socket, &error).await,
        }
    } else {
        match call.send().await {
            Ok(answer) => one_way(socket, answer).await,
            Err(error) => refuse_error(socket, &error).await,
        }
    }
}

async fn call(shared: &Shared, wanted: &Wanted) -> Option<ferry_client::Call> {
    let method = match wanted.method.as_str() {
        "GET" => Method::GET,
        "POST" => Method::POST,
        _ => return None,
    };
    let clean = wanted.path.bytes().all(|byte| byte.is_ascii_graphic());
    if !clean || !wanted.path.starts_with('/') {
        return None;
    }
    let (path, query) = wanted.path.split_once('?').unwrap_or((&wanted.path, ""));
    let auth = match &wanted.auth {
        Some(auth) => Some(auth.clone()),
        None => shared.login_for(&method, path, Some(query)).await,
    };
    let mut call = shared.client.request(method, &wanted.path);
    if let Some(auth) = &auth {
        call = call.header("X-Registry-Auth", auth.as_str());
    }
    Some(match &wanted.body {
        Some(body) => call.json_body(body),
        None => call,
    })
}

async fn refuse_error(socket: Socket, error: &ClientError) -> Result<(), Broken> {
    let (status, message, hint) = words(error);
    refuse(socket, status, &message, hint).await
}

pub(crate) async fn refuse(
    mut socket: Socket,
    status: u16,
    message: &str,
    hint: Option<String>,
) -> Result<(), Broken> {
    let text = json!({ "status": status, "message": message, "hint": hint }).to_string();
    socket.send(Message::text(text)).await?;
    socket.close(None).await
}

/// The daemon speaks, until it has said everything or the page closes.
async fn one_way(mut socket: Socket, mut answer: Answer) -> Result<(), Broken> {
    let raw = answer.header("content-type") == Some("application/vnd.docker.raw-stream");
    let head = json!({ "status": answer.status(), "raw": raw }).to_string();
    socket.send(Message::text(head)).await?;
    let mut next: Option<Said> = None;
    loop {
        tokio::select! {
            piece = async {
                match next.take() {
                    Some(said) => said,
                    None => answer.chunk().await,
                }
            } => match piece {
                Ok(Some(piece)) => {
                    let (pieces, said) = batch(&mut answer, piece);
                    socket.send(Message::binary(pieces)).await?;
                    next = said;
                }
                Ok(None) => return socket.close(None).await,
                Err(error) => {
                    let (status, message, _) = words(&error);
                    let text = json!({ "status": status, "message": message }).to_string();
                    socket.send(Message::text(text)).await?;
                    return socket.close(None).await;
                }
            },
            message = socket.next() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

/// What the daemon says next: a piece, the end, or a failure.
type Said = Result<Option<Bytes>, ClientError>;

/// A piece with those behind it that are there already, and what came instead of a further one. A long log comes line by line, and
/// a message for each line would take a minute.
fn batch(answer: &mut Answer, first: Bytes) -> (Bytes, Option<Said>) {
    let mut all = BytesMut::from(first);
    while all.len() < BATCH {
        match answer.chunk().now_or_never() {
            Some(Ok(Some(more))) => all.extend_from_slice(&more),
            other => return (all.freeze(), other),
        }
    }
    (all.freeze(), None)
}

/// What all containers use, for as long as the page looks.
async fn usage(mut socket: Socket, shared: &Shared) -> Result<(), Broken> {
    let (history, mut samples) = shared.usage.subscribe(&shared.client);
    socket.send(Message::text(json!({ "status": 200 }).to_string())).await?;
    for sample in history {
        socket.send(Message::binary(sample)).await?;
    }
    loop {
        tokio::select! {
            sample = samples.recv() => match sample {
                Ok(sample) => socket.send(Message::binary(sample)).await?,
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return socket.close(None).await,
            },
            message = socket.next() => match message {
                None | Some(Err(_) | Ok(Message::Close(_))) => return Ok(()),
                Some(Ok(_)) => {}
            },
        }
    }
}

/// A terminal: bytes go both ways.
async fn both_ways(socket: Socket, hijacked: Hijacked) -> Result<(), Broken> {
    let Hijacked { stream, early } = hijacked;
    let (mut to_page, mut from_page) = socket.split();
    let (mut from_daemon, mut to_daemon) = tokio::io::split(stream);
    to_page.send(Message::text(json!({ "status": 101 }).to_string())).await?;
    if !early.is_empty() {
        to_page.send(Message::binary(early)).await?;
    }
    let down = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(count @ 1..) = from_daemon.read(&mut buffer).await {
            to_page.send(Message::binary(buffer[..count].to_vec())).await?;
        }
        to_page.close().await
    };
    let up = async {
        while let Some(Ok(message)) = from_page.next().await {
            match message {
                Message::Binary(bytes) => drop(to_daemon.write_all(&bytes).await),
                // An empty text is the end of the input.
                Message::Text(_) => drop(to_daemon.shutdown().await),
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    tokio::select! {
        done = down => done,
        () = up => Ok(()),
    }
}

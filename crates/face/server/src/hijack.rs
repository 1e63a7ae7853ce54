//! Connections that leave HTTP: after `101 UPGRADED` (or `200` to a client that asked for no upgrade) they carry a container's
//! streams, bytes both ways. The client's half-close is end of input; output goes on until the container closes it.

use std::{future::Future, os::fd::AsFd, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::{
    ext::ReasonPhrase,
    upgrade::{OnUpgrade, Parts, Upgraded},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, unix::AsyncFd},
    net::{
        TcpStream, UnixStream,
        unix::{ReadHalf, WriteHalf},
    },
    sync::mpsc,
};

use crate::{
    body::Body,
    detach::{DetachKeys, Typed},
    reply::Reply,
    request::Request,
    request_body::RequestBody,
    splice::{Pipe, Socket},
};

/// Output is moved in pieces of this size: the kernel's default socket buffer, so that one read empties one.
const OUTPUT_BUFFER: usize = 256 << 10;
const INPUT_BUFFER: usize = 64 << 10;
/// How long a client may take to close after the end of the output.
const PARTING: Duration = Duration::from_secs(2);

/// What becomes of the client's bytes.
#[derive(Debug)]
pub(crate) enum Input {
    /// They go nowhere.
    None,
    /// They are the container's standard input.
    Stdin,
    /// They are typed at a terminal; these keys detach.
    Terminal(DetachKeys),
}

/// A client whose connection is about to be handed over.
pub(crate) enum PendingClient {
    Upgrade { upgrade: OnUpgrade, pause: Duration },
    Plain { body: RequestBody, answer: mpsc::Sender<Bytes> },
}

/// A client whose connection is ours.
pub(crate) enum Client {
    Unix {
        stream: UnixStream,
        early: Bytes,
    },
    Tcp {
        stream: TcpStream,
        early: Bytes,
    },
    /// TLS.
    Other(TokioIo<Upgraded>),
    /// A client that asked for no upgrade: the request's body is input, the answer's body is output.
    Plain {
        body: RequestBody,
        answer: mpsc::Sender<Bytes>,
    },
}

/// Takes the connection over: the answer to send, and the client to wait for.
pub(crate) fn hijack(request: Request, multiplexed: bool) -> (Reply, PendingClient) {
    let kind = HeaderValue::from_static(if multiplexed {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    });
    match request.upgrade {
        Some(upgrade) => {
            let mut reply = Reply::new(Body::empty());
            *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            reply.extensions_mut().insert(ReasonPhrase::from_static(b"UPGRADED"));
            let headers = reply.headers_mut();
            headers.insert(header::CONTENT_TYPE, kind);
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
            (reply, PendingClient::Upgrade { upgrade, pause: pause_for(&request.headers) })
        }
        None => {
            let (answer, pieces) = mpsc::channel(4);
            let mut reply = Reply::new(Body::Pieces(pieces));
            // No chunks: what follows the headers are the container's bytes until the connection closes.
            *reply.version_mut() = Version::HTTP_10;
            let raw = HeaderValue::from_static("application/vnd.docker.raw-stream");
            reply.headers_mut().insert(header::CONTENT_TYPE, raw);
            (reply, PendingClient::Plain { body: request.body, answer })
        }
    }
}

/// docker-py reads an answer's headers through a buffer and the stream past it: what comes in one piece with the headers is
/// lost to it. dockerd is too slow for that to happen.
fn pause_for(headers: &HeaderMap) -> Duration {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let is_python = agent.is_some_and(|agent| agent.starts_with("docker-sdk-python"));
    Duration::from_millis(if is_python { 25 } else { 0 })
}

impl PendingClient {
    /// Waits until the answer's headers are sent; `None` when the client left before.
    pub(crate) async fn ready(self) -> Option<Client> {
        let upgraded = match self {
            PendingClient::Plain { body, answer } => return Some(Client::Plain { body, answer }),
            PendingClient::Upgrade { upgrade, pause } => {
                let upgraded = upgrade.await.ok()?;
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                upgraded
            }
        };
        let upgraded = match upgraded.downcast::<TokioIo<UnixStream>>() {
            Ok(Parts { io, read_buf, .. }) => {
                return Some(Client::Unix { stream: io.into_inner(), early: read_buf });
            }
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(Parts { io, read_buf, .. }) => {
                Some(Client::Tcp { stream: io.into_inner(), early: read_buf })
            }
            Err(upgraded) => Some(Client::Other(TokioIo::new(upgraded))),
        }
    }
}

impl Client {
    /// Sends bytes; false when the client left.
    pub(crate) async fn send(&mut self, bytes: Bytes) -> bool {
        match self {
            Client::Unix { stream, .. } => stream.write_all(&bytes).await.is_ok(),
            Client::Tcp { stream, .. } => stream.write_all(&bytes).await.is_ok(),
            Client::Other(stream) => stream.write_all(&bytes).await.is_ok(),
            Client::Plain { answer, .. } => answer.send(bytes).await.is_ok(),
        }
    }

    /// Returns when the client has closed its connection in whole, not only its sending half.
    pub(crate) async fn gone(&mut self) {
        match self {
            Client::Unix { stream, .. } => hung_up(stream).await,
            Client::Tcp { stream, .. } => hung_up(stream).await,
            // TLS tells no difference from here: the next write will.
            Client::Other(_) => std::future::pending().await,
            Client::Plain { answer, .. } => answer.closed().await,
        }
    }

    /// Ends the output.
    pub(crate) async fn close(self) {
        // A client that has left already does not mind.
        match self {
            Client::Unix { mut stream, .. } => drop(stream.shutdown().await),
            Client::Tcp { mut stream, .. } => drop(stream.shutdown().await),
            Client::Other(mut stream) => drop(stream.shutdown().await),
            Client::Plain { .. } => {}
        }
    }

    /// Connects the client with a container's streams until the output ends, the client leaves, or it detaches. True when it
    /// detached.
    pub(crate) async fn pump(self, mut container: UnixStream, input: Input) -> bool {
        let (mut from, mut to) = container.split();
        match self {
            Client::Unix { mut stream, early } => {
                let gone = hung_up_fd(stream.as_fd().try_clone_to_owned().ok());
                let (mut reader, mut writer) = stream.split();
                let output = move_output(from.as_ref(), writer.as_ref());
                let detached = both(early, &mut reader, &mut to, gone, input, output).await;
                part(&mut reader, &mut writer).await;
                detached
            }
            Client::Tcp { mut stream, early } => {
                let gone = hung_up_fd(stream.as_fd().try_clone_to_owned().ok());
                let (mut reader, mut writer) = stream.split();
                let output = move_output(from.as_ref(), writer.as_ref());
                let detached = both(early, &mut reader, &mut to, gone, input, output).await;
                part(&mut reader, &mut writer).await;
                detached
            }
            Client::Other(stream) => {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let (early, gone) = (Bytes::new(), std::future::pending());
                let output = copy_output(&mut from, &mut writer);
                let detached = both(early, &mut reader, &mut to, gone, input, output).await;
                part(&mut reader, &mut writer).await;
                detached
            }
            Client::Plain { body, answer } => run_plain(body, answer, from, to, input).await,
        }
    }
}

/// Both directions in one task: `output` ends it, or the client by leaving or detaching. True when it detached.
async fn both<R: AsyncRead + Unpin>(
    early: Bytes,
    reader: &mut R,
    to: &mut WriteHalf<'_>,
    gone: impl Future<Output = ()>,
    mut input: Input,
    output: impl Future<Output = ()>,
) -> bool {
    let typed = async {
        let mut detached = pass_on(&mut input, &early, to).await;
        let mut buffer = vec![0; INPUT_BUFFER];
        while !detached && let Ok(len @ 1..) = reader.read(&mut buffer).await {
            detached = pass_on(&mut input, &buffer[..len], to).await;
        }
        if !detached {
            end_of_input(&input, to).await;
            gone.await;
        }
        detached
    };
    tokio::select! {
        () = output => false,
        detached = typed => detached,
    }
}

/// Output to a socket: the kernel moves it. That it ends early means that the client is gone.
async fn move_output(from: &UnixStream, to: &impl Socket) {
    let moved = async { Pipe::new()?.move_all(from, to).await }.await;
    if let Err(error) = moved {
        tracing::debug!("output to a client: {error}");
    }
}

/// Output through TLS.
async fn copy_output<W: AsyncWrite + Unpin>(from: &mut ReadHalf<'_>, writer: &mut W) {
    let mut buffer = vec![0; OUTPUT_BUFFER];
    while let Ok(len @ 1..) = from.read(&mut buffer).await {
        if writer.write_all(&buffer[..len]).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

/// Ends the output, and takes what the client still sends until it closes, too: a socket that is closed with unread input tells the
/// other side of a reset connection instead of an end.
async fn part<R, W>(reader: &mut R, writer: &mut W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    // An error means that the client has left already.
    if writer.shutdown().await.is_ok() {
        let mut buffer = [0; 4096];
        let rest = async { while let Ok(1..) = reader.read(&mut buffer).await {} };
        drop(tokio::time::timeout(PARTING, rest).await);
    }
}

/// As [`both`], for a client that asked for no upgrade. One that sends no body has not closed its standard input: it has none.
async fn run_plain(
    mut body: RequestBody,
    answer: mpsc::Sender<Bytes>,
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut input: Input,
) -> bool {
    let output = async {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(OUTPUT_BUFFER);
            match from.read_buf(&mut buffer).await {
                Ok(1..) if answer.send(buffer.split().freeze()).await.is_ok() => {}
                _ => break,
            }
        }
    };
    let typed = async {
        let mut had_body = false;
        while let Some(Ok(frame)) = body.frame().await {
            had_body = true;
            if let Ok(bytes) = frame.into_data()
                && pass_on(&mut input, &bytes, &mut to).await
            {
                return true;
            }
        }
        if had_body {
            end_of_input(&input, &mut to).await;
        }
        answer.closed().await;
        false
    };
    tokio::select! {
        () = output => false,
        detached = typed => detached,
    }
}

/// Gives input to the container; true when the detach keys were typed. That the container does not read any more is no reason
/// to stop its output.
async fn pass_on<W: AsyncWrite + Unpin>(input: &mut Input, bytes: &[u8], to: &mut W) -> bool {
    if bytes.is_empty() {
        return false;
    }
    match input {
        Input::None => false,
        Input::Stdin => {
            drop(to.write_all(bytes).await);
            false
        }
        Input::Terminal(keys) => match keys.typed(bytes) {
            Typed::Pass(bytes) => {
                drop(to.write_all(&bytes).await);
                false
            }
            Typed::Detach(bytes) => {
                drop(to.write_all(&bytes).await);
                true
            }
        },
    }
}

async fn end_of_input<W: AsyncWrite + Unpin>(input: &Input, to: &mut W) {
    if !matches!(input, Input::None) {
        drop(to.shutdown().await);
    }
}

async fn hung_up(stream: &impl AsFd) {
    hung_up_fd(stream.as_fd().try_clone_to_owned().ok()).await;
}

/// Waits for EPOLLHUP, which the kernel reports when both directions are closed, and only then. Interest in priority data keeps
/// ordinary input and half-closes from waking us. The descriptor is a duplicate because epoll knows the other one already.
async fn hung_up_fd(fd: Option<std::os::fd::OwnedFd>) {
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe for types whose descriptor may close or change; an OwnedFd's does not"
    )]
    let watch = |fd| AsyncFd::with_interest(fd, Interest::PRIORITY).ok();
    let Some(watched) = fd.and_then(watch) else { return std::future::pending().await };
    while let Ok(mut guard) = watched.ready(Interest::PRIORITY).await {
        if guard.ready().is_read_closed() {
            return;
        }
        guard.clear_ready();
    }
}

#[cfg(test)]
mod tests;

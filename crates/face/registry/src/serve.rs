//! The socket, and its connections.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    direct::{Direct, Line},
    dispatch::{self, State},
};

/// Clients that keep connections open do so for less.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// A handshake that takes longer is none.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is on its way when the registry is told to end has so long.
const FAREWELL: Duration = Duration::from_secs(5);
/// A client that takes nothing of its answer for so long is gone, and its connection is another's.
const STALL: Duration = Duration::from_secs(120);
/// What hyper holds of a connection at most.
const BUFFER: usize = 128 << 10;

/// A socket and how it is served.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Acceptor>,
    /// Most connections at once; further ones wait.
    pub(crate) connections: usize,
}

/// TLS, with a form for the log.
#[derive(Clone)]
pub(crate) struct Acceptor(pub(crate) TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Server {
    /// Serves until `stop` is ready.
    pub(crate) async fn run(self, state: Arc<State>, stop: impl Future<Output = ()>) {
        let mut tasks = JoinSet::new();
        let places = Arc::new(Semaphore::new(self.connections));
        tokio::pin!(stop);
        loop {
            let accept = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            tokio::select! {
                () = &mut stop => break,
                (place, accepted) = accept => match accepted {
                    Ok((stream, peer)) => {
                        let (state, tls) = (Arc::clone(&state), self.tls.clone());
                        tasks.spawn(async move {
                            connection(state, tls, stream, peer).await;
                            drop(place);
                        });
                    }
                    Err(error) => pause(&error).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
        drop(self.listener);
        let all = async { while tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(FAREWELL, all).await);
    }
}

/// Out of descriptors, mostly: accepting again at once would only spin.
async fn pause(error: &io::Error) {
    tracing::warn!("cannot accept a connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

async fn connection(state: Arc<State>, tls: Option<Acceptor>, stream: TcpStream, peer: SocketAddr) {
    // Small answers would wait for the client's acknowledgement. It works without, only slower.
    drop(stream.set_nodelay(true));
    // The kernel ends a connection whose peer acknowledges nothing, or has no room for anything, for so long.
    let stall = u32::try_from(STALL.as_millis()).unwrap_or(u32::MAX);
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(&stream, stall) {
        tracing::debug!(%peer, "no timeout for a stalled client: {error}");
    }
    match tls {
        None => {
            let line = Line::default();
            let stream = Direct::new(stream, line.clone());
            http(state, stream, peer, Some(line)).await;
        }
        Some(Acceptor(tls)) => {
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => http(state, stream, peer, None).await,
                Ok(Err(error)) => tracing::debug!(%peer, "TLS handshake: {error}"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            }
        }
    }
}

async fn http<S>(state: Arc<State>, stream: S, peer: SocketAddr, line: Option<Line>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = builder(line.is_some());
    let service = service_fn(move |request| {
        let (answer, line) =
            (dispatch::answer(Arc::clone(&state), peer.ip(), request), line.clone());
        async move {
            let mut answer = answer.await?;
            if let Some(line) = &line {
                answer.body_mut().sent_by(line);
            }
            Ok::<_, std::convert::Infallible>(answer)
        }
    });
    let served = http.serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%peer, "connection: {error}");
    }
}

/// How HTTP is spoken. `direct`: on a connection that sends parts of files by itself.
fn builder(direct: bool) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .title_case_headers(true);
    if direct {
        // Pieces of bodies must come to the connection as they were given: joined to one text, a stand-in would be sent as it is.
        builder.writev(true);
    }
    builder
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, fs::File};

    use http::{Request, Response};
    use hyper::body::Incoming;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::body::Body;

    /// A part of `file`, as `/<from>-<to>` asks for it.
    async fn serve(stream: TcpStream, file: Arc<File>) {
        let line = Line::default();
        let service = service_fn(|request: Request<Incoming>| {
            let (file, line) = (Arc::clone(&file), line.clone());
            async move {
                let (from, to) = request.uri().path()[1..].split_once('-').unwrap();
                let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                let mut body = Body::part(file.try_clone().unwrap(), from, to - from);
                body.sent_by(&line);
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        let stream = Direct::new(stream, line.clone());
        builder(true).serve_connection(TokioIo::new(stream), service).await.unwrap();
    }

    #[tokio::test]
    async fn answers_on_one_connection_have_the_bytes_of_their_files() {
        let content: Vec<u8> = (0..(12 << 17) + 3_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let path = std::env::temp_dir().join(format!("ferry-serve-{}", std::process::id()));
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        std::fs::remove_file(path).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let served = tokio::spawn(serve(stream, file));
        // All asked for at once: long, short, in the middle, and the end.
        let whole = content.len();
        let parts = [(0, whole), (5, 105), (400_001, 400_001 + (1 << 20)), (whole - 70_000, whole)];
        let asked: Vec<String> = parts
            .iter()
            .enumerate()
            .map(|(at, (from, to))| {
                let end = if at + 1 == parts.len() { "Connection: close\r\n" } else { "" };
                format!("GET /{from}-{to} HTTP/1.1\r\nHost: x\r\n{end}\r\n")
            })
            .collect();
        client.write_all(asked.concat().as_bytes()).await.unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        served.await.unwrap();
        let mut rest = got.as_slice();
        for (from, to) in parts {
            let head = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
            let (head, body) = rest.split_at(head);
            assert!(head.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(head));
            let (body, other) = body.split_at(to - from);
            assert!(body == &content[from..to], "the bytes of {from} to {to} are others");
            rest = other;
        }
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
    }
}

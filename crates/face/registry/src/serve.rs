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
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%peer, "connection: {error}");
    }
}

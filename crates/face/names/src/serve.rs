//! The proxy's sockets, and connections on them.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use ferry_engine::{Engine, ops::names::Front as Place};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::proxy::Client;

/// Connections of one socket; further ones wait.
const CONNECTIONS: usize = 1024;
/// How long a connection may say nothing before its next request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// A handshake that takes longer is none.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a port is tried that a container has.
const RETRY: Duration = Duration::from_secs(1);
/// What hyper holds of a connection at most.
const BUFFER: usize = 128 << 10;

/// A socket of the proxy.
pub(crate) struct Front {
    pub(crate) place: Place,
    /// None where a container has the port.
    pub(crate) listener: Option<TcpListener>,
    pub(crate) tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls = self.tls.is_some();
        f.debug_struct("Front").field("listener", &self.listener).field("tls", &tls).finish()
    }
}

/// Takes connections until it is dropped, and they with it. When a container wants the port it gets it, and what was accepted goes on.
pub(crate) async fn run(engine: Engine, front: Front) {
    let Front { place: front, mut listener, tls } = front;
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let open = match listener.take() {
            Some(open) => open,
            None => again(&front).await,
        };
        let accept = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, open.accept().await)
        };
        tokio::select! {
            () = front.wanted() => {
                drop(open);
                tracing::info!("names: a container has {} now", front.address());
                front.listens(false);
                continue;
            }
            (place, accepted) = accept => match accepted {
                Ok((stream, peer)) => {
                    let (engine, tls) = (engine.clone(), tls.clone());
                    connections.spawn(async move {
                        connection(engine, tls, stream, peer).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    // Out of descriptors: others may give some back.
                    tracing::warn!(%error, "cannot accept a connection to the proxy");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
        listener = Some(open);
    }
}

/// Listens again as soon as nobody else does.
async fn again(front: &Place) -> TcpListener {
    loop {
        tokio::time::sleep(RETRY).await;
        if let Ok(listener) = TcpListener::bind(front.address()).await {
            front.listens(true);
            tracing::info!("names: served at {} again", front.address());
            return listener;
        }
    }
}

async fn connection(engine: Engine, tls: Option<TlsAcceptor>, stream: TcpStream, peer: SocketAddr) {
    // Small answers would wait for an acknowledgement; it works without, only slower.
    drop(stream.set_nodelay(true));
    let port = stream.local_addr().map_or(0, |address| address.port());
    let client = Client::new(engine, peer.ip(), port, tls.is_some());
    let Some(tls) = tls else { return http(client, stream).await };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
        Ok(Ok(stream)) => http(client, stream).await,
        Ok(Err(error)) => tracing::debug!(%peer, "TLS handshake with the proxy: {error}"),
        Err(_) => tracing::debug!(%peer, "TLS handshake with the proxy took too long"),
    }
}

async fn http<S>(client: Client, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let client = Arc::new(client);
    let service = service_fn(|request| {
        let client = Arc::clone(&client);
        async move { Ok::<_, Infallible>(client.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("a connection to the proxy ended: {error}");
    }
}

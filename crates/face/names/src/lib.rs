//! Names for people: a container `web` of a project `shop` answers on its host as `web.shop.localhost`.
//!
//! Knows: the engine's names (`ferry_engine::ops::names`), HTTP/1.1 as a reverse proxy, TLS with an authority of our own, DNS
//! messages about `.localhost`. Does not know: Docker's API, which container has which name, the firewall.
//! Start with [`Names::open`] and [`Names::serve`], then `proxy.rs`.
//!
//! Invariants:
//! - Nothing here runs, listens or writes unless [`Names::open`] is called.
//! - What cannot be had (a port that somebody has) is told and gone without: the daemon comes up in any case.
//! - A container that publishes a port of the proxy gets it, and the proxy has it back when the container has gone.
//! - Which container is meant is asked anew for each request, and nothing is remembered that could be wrong later.
//! - The authority signs names below `.localhost` only, and its certificate says that it can sign no others.

mod authority;
mod page;
mod proxy;
mod resolver;
mod serve;

use std::{io, net::SocketAddr, sync::Arc};

use ferry_engine::{
    Engine,
    ops::names::{self, Announcement},
};
use ferry_model::network::Protocol;
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{authority::Authority, serve::Front};

/// Where to listen; none of a kind is done without that kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesSettings {
    /// Addresses of the proxy.
    pub http: Vec<SocketAddr>,
    /// Addresses of the proxy with TLS.
    pub https: Vec<SocketAddr>,
    /// Addresses of the resolver.
    pub dns: Vec<SocketAddr>,
}

/// The sockets that could be had.
#[derive(Debug)]
pub struct Names {
    engine: Engine,
    fronts: Vec<Front>,
    udp: Vec<UdpSocket>,
    tcp: Vec<TcpListener>,
}

impl Names {
    /// Opens what can be had, and tells the engine of that and of the rest.
    pub async fn open(engine: Engine, settings: &NamesSettings) -> Names {
        let mut told = Announcement::default();
        let mut names = Names { engine, fronts: Vec::new(), udp: Vec::new(), tcp: Vec::new() };
        for address in &settings.http {
            if let Some(front) = names.front(*address, "HTTP", None, &mut told).await {
                told.http.push(front.place.address());
                names.fronts.push(front);
            }
        }
        if !settings.https.is_empty() {
            names.open_tls(&settings.https, &mut told).await;
        }
        for address in &settings.dns {
            names.open_dns(*address, &mut told).await;
        }
        for problem in &told.problems {
            tracing::warn!("names: {problem}");
        }
        names::announce(&names.engine, Some(told));
        names
    }

    async fn open_tls(&mut self, addresses: &[SocketAddr], told: &mut Announcement) {
        let directory = self.engine.config().data_root.join("names");
        let opened = tokio::task::spawn_blocking(move || Authority::open(&directory)).await;
        let authority = match opened {
            Ok(Ok(authority)) => authority,
            Ok(Err(error)) => {
                let words = format!("there is no TLS: {}", ferry_errkind::chain(&error));
                return told.problems.push(words);
            }
            Err(error) => return told.problems.push(format!("there is no TLS: {error}")),
        };
        told.authority = Some(authority.path().to_owned());
        authority.certificate().clone_into(&mut told.certificate);
        let config = match authority.server_config() {
            Ok(config) => TlsAcceptor::from(Arc::new(config)),
            Err(error) => return told.problems.push(format!("there is no TLS: {error}")),
        };
        for address in addresses {
            if let Some(front) = self.front(*address, "HTTPS", Some(config.clone()), told).await {
                told.https.push(front.place.address());
                self.fronts.push(front);
            }
        }
    }

    /// What a container has is waited for.
    async fn front(
        &self,
        address: SocketAddr,
        what: &str,
        tls: Option<TlsAcceptor>,
        told: &mut Announcement,
    ) -> Option<Front> {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!("{}", self.refused(address, what, Protocol::Tcp, &error));
                None
            }
            Err(error) => {
                told.problems.push(self.refused(address, what, Protocol::Tcp, &error));
                return None;
            }
        };
        // Port 0 is any.
        let actual = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let place = names::front(&self.engine, actual.unwrap_or(address));
        place.listens(listener.is_some());
        Some(Front { place, listener, tls })
    }

    async fn open_dns(&mut self, address: SocketAddr, told: &mut Announcement) {
        let udp = match UdpSocket::bind(address).await {
            Ok(udp) => udp,
            Err(error) => {
                let words = self.refused(address, "DNS", Protocol::Udp, &error);
                return told.problems.push(words);
            }
        };
        // Port 0 is for both whatever the first one got.
        let address = udp.local_addr().unwrap_or(address);
        self.udp.push(udp);
        told.dns.push(address);
        if let Some(listener) = self.tcp(address, "DNS", told).await {
            self.tcp.push(listener);
        }
    }

    async fn tcp(
        &self,
        address: SocketAddr,
        what: &str,
        told: &mut Announcement,
    ) -> Option<TcpListener> {
        match TcpListener::bind(address).await {
            Ok(listener) => Some(listener),
            Err(error) => {
                told.problems.push(self.refused(address, what, Protocol::Tcp, &error));
                None
            }
        }
    }

    fn refused(&self, at: SocketAddr, what: &str, protocol: Protocol, why: &io::Error) -> String {
        let holder = match why.kind() {
            io::ErrorKind::AddrInUse => names::holder(&self.engine, protocol, at),
            _ => None,
        };
        match holder {
            Some(holder) => format!("no {what} at {at}: {holder} has that port"),
            None => format!("no {what} at {at}: {why}"),
        }
    }

    /// Serves until `stop` is ready; what is on its way then is cut off.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) {
        let mut tasks = JoinSet::new();
        for front in self.fronts {
            tasks.spawn(serve::run(self.engine.clone(), front));
        }
        for socket in self.udp {
            tasks.spawn(resolver::udp(socket));
        }
        for listener in self.tcp {
            tasks.spawn(resolver::tcp(listener));
        }
        stop.await;
        // Whoever listens next finds the ports free.
        tasks.shutdown().await;
    }
}

/// Serves names as they are wanted, and otherwise when that changes, until `stop` is ready.
pub async fn follow(
    engine: Engine,
    mut current: Option<Names>,
    mut wanted: watch::Receiver<Option<NamesSettings>>,
    stop: impl Future<Output = ()> + Send,
) {
    tokio::pin!(stop);
    loop {
        let changed = async {
            if wanted.changed().await.is_err() {
                // Nobody is there who could change it.
                std::future::pending::<()>().await;
            }
        };
        let served = async {
            match current.take() {
                Some(names) => names.serve(changed).await,
                None => changed.await,
            }
        };
        tokio::select! {
            () = served => {}
            () = &mut stop => return,
        }
        let settings = wanted.borrow_and_update().clone();
        current = match settings {
            Some(settings) => Some(Names::open(engine.clone(), &settings).await),
            None => {
                names::announce(&engine, None);
                None
            }
        };
    }
}

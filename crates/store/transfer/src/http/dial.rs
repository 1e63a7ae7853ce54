//! Connections: TCP, TLS on top, a proxy in between.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{fault::Fault, location::Origin, proxy::Proxy, tls::handshake_fault};

/// Largest answer of a proxy to `CONNECT`.
const MAX_PROXY_ANSWER: usize = 16 << 10;
/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;

/// What HTTP is spoken on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How to reach an origin.
pub(crate) struct Route<'a> {
    pub(crate) origin: &'a Origin,
    pub(crate) proxy: Option<&'a Proxy>,
    /// There for https.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// For each step.
    pub(crate) patience: Duration,
}

impl Route<'_> {
    /// Opens a connection.
    pub(crate) async fn open(self) -> Result<Box<dyn Stream>, Fault> {
        let tcp = match self.proxy {
            None => connect(self.origin, self.patience).await?,
            Some(proxy) => {
                let reached = connect(&proxy.origin, self.patience).await;
                let tcp = reached.map_err(|fault| Fault::Proxy(fault.to_string()))?;
                if self.origin.https { self.tunnel(proxy, tcp).await? } else { tcp }
            }
        };
        let Some(tls) = self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.origin.host.clone())
            .map_err(|_| Fault::Lookup { host: self.origin.host.clone() })?;
        match timeout(self.patience, TlsConnector::from(tls).connect(name, tcp)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(handshake_fault(&error, &self.origin.host)),
            Err(_) => Err(Fault::Tls("handshake timeout".to_owned())),
        }
    }

    /// `CONNECT` (RFC 9110, 9.3.6).
    async fn tunnel(&self, proxy: &Proxy, mut tcp: TcpStream) -> Result<TcpStream, Fault> {
        let target = self.origin.host_and_port();
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &proxy.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        let exchange = async {
            tcp.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            // Byte by byte: what follows the head belongs to TLS.
            while !answer.ends_with(b"\r\n\r\n") && answer.len() < MAX_PROXY_ANSWER {
                answer.push(tcp.read_u8().await?);
            }
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match timeout(self.patience, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(Fault::Proxy(error.to_string())),
            Err(_) => return Err(Fault::Proxy("i/o timeout".to_owned())),
        };
        let head = String::from_utf8_lossy(&answer);
        let status = head.lines().next().unwrap_or_default();
        match status.split_once(' ') {
            Some((version, rest)) if version.starts_with("HTTP/1.") && rest.starts_with('2') => {
                Ok(tcp)
            }
            Some((_, rest)) => Err(Fault::Proxy(rest.to_owned())),
            None => Err(Fault::Proxy("malformed answer".to_owned())),
        }
    }
}

/// Tries the addresses of a host one after the other.
async fn connect(origin: &Origin, patience: Duration) -> Result<TcpStream, Fault> {
    let unknown = || Fault::Lookup { host: origin.host.clone() };
    let lookup = tokio::net::lookup_host((origin.host.as_str(), origin.port));
    let addresses: Vec<SocketAddr> = match timeout(patience, lookup).await {
        Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
        Ok(Err(_)) | Err(_) => return Err(unknown()),
    };
    // With many addresses none may use up the patience alone.
    let share = patience / u32::try_from(addresses.len().clamp(1, 3)).unwrap_or(1);
    let mut last = unknown();
    for address in addresses {
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).ok();
                return Ok(stream);
            }
            Ok(Err(error)) => Fault::connect(address, &error),
            Err(_) => Fault::ConnectTimeout { address },
        };
    }
    Err(last)
}

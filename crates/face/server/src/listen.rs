//! Sockets that the API is served on.

use std::{
    future::Future,
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use ferry_buildkit::BuildKit;
use ferry_engine::Engine;
use ferry_errkind::{ErrorKind, Kinded};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    dispatch::{self, Product, State},
    request::Peer,
    tls::{TlsError, TlsFiles},
};

/// Where the API is served: dockerd's `--host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:///run/ferry/ferry.sock`.
    Unix(PathBuf),
    /// `tcp://host:port`.
    Tcp(String),
    /// `fd://`: what whoever started the daemon has opened (systemd's socket activation).
    Inherited,
}

/// A text is no address. The words are dockerd's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Neither `unix://` nor `tcp://`.
    #[error("invalid bind address ({0}): unsupported proto '{1}'")]
    Protocol(String, String),
    /// Nothing behind the protocol, or no port.
    #[error("invalid bind address ({0})")]
    Format(String),
}

impl Kinded for InvalidAddress {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let format = || InvalidAddress::Format(text.to_owned());
        let (protocol, rest) = match text.split_once("://") {
            Some(split) => split,
            // dockerd takes a bare address for TCP.
            None => ("tcp", text),
        };
        match protocol {
            "unix" if rest.starts_with('/') => Ok(Address::Unix(PathBuf::from(rest))),
            "tcp" => {
                let (host, port) =
                    rest.trim_end_matches('/').rsplit_once(':').ok_or_else(format)?;
                port.parse::<u16>().map_err(|_| format())?;
                let host = if host.is_empty() { "localhost" } else { host };
                Ok(Address::Tcp(format!("{host}:{port}")))
            }
            "unix" => Err(format()),
            "fd" => Ok(Address::Inherited),
            other => Err(InvalidAddress::Protocol(text.to_owned(), other.to_owned())),
        }
    }
}

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("another daemon is listening on \"{0}\"")]
    InUse(PathBuf),
    /// The socket's directory could not be made.
    #[error("cannot make the directory of \"{path}\"")]
    MakeDirectory {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A socket that nobody listens on could not be removed.
    #[error("cannot remove the old socket \"{path}\"")]
    RemoveOld {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot listen on \"{address}\"")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Mode or group could not be set.
    #[error("cannot set the permissions of \"{path}\"")]
    Permissions {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such group. Docker's words.
    #[error("group {0} not found")]
    NoGroup(String),
    /// Nobody has opened a socket. Docker's words.
    #[error("no sockets found via socket activation: make sure the service was started by systemd")]
    NotInherited,
    /// TLS could not be set up.
    #[error("cannot serve TLS")]
    Tls(#[from] TlsError),
}

impl Kinded for BindError {
    fn kind(&self) -> ErrorKind {
        match self {
            BindError::InUse(_) => ErrorKind::Conflict,
            BindError::Tls(error) => error.kind(),
            BindError::NotInherited | BindError::NoGroup(_) => ErrorKind::InvalidArgument,
            BindError::MakeDirectory { .. }
            | BindError::RemoveOld { .. }
            | BindError::Listen { .. }
            | BindError::Permissions { .. } => ErrorKind::Internal,
        }
    }
}

/// An open socket.
pub struct Listener(Kind);

enum Kind {
    Unix(UnixListener, PathBuf),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Kind::Unix(_, path) => write!(f, "Listener({})", path.display()),
            Kind::Tcp(listener, tls) => write!(f, "Listener({listener:?}, tls: {})", tls.is_some()),
        }
    }
}

/// As dockerd's: clients keep connections open between requests, and this counts then, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(300);

/// A handshake that takes longer is none: whoever has no certificate must not hold descriptors of the daemon for ever.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Groups that may use the socket: the first that exists.
const GROUPS: [&str; 2] = ["ferry", "docker"];

impl Listener {
    /// Opens a socket. A unix socket belongs to `group` (or else the group `ferry` or `docker`, if there is one) and has mode
    /// 0660. TCP without TLS lets everybody who reaches it be root: the caller makes sure that the user insists.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(
        address: &Address,
        group: Option<&str>,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, BindError> {
        match address {
            Address::Unix(path) => bind_unix(path, group).await,
            Address::Tcp(text) => {
                let acceptor = tls.map(TlsFiles::acceptor).transpose()?;
                let listen =
                    |source| BindError::Listen { address: format!("tcp://{text}"), source };
                let listener = TcpListener::bind(text).await.map_err(listen)?;
                Ok(Listener(Kind::Tcp(listener, acceptor)))
            }
            Address::Inherited => Err(BindError::NotInherited),
        }
    }

    /// Takes a socket that somebody else has opened; it stays his.
    ///
    /// # Errors
    /// It does not listen, or is neither a unix nor a TCP socket.
    pub fn inherited(
        socket: std::os::fd::OwnedFd,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, BindError> {
        use rustix::net::{AddressFamily, sockopt};
        let listen = |source| BindError::Listen { address: "fd://".to_owned(), source };
        let family = sockopt::socket_domain(&socket).map_err(|errno| listen(errno.into()))?;
        if family == AddressFamily::UNIX {
            let listener = std::os::unix::net::UnixListener::from(socket);
            listener.set_nonblocking(true).map_err(listen)?;
            let listener = UnixListener::from_std(listener).map_err(listen)?;
            // Without a path: the file is not ours to remove.
            return Ok(Listener(Kind::Unix(listener, PathBuf::new())));
        }
        let acceptor = tls.map(TlsFiles::acceptor).transpose()?;
        let listener = std::net::TcpListener::from(socket);
        listener.set_nonblocking(true).map_err(listen)?;
        let listener = TcpListener::from_std(listener).map_err(listen)?;
        Ok(Listener(Kind::Tcp(listener, acceptor)))
    }

    /// Where it really listens: the port is known only now when 0 was asked for.
    pub fn address(&self) -> Address {
        match &self.0 {
            Kind::Unix(_, path) => Address::Unix(path.clone()),
            Kind::Tcp(listener, _) => Address::Tcp(
                listener.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            ),
        }
    }
}

async fn bind_unix(path: &Path, group: Option<&str>) -> Result<Listener, BindError> {
    let gid = find_group(group)?;
    if let Some(parent) = path.parent() {
        let make = |source| BindError::MakeDirectory { path: path.to_owned(), source };
        std::fs::create_dir_all(parent).map_err(make)?;
    }
    if UnixStream::connect(path).await.is_ok() {
        return Err(BindError::InUse(path.to_owned()));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BindError::RemoveOld { path: path.to_owned(), source: error });
        }
        _ => {}
    }
    let listen =
        |source| BindError::Listen { address: format!("unix://{}", path.display()), source };
    let listener = UnixListener::bind(path).map_err(listen)?;
    let permissions = |source| BindError::Permissions { path: path.to_owned(), source };
    if let Some(gid) = gid {
        rustix::fs::chown(path, None, Some(rustix::fs::Gid::from_raw(gid)))
            .map_err(|error| permissions(error.into()))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(permissions)?;
    Ok(Listener(Kind::Unix(listener, path.to_owned())))
}

/// Looks a group up in `/etc/group`: the binary is static and has no NSS.
fn find_group(group: Option<&str>) -> Result<Option<u32>, BindError> {
    let file = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let by_name = |name: &str| -> Option<u32> {
        let mut fields = file.lines().map(|line| line.split(':').collect::<Vec<_>>());
        let entry = fields.find(|fields| fields.first() == Some(&name))?;
        entry.get(2)?.parse().ok()
    };
    let usual = || GROUPS.iter().find_map(|name| by_name(name));
    match group.filter(|name| !name.is_empty()) {
        Some(name) => match by_name(name).or_else(|| name.parse().ok()) {
            Some(gid) => Ok(Some(gid)),
            // dockerd's own group need not exist, even where it is named.
            None if GROUPS.contains(&name) => Ok(usual()),
            None => Err(BindError::NoGroup(name.to_owned())),
        },
        None => Ok(usual()),
    }
}

/// Serves the API on an open socket until `stop` is ready. Requests that are being answered then get a moment. All sockets share one
/// `buildkit`: a client may open a build's two connections on different ones.
pub async fn serve(
    engine: Engine,
    buildkit: BuildKit,
    product: Product,
    listener: Listener,
    stop: impl Future<Output = ()>,
) {
    let state = Arc::new(State::new(engine, buildkit, product));
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => break,
            accepted = accept(&listener) => match accepted {
                Ok(accepted) => drop(connections.spawn(accepted.serve(Arc::clone(&state)))),
                Err(error) => {
                    // Out of descriptors, mostly: accepting again at once would only spin.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    if let Kind::Unix(_, path) = &listener.0
        && !path.as_os_str().is_empty()
    {
        // Nobody can be helped by an error here.
        drop(std::fs::remove_file(path));
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    drop(tokio::time::timeout(Duration::from_millis(300), all).await);
}

/// A connection that has just come in.
enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream, Option<TlsAcceptor>),
}

async fn accept(listener: &Listener) -> io::Result<Accepted> {
    match &listener.0 {
        Kind::Unix(listener, _) => {
            listener.accept().await.map(|(stream, _)| Accepted::Unix(stream))
        }
        Kind::Tcp(listener, tls) => {
            let (stream, _) = listener.accept().await?;
            // Without this, small answers wait for the client's acknowledgement. It works without, only slower.
            drop(stream.set_nodelay(true));
            Ok(Accepted::Tcp(stream, tls.clone()))
        }
    }
}

impl Accepted {
    async fn serve(self, state: Arc<State>) {
        match self {
            Accepted::Unix(stream) => {
                let peer = stream.peer_cred().ok();
                let peer =
                    peer.map(|peer| Peer { pid: peer.pid(), user: peer.uid(), group: peer.gid() });
                connection(state, stream, peer).await;
            }
            Accepted::Tcp(stream, None) => connection(state, stream, None).await,
            Accepted::Tcp(stream, Some(tls)) => {
                match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(state, stream, None).await,
                    Ok(Err(error)) => tracing::debug!("TLS handshake: {error}"),
                    Err(_) => tracing::debug!("TLS handshake took too long"),
                }
            }
        }
    }
}

async fn connection<S>(state: Arc<State>, stream: S, peer: Option<Peer>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| dispatch::answer(Arc::clone(&state), peer, request));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .title_case_headers(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!("connection: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_dockerds() {
        let read = |text: &str| text.parse::<Address>();
        assert_eq!(read("unix:///run/f.sock"), Ok(Address::Unix("/run/f.sock".into())));
        assert_eq!(read("tcp://127.0.0.1:2375"), Ok(Address::Tcp("127.0.0.1:2375".into())));
        assert_eq!(read("tcp://:2375"), Ok(Address::Tcp("localhost:2375".into())));
        assert_eq!(read("[::1]:2375"), Ok(Address::Tcp("[::1]:2375".into())));
        assert!(matches!(find_group(Some("no such group")), Err(BindError::NoGroup(_))));
        assert!(matches!(find_group(Some("0")), Ok(Some(0))));
        assert!(matches!(find_group(Some("root")), Ok(Some(0))));
        assert!(find_group(Some("docker")).is_ok(), "whether there is one or not");
        for bad in ["", "unix://x", "tcp://host", "tcp://h:99999", "npipe://x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let words = read("npipe:////./pipe/x").expect_err("windows").to_string();
        assert_eq!(words, "invalid bind address (npipe:////./pipe/x): unsupported proto 'npipe'");
    }
}

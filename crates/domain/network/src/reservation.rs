//! Ports of the host, held so that nobody else takes them.

use std::{
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::fd::OwnedFd,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::network::Protocol;
use rustix::{
    io::Errno,
    net::{self, AddressFamily, Shutdown, SocketFlags, SocketType, sockopt},
};

use crate::Holder;

/// Where ports come from that nobody named: where the kernel takes its own from.
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32768..=60999;

/// A port of the host that is ours as long as this lives. Nobody is answered on it: packets for it are translated
/// before they get here, unless somebody [listens](PortReservation::listen).
#[derive(Debug)]
pub struct PortReservation {
    key: Key,
    /// Bound; its closing frees the port.
    socket: OwnedFd,
}

type Key = (Protocol, IpAddr, u16);

/// What this process holds, and where the search for a port that nobody named goes on.
#[derive(Debug)]
struct Held {
    keys: BTreeSet<Key>,
    next: u16,
}

static HELD: Mutex<Held> = Mutex::new(Held { keys: BTreeSet::new(), next: *EPHEMERAL.start() });

/// A port could not be held.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// The kernel does not know the protocol: SCTP is a module of its own.
    #[error("publishing {} ports is not supported by this machine's kernel", .0.as_str().to_uppercase())]
    Protocol(Protocol),
    /// Another reservation of this process has it. Docker's words.
    #[error("Bind for {} failed: port is already allocated", SocketAddr::new(*address, *port))]
    Allocated {
        /// Where.
        address: IpAddr,
        /// Which.
        port: u16,
    },
    /// Somebody has it. Docker's words.
    #[error("failed to bind host port for {wanted}: address already in use")]
    InUse {
        /// What was to be bound.
        wanted: Wanted,
        /// Who, if it can be told.
        holder: Option<Holder>,
    },
    /// The address is not this machine's. Docker's words.
    #[error("failed to bind host port for {wanted}: cannot assign requested address")]
    NotOurs {
        /// What was to be bound.
        wanted: Wanted,
    },
    /// It may not be bound for another reason.
    #[error("failed to bind host port for {wanted}")]
    Bind {
        /// What was to be bound.
        wanted: Wanted,
        /// Why.
        source: io::Error,
    },
    /// No port is free.
    #[error("no free {} port between {} and {}", .0.as_str(), EPHEMERAL.start(), EPHEMERAL.end())]
    Exhausted(Protocol),
}

/// A port that was to be bound, as Docker writes it: `0.0.0.0:8080:172.29.0.2:80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The host's address.
    pub address: IpAddr,
    /// The host's port.
    pub port: u16,
    /// Where it was to lead, if that was told.
    pub container: Option<SocketAddr>,
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SocketAddr::new(self.address, self.port))?;
        if let Some(container) = self.container {
            write!(f, ":{container}")?;
        }
        write!(f, "/{}", self.protocol.as_str())
    }
}

impl Kinded for ReserveError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReserveError::Protocol(_) => ErrorKind::NotImplemented,
            // Docker answers 500 for all of them.
            ReserveError::Allocated { .. }
            | ReserveError::InUse { .. }
            | ReserveError::NotOurs { .. }
            | ReserveError::Bind { .. }
            | ReserveError::Exhausted(_) => ErrorKind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            ReserveError::Allocated { port, .. } => {
                Some(format!("another container publishes port {port}; choose another"))
            }
            ReserveError::InUse { wanted, holder: Some(holder) } => Some(format!(
                "port {} is used by {holder}; stop it or choose another port",
                wanted.port
            )),
            ReserveError::InUse { wanted, holder: None } => {
                Some(format!("choose another port than {}", wanted.port))
            }
            _ => None,
        }
    }
}

impl ReserveError {
    /// Says where the port was to lead, as Docker does.
    #[must_use]
    pub fn leading_to(mut self, container: SocketAddr) -> Self {
        if let ReserveError::InUse { wanted, .. }
        | ReserveError::NotOurs { wanted }
        | ReserveError::Bind { wanted, .. } = &mut self
        {
            wanted.container = Some(container);
        }
        self
    }

    /// Looks for who has the port. Takes a while: all processes are looked into.
    #[must_use]
    pub fn with_holder(mut self) -> Self {
        if let ReserveError::InUse { wanted, holder } = &mut self {
            *holder = Holder::of(wanted.protocol, wanted.address, wanted.port);
        }
        self
    }
}

impl PortReservation {
    /// Holds a port; port 0 is any that is free. `None` is every IPv4 address. Who has it is for [`ReserveError::with_holder`] to find out.
    pub fn bind(
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<PortReservation, ReserveError> {
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mut held = held();
        if port != 0 {
            return hold(&mut held, (protocol, address, port));
        }
        // One after the other, as Docker does: a port that was just given back is not somebody else's at once.
        for _ in EPHEMERAL {
            let port = held.next;
            held.next = if port == *EPHEMERAL.end() { *EPHEMERAL.start() } else { port + 1 };
            match hold(&mut held, (protocol, address, port)) {
                Err(ReserveError::Allocated { .. } | ReserveError::InUse { .. }) => {}
                result => return result,
            }
        }
        Err(ReserveError::Exhausted(protocol))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.key.2
    }

    /// The address.
    pub fn address(&self) -> IpAddr {
        self.key.1
    }

    /// Answers connections that are not translated, from now on.
    pub fn listen(&self, backlog: i32) -> io::Result<TcpListener> {
        // Before it listens, or connections that ended and are not forgotten yet are in the way; and what is accepted inherits
        // it, and so is not in the way of the next engine. Nobody can share a port that is listened on.
        sockopt::set_socket_reuseaddr(&self.socket, true)?;
        net::listen(&self.socket, backlog)?;
        let listener = TcpListener::from(self.socket.try_clone()?);
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// The datagrams that are not translated.
    pub fn datagrams(&self) -> io::Result<UdpSocket> {
        let socket = UdpSocket::from(self.socket.try_clone()?);
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

impl Drop for PortReservation {
    fn drop(&mut self) {
        held().keys.remove(&self.key);
    }
}

/// What is behind the lock is whole after every statement.
fn held() -> MutexGuard<'static, Held> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hold(held: &mut Held, key: Key) -> Result<PortReservation, ReserveError> {
    let (protocol, address, port) = key;
    let in_the_way = |other: &&Key| {
        other.0 == protocol
            && other.2 == port
            && other.1.is_ipv4() == address.is_ipv4()
            && (other.1 == address || other.1.is_unspecified() || address.is_unspecified())
    };
    if held.keys.iter().any(|other| in_the_way(&other)) {
        return Err(ReserveError::Allocated { address, port });
    }
    let wanted = Wanted { protocol, address, port, container: None };
    let socket = open(key).map_err(|error| match error {
        Errno::ADDRINUSE => ReserveError::InUse { wanted, holder: None },
        Errno::ADDRNOTAVAIL => ReserveError::NotOurs { wanted },
        Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT => ReserveError::Protocol(protocol),
        error => ReserveError::Bind { wanted, source: error.into() },
    })?;
    held.keys.insert(key);
    Ok(PortReservation { key, socket })
}

fn open((protocol, address, port): Key) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(net::ipproto::SCTP)),
    };
    let new = || {
        let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, number)?;
        if family == AddressFamily::INET6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        Ok(socket)
    };
    let socket = new()?;
    let at = SocketAddr::new(address, port);
    match net::bind(&socket, &at) {
        Ok(()) => Ok(socket),
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => wait_over(new()?, &at),
        Err(error) => Err(error),
    }
}

/// Takes a TCP port on which only connections are left that ended (`TIME_WAIT`): a server that was just stopped does
/// not keep its port for a minute.
///
/// A socket that may share its port binds in spite of those, but also in spite of others that may share theirs.
/// Listening does not allow that; so it listens for a moment, and shares no more.
fn wait_over(socket: OwnedFd, at: &SocketAddr) -> Result<OwnedFd, Errno> {
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, at)?;
    net::listen(&socket, 0)?;
    net::shutdown(&socket, Shutdown::Read)?;
    sockopt::set_socket_reuseaddr(&socket, false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;

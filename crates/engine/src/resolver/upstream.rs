//! Other name servers: the host's, or those that a container was given.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ferry_dns::{Cache, Query};
use ferry_network::NetNamespace;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    task::JoinSet,
};

use crate::random;

/// As many servers are asked, resolv.conf(5)'s number.
const SERVERS: usize = 3;
const PORT: u16 = 53;
/// How long all of it may take: Docker's time.
const PATIENCE: Duration = Duration::from_secs(4);
/// A datagram that is not answered for so long was lost.
const RESEND: Duration = Duration::from_millis(1200);
/// Largest message.
const LARGEST: usize = 65535;

/// Where other servers are, and what they said before.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Asked from the container's network; empty are the host's servers, asked from the host's.
    own: Vec<IpAddr>,
    namespace: Arc<NetNamespace>,
    cache: Arc<Mutex<Cache>>,
    epoch: Instant,
}

/// The servers that a `resolv.conf` names.
pub(crate) fn host_servers(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
        address.parse().ok()
    };
    text.lines().filter_map(server).take(SERVERS).collect()
}

impl Upstream {
    pub(super) fn new(own: Vec<IpAddr>, namespace: NetNamespace, cache: Arc<Mutex<Cache>>) -> Self {
        // The cache of the host's servers is everybody's, and so must be the time.
        static EPOCH: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        let epoch = *EPOCH.get_or_init(Instant::now);
        Upstream { own, namespace: Arc::new(namespace), cache, epoch }
    }

    /// True if servers are asked from the container's own network.
    pub(super) fn is_inside(&self) -> bool {
        !self.own.is_empty()
    }

    /// The first useful answer of all servers; if none has one, what they say.
    pub(super) async fn ask(
        &self,
        query: &Query<'_>,
        message: &[u8],
        udp: bool,
    ) -> Option<Vec<u8>> {
        let mut key = query.cache_key();
        key.push(u8::from(udp));
        if let Some(mut answer) = self.cached(&key) {
            ferry_dns::with_id(&mut answer, query.id());
            return Some(answer);
        }
        let answer = tokio::time::timeout(PATIENCE, self.race(message, udp)).await.ok().flatten();
        let mut answer = answer?;
        ferry_dns::with_id(&mut answer, query.id());
        let now = self.epoch.elapsed().as_secs();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).keep(key, &answer, now);
        Some(answer)
    }

    fn cached(&self, key: &[u8]) -> Option<Vec<u8>> {
        let now = self.epoch.elapsed().as_secs();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(key, now)
    }

    async fn race(&self, message: &[u8], udp: bool) -> Option<Vec<u8>> {
        let servers = match self.own.as_slice() {
            [] => host_servers(&tokio::fs::read_to_string("/etc/resolv.conf").await.ok()?),
            own => own.iter().take(SERVERS).copied().collect(),
        };
        let mut asked = JoinSet::new();
        for server in servers {
            let inside = self.is_inside().then(|| Arc::clone(&self.namespace));
            let message = message.to_vec();
            asked.spawn(async move {
                let at = SocketAddr::new(server, PORT);
                match udp {
                    true => over_udp(at, inside, message).await,
                    false => over_tcp(at, inside, message).await,
                }
            });
        }
        let mut second_best = None;
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok(Ok(answer)) if ferry_dns::is_useful(&answer) => return Some(answer),
                Ok(Ok(answer)) => second_best = Some(answer),
                Ok(Err(error)) => tracing::debug!(%error, "a name server does not answer"),
                Err(_) => {}
            }
        }
        second_best
    }
}

/// Any address of the same family.
fn unspecified(server: SocketAddr) -> SocketAddr {
    let address = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(address, 0)
}

/// A socket in the namespace, or here.
async fn open<T: Send + 'static>(
    inside: Option<Arc<NetNamespace>>,
    make: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let Some(namespace) = inside else { return make() };
    let made = tokio::task::spawn_blocking(move || namespace.run(make)).await;
    made.map_err(io::Error::other)?.map_err(io::Error::other)?
}

async fn over_udp(
    server: SocketAddr,
    inside: Option<Arc<NetNamespace>>,
    mut message: Vec<u8>,
) -> io::Result<Vec<u8>> {
    // Bound and connected: others cannot answer, and guess neither port nor number.
    let socket = open(inside, move || std::net::UdpSocket::bind(unspecified(server))).await?;
    socket.set_nonblocking(true)?;
    let socket = UdpSocket::from_std(socket)?;
    socket.connect(server).await?;
    let id = new_id(&mut message)?;
    let query = Query::parse(&message).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut buffer = vec![0; LARGEST];
    loop {
        socket.send(&message).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                let answer = &buffer[..length];
                if answer.first_chunk() == Some(&id.to_be_bytes()) && query.is_answered_by(answer) {
                    return io::Result::Ok(answer.to_vec());
                }
            }
        };
        if let Ok(answer) = tokio::time::timeout(RESEND, answer).await {
            return answer;
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    inside: Option<Arc<NetNamespace>>,
    mut message: Vec<u8>,
) -> io::Result<Vec<u8>> {
    let mut stream = match inside {
        None => TcpStream::connect(server).await?,
        Some(_) => {
            // The thread in the namespace is everybody's: connecting must not hold it up.
            let socket = open(inside, move || tcp_socket(server)).await?;
            socket.connect(server).await?
        }
    };
    let id = new_id(&mut message)?;
    let query = Query::parse(&message).map_err(|_| io::ErrorKind::InvalidData)?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message.as_slice()].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answer.first_chunk() != Some(&id.to_be_bytes()) || !query.is_answered_by(&answer) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(answer)
}

/// A socket that is not connected yet.
fn tcp_socket(server: SocketAddr) -> io::Result<tokio::net::TcpSocket> {
    match server {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4(),
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6(),
    }
}

fn new_id(message: &mut [u8]) -> io::Result<u16> {
    let number = random::number().map_err(|failure| io::Error::other(failure.to_string()))?;
    let id = u16::from_be_bytes([number.to_be_bytes()[6], number.to_be_bytes()[7]]);
    ferry_dns::with_id(message, id);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_three_servers_count() {
        let text = "# x\nnameserver 10.0.0.1\nsearch a\n nameserver ::1\nnameserver no\nnameserver 127.0.0.53\nnameserver 1.1.1.1\n";
        let expected: Vec<IpAddr> =
            ["10.0.0.1", "::1", "127.0.0.53"].iter().map(|ip| ip.parse().expect("ip")).collect();
        assert_eq!(host_servers(text), expected);
    }
}

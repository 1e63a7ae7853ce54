//! Ports that the kernel cannot translate: what comes in by IPv6 for a container without, and by ::1, which is not routed to
//! bridges; and all ports where the host's firewall is to decide about them. Bytes are carried here, as Docker's proxy does; so the container sees the bridge's address and not the client's.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use ferry_model::network::Protocol;
use ferry_network::PortReservation;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Handle,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

/// Connections and conversations of one port.
const LIMIT: usize = 4096;
const BACKLOG: i32 = 1024;
/// A UDP conversation that is silent for so long is over: Docker's time.
const SILENCE: Duration = Duration::from_secs(90);
const DATAGRAM: usize = 65535;

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Relay(JoinHandle<()>);

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Relay {
    /// Carries what comes to a port that is held, if it is one that the kernel does not carry, or if `all` are carried. A port that cannot be carried is
    /// held all the same.
    pub(crate) fn start(
        protocol: Protocol,
        held: &PortReservation,
        leads_to: SocketAddr,
        all: bool,
    ) -> Option<Relay> {
        let is_ours = match held.address() {
            IpAddr::V4(_) => false,
            // Only this machine's own loopback stays when both sides speak IPv6.
            IpAddr::V6(at) => leads_to.is_ipv4() || at.is_unspecified() || at.is_loopback(),
        };
        if !(all || is_ours) {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        let _entered = runtime.enter();
        let started = match protocol {
            Protocol::Tcp => held
                .listen(BACKLOG)
                .and_then(TcpListener::from_std)
                .map(|listener| runtime.spawn(serve_tcp(listener, leads_to))),
            Protocol::Udp => held
                .datagrams()
                .and_then(UdpSocket::from_std)
                .map(|socket| runtime.spawn(serve_udp(Arc::new(socket), leads_to))),
            Protocol::Sctp => return None,
        };
        started
            .inspect_err(|error| tracing::warn!(%error, %leads_to, "nothing is carried to a port"))
            .ok()
            .map(Relay)
    }
}

async fn serve_tcp(listener: TcpListener, leads_to: SocketAddr) {
    let limit = Arc::new(Semaphore::new(LIMIT));
    loop {
        let Ok((mut client, _)) = listener.accept().await else {
            // Out of descriptors: others close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&limit).try_acquire_owned() else { continue };
        tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(leads_to).await {
                // How it ends is for the two to know.
                tokio::io::copy_bidirectional(&mut client, &mut server).await.ok();
            }
            drop(permit);
        });
    }
}

/// A socket towards the container for each client.
type Conversations = Arc<Mutex<HashMap<SocketAddr, Arc<UdpSocket>>>>;

async fn serve_udp(socket: Arc<UdpSocket>, leads_to: SocketAddr) {
    let conversations = Conversations::default();
    // They end with this task.
    let mut answering = JoinSet::new();
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else { continue };
        let known = |map: &Conversations| {
            map.lock().unwrap_or_else(PoisonError::into_inner).get(&client).cloned()
        };
        let towards = match known(&conversations) {
            Some(towards) => towards,
            None => {
                while answering.try_join_next().is_some() {}
                let Ok(towards) = begin(&conversations, client, leads_to).await else { continue };
                let (socket, conversations) = (Arc::downgrade(&socket), Arc::clone(&conversations));
                answering.spawn(converse(socket, conversations, client, Arc::clone(&towards)));
                towards
            }
        };
        towards.send(&buffer[..length]).await.ok();
    }
}

/// A socket towards the container for a client that has none yet.
async fn begin(
    conversations: &Conversations,
    client: SocketAddr,
    leads_to: SocketAddr,
) -> io::Result<Arc<UdpSocket>> {
    let any = if leads_to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let towards = Arc::new(UdpSocket::bind(any).await?);
    towards.connect(leads_to).await?;
    let mut map = conversations.lock().unwrap_or_else(PoisonError::into_inner);
    if map.len() >= LIMIT {
        return Err(io::ErrorKind::QuotaExceeded.into());
    }
    map.insert(client, Arc::clone(&towards));
    Ok(towards)
}

/// Carries answers back. It does not hold the port: when nobody is listening there any more, the next container may have it.
async fn converse(
    socket: Weak<UdpSocket>,
    conversations: Conversations,
    client: SocketAddr,
    answers: Arc<UdpSocket>,
) {
    let mut buffer = vec![0; DATAGRAM];
    while let Ok(Ok(length)) = tokio::time::timeout(SILENCE, answers.recv(&mut buffer)).await {
        let Some(socket) = socket.upgrade() else { return };
        socket.send_to(&buffer[..length], client).await.ok();
    }
    conversations.lock().unwrap_or_else(PoisonError::into_inner).remove(&client);
}

//! Questions of one container, over UDP and TCP.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ferry_dns::{Directory, Query, Rcode, Record, kind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
};

use super::{Seen, upstream::Upstream};

/// A question has one name and at most a few options.
const QUESTION: usize = 4096;
/// Questions answered before others get a turn.
const BATCH: usize = 64;
/// Questions of one container that wait for other servers; more are refused at once.
const WAITING: usize = 1024;
/// TCP connections of one container.
const CONNECTIONS: usize = 64;
/// A TCP client that says nothing for so long is gone.
const IDLE: Duration = Duration::from_secs(10);

/// Answers one container's questions.
#[derive(Debug)]
pub(super) struct Server {
    directory: Arc<RwLock<Directory>>,
    seen: Arc<RwLock<Seen>>,
    upstream: Upstream,
    dots_needed: bool,
    /// Which of several addresses is first.
    turn: AtomicUsize,
    waiting: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The answer is written.
    Answered,
    /// Others have to be asked.
    Ask,
    /// It deserves no answer.
    Nothing,
}

impl Server {
    pub(super) fn new(
        directory: Arc<RwLock<Directory>>,
        seen: Arc<RwLock<Seen>>,
        upstream: Upstream,
        dots_needed: bool,
    ) -> Arc<Self> {
        Arc::new(Server {
            directory,
            seen,
            upstream,
            dots_needed,
            turn: AtomicUsize::new(0),
            waiting: Arc::new(Semaphore::new(WAITING)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }

    /// Answers from what is known here.
    fn at_once(&self, message: &[u8], udp: bool, out: &mut Vec<u8>) -> Next {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(malformed) => {
                let Some(id) = malformed.id else { return Next::Nothing };
                *out = ferry_dns::refusal(id, malformed.rcode);
                return Next::Answered;
            }
        };
        let limit = if udp { query.udp_limit() } else { usize::from(u16::MAX) };
        match self.records(&query) {
            Some(records) => query.answer(Rcode::NoError, &records, limit, out),
            None if !self.may_ask() => query.answer(Rcode::ServerFailure, &[], limit, out),
            None => return Next::Ask,
        }
        Next::Answered
    }

    /// What is known of a name; `None` if that is for others to say.
    fn records(&self, query: &Query<'_>) -> Option<Vec<Record>> {
        let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
        let directory = self.directory.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(ip) = query.reverse_address() {
            let name = directory.name_of(&seen.view, ip)?;
            return Some(vec![Record::Pointer(name.to_owned())]);
        }
        let kind = query.kind();
        if kind == 0 {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        if let Some(found) = directory.find(&seen.view, query.name(), turn) {
            // Of a name that is known here nobody else is asked, whatever is asked about it.
            let addresses: Vec<IpAddr> = match kind {
                kind::A => found.v4.into_iter().map(IpAddr::V4).collect(),
                kind::AAAA => found.v6.into_iter().map(IpAddr::V6).collect(),
                _ => Vec::new(),
            };
            return Some(addresses.into_iter().map(Record::Address).collect());
        }
        let is_address = matches!(kind, kind::A | kind::AAAA);
        // The client is to go on with its search domains.
        (self.dots_needed && is_address && !query.name().contains('.')).then(Vec::new)
    }

    /// The host's servers are not for containers that cannot reach the outside (CVE-2024-29018).
    fn may_ask(&self) -> bool {
        let leads_out = self.seen.read().unwrap_or_else(PoisonError::into_inner).leads_out;
        leads_out || self.upstream.is_inside()
    }

    async fn ask(&self, message: &[u8], udp: bool) -> Option<Vec<u8>> {
        let query = Query::parse(message).ok()?;
        if let Some(answer) = self.upstream.ask(&query, message, udp).await {
            return Some(answer);
        }
        let mut out = Vec::new();
        query.answer(Rcode::ServerFailure, &[], query.udp_limit(), &mut out);
        Some(out)
    }
}

/// Serves from now on, until the tasks are aborted.
pub(super) fn spawn(
    runtime: &Handle,
    server: Arc<Server>,
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
) -> io::Result<Vec<JoinHandle<()>>> {
    let _entered = runtime.enter();
    let udp = Arc::new(UdpSocket::from_std(udp)?);
    let tcp = TcpListener::from_std(tcp)?;
    Ok(vec![
        runtime.spawn(serve_udp(Arc::clone(&server), udp)),
        runtime.spawn(serve_tcp(server, tcp)),
    ])
}

async fn serve_udp(server: Arc<Server>, socket: Arc<UdpSocket>) {
    let mut buffer = [0; QUESTION];
    let mut out = Vec::with_capacity(512);
    while socket.readable().await.is_ok() {
        for _ in 0..BATCH {
            let (length, from) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A client that is gone does not want its answer: the next question is another's.
                Err(_) => continue,
            };
            let message = &buffer[..length];
            match server.at_once(message, true, &mut out) {
                // An answer that cannot be sent is a datagram that was lost.
                Next::Answered => drop(socket.try_send_to(&out, from)),
                Next::Ask => ask_later(&server, &socket, message, from, &mut out),
                Next::Nothing => {}
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Lets others be asked while the next questions are answered.
fn ask_later(
    server: &Arc<Server>,
    socket: &Arc<UdpSocket>,
    message: &[u8],
    from: SocketAddr,
    out: &mut Vec<u8>,
) {
    let Ok(permit) = Arc::clone(&server.waiting).try_acquire_owned() else {
        if let Ok(query) = Query::parse(message) {
            query.answer(Rcode::ServerFailure, &[], query.udp_limit(), out);
            drop(socket.try_send_to(out, from));
        }
        return;
    };
    let (server, socket, message) = (Arc::clone(server), Arc::clone(socket), message.to_vec());
    tokio::spawn(async move {
        if let Some(answer) = server.ask(&message, true).await {
            socket.send_to(&answer, from).await.ok();
        }
        drop(permit);
    });
}

async fn serve_tcp(server: Arc<Server>, listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors: others close theirs.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&server.connections).try_acquire_owned() else { continue };
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            converse(&server, stream).await.ok();
            drop(permit);
        });
    }
}

/// Question and answer by turns, each with its length before it.
async fn converse(server: &Server, mut stream: TcpStream) -> io::Result<()> {
    let mut out = Vec::new();
    loop {
        let mut message = vec![0; usize::from(timely(stream.read_u16()).await?)];
        timely(stream.read_exact(&mut message)).await?;
        match server.at_once(&message, false, &mut out) {
            Next::Answered => {}
            Next::Ask => match server.ask(&message, false).await {
                Some(answer) => out = answer,
                None => return Ok(()),
            },
            Next::Nothing => return Ok(()),
        }
        let length = u16::try_from(out.len()).map_err(io::Error::other)?;
        out.splice(..0, length.to_be_bytes());
        timely(stream.write_all(&out)).await?;
    }
}

async fn timely<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(IDLE, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

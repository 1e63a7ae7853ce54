//! The streaming server: exec, attach and port forward over connections of their own, which a kubelet passes on.
//!
//! A call of the interface answers an address with a token, good once and for a minute. Whoever has it gets the streams, by
//! WebSocket or SPDY; what runs behind it (`session.rs`, `forward.rs`) does not know which.

mod channels;
mod forward;
mod serve;
mod session;
pub(crate) mod spdy;
mod websocket;

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use ferry_engine::Engine;
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::Status;

use crate::api;

/// How long a token is good.
const LIFE: Duration = Duration::from_secs(60);

/// Tokens that were not used yet.
const MAX_TICKETS: usize = 1000;

/// What a token stands for.
#[derive(Debug, Clone)]
pub(crate) enum Ticket {
    /// A further process.
    Exec(api::ExecRequest),
    /// A container's own streams.
    Attach(api::AttachRequest),
    /// Ports of a pod.
    Forward(api::PortForwardRequest),
}

impl Ticket {
    fn path(&self) -> &'static str {
        match self {
            Ticket::Exec(_) => "exec",
            Ticket::Attach(_) => "attach",
            Ticket::Forward(_) => "portforward",
        }
    }
}

/// What a client sends into a session.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Input of the program; no bytes are its end.
    Stdin(Bytes),
    /// The terminal's new width and height.
    Resize(u16, u16),
}

/// What a session sends to its client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Stdout(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// How it ended, as Kubernetes' status; the last message.
    Done(serde_json::Value),
}

/// The server, and who may use it.
#[derive(Debug)]
pub(crate) struct Streams {
    engine: Engine,
    address: SocketAddr,
    tickets: Mutex<HashMap<String, (Ticket, Instant)>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Streams {
    /// Listens on a port of loopback: kubelet is on this machine.
    pub(crate) async fn open(engine: Engine) -> io::Result<Arc<Streams>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let streams = Arc::new(Streams {
            engine,
            address: listener.local_addr()?,
            tickets: Mutex::default(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(serve::serve(Arc::downgrade(&streams), listener));
        *lock(&streams.task) = Some(task);
        Ok(streams)
    }

    /// The address under which a ticket can be redeemed.
    pub(crate) fn issue(&self, ticket: Ticket) -> Result<String, Status> {
        let token = token()?;
        let mut tickets = lock(&self.tickets);
        tickets.retain(|_, (_, since)| since.elapsed() < LIFE);
        if tickets.len() >= MAX_TICKETS {
            return Err(Status::resource_exhausted(
                "maximum number of in-flight requests exceeded",
            ));
        }
        let url = format!("http://{}/{}/{token}", self.address, ticket.path());
        tickets.insert(token, (ticket, Instant::now()));
        Ok(url)
    }

    /// The ticket for a path, once.
    fn redeem(&self, path: &str) -> Option<Ticket> {
        let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
        let mut tickets = lock(&self.tickets);
        let (ticket, since) = tickets.remove(token)?;
        (since.elapsed() < LIFE && ticket.path() == kind).then_some(ticket)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

/// What cannot be guessed.
fn token() -> Result<String, Status> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Status::unknown(format!("no random numbers: {errno}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The maps behind these locks are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

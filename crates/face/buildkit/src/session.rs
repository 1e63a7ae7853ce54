//! Sessions: clients that can be asked for files, credentials, secrets and agents while they wait for their build.
//!
//! A client opens one connection to `/session`, says its id and which methods it serves, and then is a gRPC server on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ferry_errkind::{ErrorKind, Failure};
use http::HeaderMap;
use hyper::rt::{Read, Write};
use tokio::sync::{Notify, watch};

use crate::{
    channel::Channel,
    proto::grpc::health::v1::{HealthCheckRequest, health_client::HealthClient},
};

/// How long a build waits for the session that it names: the client opens both at once.
const ARRIVAL: Duration = Duration::from_secs(10);
/// BuildKit's: how often a client is asked whether it is alive, and how long it may take.
const HEALTH_EVERY: Duration = Duration::from_secs(5);
const HEALTH_WITHIN: Duration = Duration::from_secs(15);
/// Sessions that may be open at once. Each costs a connection of a client that may be root here anyway.
const MAX_SESSIONS: usize = 1024;

/// Longest key that directories go by.
const MAX_KEY: usize = 4096;

/// A client that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    channel: Channel,
    methods: Arc<BTreeSet<String>>,
    shared_key: Arc<str>,
    gone: watch::Receiver<bool>,
}

impl Session {
    /// What calls go through.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Whether the client serves a method such as `/moby.filesync.v1.Auth/Credentials`.
    pub(crate) fn supports(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// What the client's directories go by from build to build; empty where it does not say.
    pub(crate) fn shared_key(&self) -> &str {
        &self.shared_key
    }

    /// Waits until the client has left.
    pub(crate) async fn gone(&self) {
        let mut gone = self.gone.clone();
        // The sender goes away with the connection, too.
        drop(gone.wait_for(|gone| *gone).await);
    }
}

/// The sessions that are open, by id.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    open: Mutex<BTreeMap<String, Session>>,
    arrived: Notify,
}

impl Sessions {
    /// Serves a session's connection until the client leaves.
    pub(crate) async fn serve<T>(&self, headers: &HeaderMap, io: T) -> Result<(), Failure>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let id = self.identify(headers)?;
        let methods = headers
            .get_all("x-docker-expose-session-grpc-method")
            .iter()
            .filter_map(|value| Some(value.to_str().ok()?.to_ascii_lowercase()))
            .collect();
        let failed = |error: hyper::Error| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot speak HTTP/2 with a session: {error}"),
            )
        };
        let (channel, connection) = Channel::open(io).await.map_err(failed)?;
        let (told, gone) = watch::channel(false);
        let key = headers.get("x-docker-expose-session-sharedkey");
        let key = key.and_then(|key| key.to_str().ok()).filter(|key| key.len() <= MAX_KEY);
        let session = Session {
            channel: channel.clone(),
            methods: Arc::new(methods),
            shared_key: key.unwrap_or_default().into(),
            gone,
        };
        self.lock().insert(id.clone(), session);
        self.arrived.notify_waiters();
        let _leave = Leave { sessions: self, id: &id };
        tokio::select! {
            () = connection => {}
            () = watch_health(channel) => tracing::warn!(id, "a session does not answer any more"),
        }
        told.send(true).ok();
        Ok(())
    }

    /// The id that a client gives itself.
    ///
    /// # Errors
    /// None, one that is taken, or too many sessions.
    pub(crate) fn identify(&self, headers: &HeaderMap) -> Result<String, Failure> {
        let id = headers.get("x-docker-expose-session-uuid").and_then(|value| value.to_str().ok());
        let invalid = |words: String| Failure::new(ErrorKind::InvalidArgument, words);
        let id = id.filter(|id| !id.is_empty() && id.len() <= 256);
        let id = id.ok_or_else(|| invalid("the session has no id".to_owned()))?;
        let open = self.lock();
        if open.contains_key(id) {
            return Err(invalid(format!("session {id} already exists")));
        }
        if open.len() >= MAX_SESSIONS {
            let words = format!("{MAX_SESSIONS} sessions are open already");
            return Err(Failure::new(ErrorKind::Unavailable, words));
        }
        Ok(id.to_owned())
    }

    /// The session of an id; waits for it a moment.
    pub(crate) async fn get(&self, id: &str) -> Result<Session, Failure> {
        let wait = async {
            loop {
                let mut arrived = std::pin::pin!(self.arrived.notified());
                arrived.as_mut().enable();
                if let Some(session) = self.lock().get(id).cloned() {
                    return session;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(ARRIVAL, wait)
            .await
            .map_err(|_| Failure::new(ErrorKind::NotFound, format!("no active session for {id}")))
    }

    /// A panic while the lock was held leaves a whole map.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a session however its connection ends, also when the task is aborted.
struct Leave<'a> {
    sessions: &'a Sessions,
    id: &'a str,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.sessions.lock().remove(self.id);
    }
}

/// Returns when the client failed to answer twice: its machine may be gone without a word.
async fn watch_health(channel: Channel) {
    let mut health = HealthClient::new(channel);
    let mut failures = 0;
    while failures < 2 {
        tokio::time::sleep(HEALTH_EVERY).await;
        let check = health.check(HealthCheckRequest::default());
        match tokio::time::timeout(HEALTH_WITHIN, check).await {
            Ok(Ok(_)) => failures = 0,
            _ => failures += 1,
        }
    }
}

//! Names for containers: one small DNS server in the network of each container that is on a network of one's own.
//!
//! The sockets are opened in the container's network namespace by the engine and are its own: when the engine is killed,
//! look-ups fail at once until the next one has adopted the container and opened new sockets, to which it leads port 53. What
//! programs see is an address that is refused for that time, as with any name server that restarts; nothing stays behind,
//! because sockets go with their process and the rules with the namespace.

mod serve;
mod upstream;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use ferry_dns::{Cache, Directory, View};
use ferry_errkind::Failure;
use ferry_model::network::EndpointStatus;
use tokio::runtime::Handle;

pub(crate) use upstream::host_servers;

/// What a container sees, and may ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) view: View,
    /// One of its networks leads to the outside.
    pub(crate) leads_out: bool,
}

/// How a container wants names outside to be looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    /// `--dns`; empty for the host's servers.
    pub(crate) servers: Vec<IpAddr>,
    /// A name without dot is never a name outside: `ndots` was set.
    pub(crate) dots_needed: bool,
}

/// All name servers of one engine, and the names.
#[derive(Debug, Default)]
pub(crate) struct Resolvers {
    directory: Arc<RwLock<Directory>>,
    /// Answers of the host's servers.
    cache: Arc<Mutex<Cache>>,
    running: Mutex<HashMap<String, Running>>,
}

#[derive(Debug)]
struct Running {
    seen: Arc<RwLock<Seen>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Resolvers {
    /// Makes the names of an endpoint known; the `hidden` ones lead nowhere for now.
    pub(crate) fn join(&self, network_name: &str, endpoint: &EndpointStatus, hidden: &[String]) {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        directory.join(
            (&endpoint.network_id, network_name),
            &endpoint.endpoint_id,
            &endpoint.dns_names,
            endpoint.ipv4,
            endpoint.ipv6,
        );
        directory.hide(&endpoint.network_id, &endpoint.endpoint_id, hidden);
    }

    /// Lets names of an endpoint lead nowhere, and all others to it.
    pub(crate) fn hide(&self, endpoint: &EndpointStatus, names: &[String]) {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        directory.hide(&endpoint.network_id, &endpoint.endpoint_id, names);
    }

    /// Forgets the names of an endpoint.
    pub(crate) fn leave(&self, endpoint: &EndpointStatus) {
        let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
        directory.leave(&endpoint.network_id, &endpoint.endpoint_id);
    }

    /// True if a container has a name server.
    pub(crate) fn runs(&self, container: &str) -> bool {
        self.running().contains_key(container)
    }

    /// Lets a container that has a name server see other names from now on.
    pub(crate) fn look(&self, container: &str, seen: Seen) {
        if let Some(running) = self.running().get(container) {
            *running.seen.write().unwrap_or_else(PoisonError::into_inner) = seen;
        }
    }

    /// Starts the name server of a container. Called where one may block.
    pub(crate) fn start(
        &self,
        container: &str,
        pid: i32,
        seen: Seen,
        wishes: Wishes,
    ) -> Result<(), Failure> {
        let sockets = ferry_network::open_resolver(pid)?;
        let seen = Arc::new(RwLock::new(seen));
        let cache = match wishes.servers.is_empty() {
            true => Arc::clone(&self.cache),
            // Other servers may have other answers.
            false => Arc::default(),
        };
        let upstream = upstream::Upstream::new(wishes.servers, sockets.namespace, cache);
        let server = serve::Server::new(
            Arc::clone(&self.directory),
            Arc::clone(&seen),
            upstream,
            wishes.dots_needed,
        );
        let tasks = serve::spawn(&Handle::current(), server, sockets.udp, sockets.tcp).map_err(
            |error| {
                let words = format!("cannot serve names for container {container}: {error}");
                Failure::new(ferry_errkind::ErrorKind::Internal, words)
            },
        )?;
        self.running().insert(container.to_owned(), Running { seen, tasks });
        Ok(())
    }

    /// Ends the name server of a container, if it has one.
    pub(crate) fn stop(&self, container: &str) {
        self.running().remove(container);
    }

    /// What is behind the lock is whole after every statement.
    fn running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

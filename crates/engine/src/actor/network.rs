//! `network connect` and `disconnect`, as a container's own task does them.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Container,
    network::{EndpointRequest, EndpointStatus, PortsChange},
};

use super::Actor;
use crate::{failpoint, net};

impl Actor {
    /// Puts the container on a network: at once if it runs, else when it is started.
    pub(super) async fn connect(
        &mut self,
        network: String,
        request: EndpointRequest,
    ) -> Result<(), Failure> {
        net::check_mode(&self.container, &network)?;
        let Some(pid) = self.container.state.pid.filter(|_| self.live.is_some()) else {
            net::check(Some(&self.shared.networks.find(&network)?), &request)?;
            let endpoint = EndpointStatus { request, ..EndpointStatus::default() };
            self.container.endpoints.insert(network, endpoint);
            self.save()?;
            self.publish();
            return Ok(());
        };
        if self.container.endpoints.contains_key(&network) {
            let words = format!(
                "endpoint with name {} already exists in network {network}",
                self.container.name
            );
            return Err(Failure::new(ErrorKind::Forbidden, words));
        }
        let shared = Arc::clone(&self.shared);
        let mut container = self.container.clone();
        let name = network.clone();
        let connected = crate::blocking(move || {
            net::connect(&shared, &mut container, &name, request, pid)?;
            Ok(container)
        });
        self.container = connected.await?;
        failpoint::hit("connect.hosts");
        self.save_or_warn();
        failpoint::hit("connect.record");
        self.publish();
        self.network_event("connect", &network);
        Ok(())
    }

    /// Publishes other ports. The record is written last: whatever it does not name, the next engine takes away.
    pub(super) async fn change_ports(&mut self, change: PortsChange) -> Result<(), Failure> {
        let runs = self.live.is_some();
        let shared = Arc::clone(&self.shared);
        let mut container = self.container.clone();
        let changed = crate::blocking(move || {
            net::change_ports(&shared, &mut container, &change, runs)?;
            Ok(container)
        });
        self.container = changed.await?;
        failpoint::hit("ports.changed");
        self.save_or_warn();
        self.publish();
        self.event("update", &[]);
        Ok(())
    }

    /// Makes the network of a container that was found running what the record says.
    pub(super) async fn mend(&mut self) {
        let Some(pid) = self.container.state.pid.filter(|_| self.live.is_some()) else { return };
        if self.container.endpoints.is_empty() {
            return;
        }
        let (shared, container) = (Arc::clone(&self.shared), self.container.clone());
        let mended = crate::blocking(move || net::mend(&shared, &container, pid));
        if let Err(failure) = mended.await {
            tracing::warn!(id = %self.container.id, %failure, "the container's network is not in order");
        }
    }

    fn pid(&self) -> Result<i32, Failure> {
        self.container.state.pid.filter(|_| self.live.is_some()).ok_or_else(|| {
            let words = format!("container {} is not running", self.container.id);
            Failure::new(ErrorKind::Conflict, words)
        })
    }

    /// Makes it known by its names and ports.
    pub(super) async fn reveal(&mut self, from: Option<Arc<Container>>) -> Result<(), Failure> {
        self.pid()?;
        let shared = Arc::clone(&self.shared);
        let mut container = self.container.clone();
        let revealed = crate::blocking(move || {
            net::reveal(&shared, &mut container, from.as_deref())?;
            Ok(container)
        });
        self.container = revealed.await?;
        self.save_or_warn();
        self.publish();
        Ok(())
    }

    /// Takes its names and ports away; the process that goes on without.
    pub(super) async fn withdraw(&mut self) -> Result<i32, Failure> {
        let pid = self.pid()?;
        let shared = Arc::clone(&self.shared);
        let mut container = self.container.clone();
        let withdrawn = crate::blocking(move || {
            net::withdraw(&shared, &mut container);
            Ok(container)
        });
        self.container = withdrawn.await?;
        self.save_or_warn();
        self.publish();
        Ok(pid)
    }

    /// Takes the container off a network.
    pub(super) async fn disconnect(&mut self, network: String) -> Result<(), Failure> {
        let pid = self.container.state.pid.filter(|_| self.live.is_some());
        let id = &self.container.id;
        let Some(endpoint) = self.container.endpoints.get(&network).cloned() else {
            let words = match pid {
                Some(_) => format!("container {id} is not connected to network {network}"),
                None => format!("container {id} is not connected to the network {network}"),
            };
            return Err(Failure::new(ErrorKind::Internal, words));
        };
        if network == "host" {
            let words = "cannot disconnect container from host network - container was created in host network mode";
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        let before = net::published_ports(&self.container);
        self.container.endpoints.remove(&network);
        self.save()?;
        failpoint::hit("disconnect.record");
        let Some(pid) = pid else {
            self.publish();
            return Ok(());
        };
        let shared = Arc::clone(&self.shared);
        let mut container = self.container.clone();
        let gone = endpoint.clone();
        let left = crate::blocking(move || {
            let left = net::leave(&shared, &mut container, &gone, &before, pid);
            Ok((container, left))
        });
        let (container, left) = left.await?;
        failpoint::hit("disconnect.mended");
        self.container = container;
        self.save_or_warn();
        self.publish();
        net::event(&self.shared, "disconnect", &network, &endpoint.network_id, &self.container.id);
        left
    }
}

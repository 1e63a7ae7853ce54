//! A container's network: made when its namespaces are there, taken apart at its end.

use std::{collections::BTreeMap, sync::Arc};

use ferry_errkind::Failure;
use ferry_model::{
    container::{CniAttachment, Container},
    network::{PortBinding, PortKey},
};
use tokio::task::JoinHandle;

use super::{Actor, pod};
use crate::{Shared, net};

/// What there is of a network that was to be made, also of one that could not be.
#[derive(Debug)]
struct Wired {
    ports: BTreeMap<PortKey, Vec<PortBinding>>,
    cni: Option<CniAttachment>,
    outcome: Result<(), Failure>,
}

/// A network that is being made, on a thread that may wait.
#[derive(Debug)]
pub(super) struct Wiring(JoinHandle<Wired>);

impl Actor {
    /// Begins to make the network of the container's namespaces, which are those of `pid`. Not to be forgotten: what comes of it is the
    /// record's.
    pub(super) fn begin_wiring(&self, plan: &net::Plan, pid: i32) -> Wiring {
        let work = (Arc::clone(&self.shared), self.container.clone(), plan.clone());
        Wiring(tokio::task::spawn_blocking(move || wire(&work.0, work.1, &work.2, pid)))
    }

    /// Waits for the network, and notes what there is of it.
    ///
    /// # Errors
    /// It could not be made: [`Actor::detach_network`] takes apart what there is.
    pub(super) async fn finish_wiring(&mut self, wiring: Wiring) -> Result<(), Failure> {
        let wired = crate::joined(wiring.0.await)?;
        self.container.ports = wired.ports;
        self.container.cni = wired.cni;
        if self.container.cni.is_some() && wired.outcome.is_ok() {
            // A collection that comes now must find it.
            self.publish();
        }
        wired.outcome
    }

    /// Everything of the network that the container had; what cannot be undone is logged and left to the next boot.
    pub(super) async fn detach_network(&mut self) {
        self.detach_cni_or_warn().await;
        let shared = Arc::clone(&self.shared);
        let container = self.container.clone();
        let detached = crate::blocking(move || {
            net::detach(&shared, &container);
            Ok(())
        })
        .await;
        if let Err(failure) = detached {
            tracing::warn!(id = %self.container.id, %failure, "network not detached");
        }
        for (name, endpoint) in &mut self.container.endpoints {
            // Records of older versions have no endpoint on `none` and `host`.
            if !endpoint.endpoint_id.is_empty() || matches!(name.as_str(), "none" | "host") {
                net::forget(endpoint);
                net::event(
                    &self.shared,
                    "disconnect",
                    name,
                    &endpoint.network_id,
                    &self.container.id,
                );
            }
        }
        self.container.ports.clear();
    }

    pub(super) fn network_event(&self, action: &str, name: &str) {
        let id =
            self.container.endpoints.get(name).map_or("", |endpoint| endpoint.network_id.as_str());
        net::event(&self.shared, action, name, id, &self.container.id);
    }
}

fn wire(shared: &Shared, mut container: Container, plan: &net::Plan, pid: i32) -> Wired {
    let (ports, outcome) = match net::attach(shared, &container, plan, pid) {
        Ok(ports) => (ports, pod::attach(shared, &mut container, pid)),
        Err(failure) => (BTreeMap::new(), Err(failure)),
    };
    Wired { ports, cni: container.cni, outcome }
}

//! A sandbox's network by CNI plugins: noted, made, taken apart.
//!
//! The record says what plugins are called with before they are called, so that the next engine can take apart what this one
//! could not finish. It forgets it when all of them have said that they are done.

use std::sync::Arc;

use ferry_cni::{ConfList, Network, Pod};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{CniAttachment, CniRequest, Container, Phase, PodNetwork};

use super::Actor;
use crate::{Shared, failpoint, launch};

impl Actor {
    /// Lets plugins take apart what they made. May be repeated.
    pub(super) async fn detach_cni(&mut self) -> Result<(), Failure> {
        let Some(cni) = self.container.cni.clone() else { return Ok(()) };
        let request = request(&self.container).cloned().unwrap_or_default();
        let gate = Arc::clone(&self.shared);
        let _no_collection = gate.cni_gate.read().await;
        if let Some(own) = self.container.cni.as_mut().filter(|own| !own.leaving) {
            own.leaving = true;
            // Nobody asks whether it is there still, not even an engine that comes after this one.
            if let Err(failure) = self.save() {
                self.container.cni.iter_mut().for_each(|own| own.leaving = false);
                return Err(failure);
            }
        }
        failpoint::hit("pod.cni-leaving");
        let shared = Arc::clone(&self.shared);
        let (id, pid) = (self.container.id.clone(), self.container.state.pid);
        let detached = crate::blocking(move || {
            let network = noted(&shared, &cni)?;
            // The specification asks plugins to do what they can without it.
            let netns = pid.map(|pid| format!("/proc/{pid}/ns/net"));
            let netns = netns.filter(|path| std::fs::read_link(path).is_ok()).unwrap_or_default();
            Ok(network.del(Pod { id: &id, netns: &netns, request: &request }, &cni.result)?)
        });
        detached
            .await
            .map_err(|failure| failure.context("failed to destroy network for sandbox"))?;
        failpoint::hit("pod.cni-deleted");
        self.container.cni = None;
        self.save()?;
        self.publish();
        Ok(())
    }

    /// Asks the plugins whether the sandbox is on its network: by its own task, so that none is asked who is taking it apart, or has. Answers
    /// false where none of them made it, or it has no process.
    pub(super) async fn check_cni(&self) -> Result<bool, Failure> {
        let made = self.container.cni.clone().filter(|cni| !cni.result.is_empty() && !cni.leaving);
        let (Some(cni), Some(pid), Some(request)) =
            (made, self.container.state.pid, request(&self.container).cloned())
        else {
            return Ok(false);
        };
        let (shared, id) = (Arc::clone(&self.shared), self.container.id.clone());
        crate::blocking(move || {
            let network = noted(&shared, &cni)?;
            let netns = format!("/proc/{pid}/ns/net");
            network.check(Pod { id: &id, netns: &netns, request: &request }, &cni.result)?;
            Ok(true)
        })
        .await
    }

    /// [`Actor::detach_cni`] where nobody waits for the answer: stopping the pod tries again.
    pub(super) async fn detach_cni_or_warn(&mut self) {
        if let Err(failure) = self.detach_cni().await {
            tracing::warn!(id = %self.container.id, %failure, "a pod's network is not taken apart");
        }
    }

    /// A sandbox that an engine made and died before it could start it: nobody was told of it.
    pub(super) fn is_stillborn_sandbox(&self) -> bool {
        let part = self.container.spec.pod.as_ref();
        self.live.is_none()
            && self.container.state.phase == Phase::Created
            && part.is_some_and(|part| part.sandbox.is_none())
    }

    /// Whether plugins are to make its network.
    pub(super) fn wants_cni(&self) -> bool {
        request(&self.container).is_some()
    }
}

fn request(container: &Container) -> Option<&CniRequest> {
    match container.spec.pod.as_ref().map(|part| &part.network) {
        Some(PodNetwork::Cni(request)) => Some(request),
        _ => None,
    }
}

/// Lets plugins make the network of a sandbox that wants that, and writes down what they say. Nothing is collected meanwhile. Blocks.
pub(super) fn attach(shared: &Shared, container: &mut Container, pid: i32) -> Result<(), Failure> {
    let Some(request) = request(container).cloned() else { return Ok(()) };
    let network = shared.cni()?.ok_or_else(|| {
        let words = "cni config uninitialized: there was one when the pod was asked for";
        Failure::new(ErrorKind::Unavailable, words)
    })?;
    let list = network.list.text().to_owned();
    container.cni = Some(CniAttachment { list, ..CniAttachment::default() });
    super::save(shared, container)?;
    failpoint::hit("pod.cni-noted");
    let netns = format!("/proc/{pid}/ns/net");
    let attached = network
        .add(Pod { id: &container.id, netns: &netns, request: &request })
        .map_err(|error| Failure::from(error).context("failed to setup network for sandbox"))?;
    failpoint::hit("pod.cni-added");
    if let Some(cni) = &mut container.cni {
        cni.result = attached.result;
        cni.addresses = attached.addresses;
    }
    super::save(shared, container)?;
    launch::write_pod_hosts(shared, container)
}

/// The plugins that were asked to make a network, as they were then.
fn noted(shared: &Shared, cni: &CniAttachment) -> Result<Network, Failure> {
    let list = ConfList::parse(&cni.list).map_err(|why| Failure::new(ErrorKind::Internal, why))?;
    Ok(Network { list, plugins: shared.config.cni.plugin_dirs.clone() })
}

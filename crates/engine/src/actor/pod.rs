//! A sandbox's network by CNI plugins: noted, made, taken apart.
//!
//! The record says what plugins are called with before they are called, so that the next engine can take apart what this one
//! could not finish. It forgets it when all of them have said that they are done.

use std::sync::Arc;

use ferry_cni::{ConfList, Network, Pod};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{CniAttachment, CniRequest, Phase, PodNetwork};

use super::Actor;
use crate::{Shared, failpoint, launch};

impl Actor {
    /// Lets plugins make the network of a sandbox that wants that.
    pub(super) async fn attach_cni(&mut self, pid: i32) -> Result<(), Failure> {
        let Some(request) = self.cni_request() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let network = crate::blocking(move || shared.cni()).await?.ok_or_else(|| {
            let words = "cni config uninitialized: there was one when the pod was asked for";
            Failure::new(ErrorKind::Unavailable, words)
        })?;
        let gate = Arc::clone(&self.shared);
        let _no_collection = gate.cni_gate.read().await;
        let list = network.list.text().to_owned();
        self.container.cni = Some(CniAttachment { list, ..CniAttachment::default() });
        self.save()?;
        failpoint::hit("pod.cni-noted");
        let id = self.container.id.clone();
        let attached = crate::blocking(move || {
            let netns = format!("/proc/{pid}/ns/net");
            Ok(network.add(Pod { id: &id, netns: &netns, request: &request })?)
        })
        .await
        .map_err(|failure| failure.context("failed to setup network for sandbox"))?;
        failpoint::hit("pod.cni-added");
        if let Some(cni) = &mut self.container.cni {
            cni.result = attached.result;
            cni.addresses = attached.addresses;
        }
        self.save()?;
        // A collection that comes now must find it.
        self.publish();
        let (shared, container) = (Arc::clone(&self.shared), self.container.clone());
        crate::blocking(move || launch::write_pod_hosts(&shared, &container)).await
    }

    /// Lets plugins take apart what they made. May be repeated.
    pub(super) async fn detach_cni(&mut self) -> Result<(), Failure> {
        let Some(cni) = self.container.cni.clone() else { return Ok(()) };
        let request = self.cni_request().unwrap_or_default();
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
            (made, self.container.state.pid, self.cni_request())
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

    fn cni_request(&self) -> Option<CniRequest> {
        match self.container.spec.pod.as_ref().map(|part| &part.network) {
            Some(PodNetwork::Cni(request)) => Some(request.as_ref().clone()),
            _ => None,
        }
    }
}

/// The plugins that were asked to make a network, as they were then.
fn noted(shared: &Shared, cni: &CniAttachment) -> Result<Network, Failure> {
    let list = ConfList::parse(&cni.list).map_err(|why| Failure::new(ErrorKind::Internal, why))?;
    Ok(Network { list, plugins: shared.config.cni.plugin_dirs.clone() })
}

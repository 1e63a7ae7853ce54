//! Pods.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use ferry_engine::ops::pod;
use ferry_errkind::ErrorKind;
use ferry_model::container::Container;
use tonic::Status;

use super::{Runtime, container, listed::Listed, matches};
use crate::{
    answer::{Answer, done, refused},
    api,
    convert::{self, sandbox, status},
    record::Sandbox,
};

pub(super) async fn run(
    runtime: &Runtime,
    request: api::RunPodSandboxRequest,
) -> Answer<api::RunPodSandboxResponse> {
    let engine = &runtime.engine;
    let handler = &request.runtime_handler;
    if !handler.is_empty() && !engine.config().runtimes.contains_key(handler) {
        let words = format!("no runtime for \"{handler}\" is configured");
        return Err(Status::invalid_argument(words));
    }
    let cni = pod::has_cni(engine).await.map_err(refused)?;
    let (name, spec) = sandbox::spec(&request, cni)?;
    let pod_sandbox_id = pod::run(engine, &name, spec).await.map_err(refused)?;
    done(api::RunPodSandboxResponse { pod_sandbox_id })
}

/// That there is none any more is what was wanted.
pub(super) async fn stop(
    runtime: &Runtime,
    request: api::StopPodSandboxRequest,
) -> Answer<api::StopPodSandboxResponse> {
    match pod::stop(&runtime.engine, &request.pod_sandbox_id).await {
        Err(failure) if failure.kind() != ErrorKind::NotFound => Err(refused(failure)),
        _ => done(api::StopPodSandboxResponse {}),
    }
}

pub(super) async fn remove(
    runtime: &Runtime,
    request: api::RemovePodSandboxRequest,
) -> Answer<api::RemovePodSandboxResponse> {
    match pod::remove(&runtime.engine, &request.pod_sandbox_id).await {
        Err(failure) if failure.kind() != ErrorKind::NotFound => Err(refused(failure)),
        _ => done(api::RemovePodSandboxResponse {}),
    }
}

pub(super) async fn show(
    runtime: &Runtime,
    request: &api::PodSandboxStatusRequest,
) -> Answer<api::PodSandboxStatusResponse> {
    let it = runtime.sandbox(&request.pod_sandbox_id)?;
    let sandbox = Sandbox::of(&it).ok_or_else(|| no_sandbox(&request.pod_sandbox_id))?;
    let mut info = BTreeMap::new();
    if request.verbose {
        // Plugins are asked only when somebody wants to know everything: a kubelet does not.
        let checked = pod::check_network(&runtime.engine, &it.id).await;
        let text = serde_json::json!({
            "pid": it.state.pid,
            "cniCheck": match checked {
                Ok(false) => None,
                Ok(true) => Some("ok".to_owned()),
                Err(failure) => Some(failure.message().to_owned()),
            },
            "cniResult": it.cni.as_ref().map(|cni| cni.result.as_str()),
            "cgroupParent": it.spec.host.cgroup_parent,
        });
        info.insert("info".to_owned(), text.to_string());
    }
    done(api::PodSandboxStatusResponse {
        status: Some(status::sandbox_status(&sandbox)),
        info,
        containers_statuses: container::statuses(&runtime.engine, &it.id).await,
        timestamp: super::now().nanos(),
    })
}

/// Of each pod that is wanted what `pick` takes.
pub(super) fn list<U>(
    runtime: &Runtime,
    filter: Option<api::PodSandboxFilter>,
    pick: impl Fn(&Listed<api::PodSandbox>) -> U,
) -> Vec<U> {
    of(runtime, &pod::list(&runtime.engine), &filter.unwrap_or_default(), pick)
}

/// The same as an answer's bytes.
pub(super) fn answer(runtime: &Runtime, filter: Option<api::PodSandboxFilter>) -> Bytes {
    let filter = filter.unwrap_or_default();
    let is_all = filter == api::PodSandboxFilter::default();
    runtime.all_pods.answer(pod::version(&runtime.engine), is_all, || {
        of(runtime, &pod::list(&runtime.engine), &filter, |listed| listed.bytes.clone())
    })
}

/// Of those of `all` that are wanted.
fn of<U>(
    runtime: &Runtime,
    all: &[Arc<Container>],
    filter: &api::PodSandboxFilter,
    pick: impl Fn(&Listed<api::PodSandbox>) -> U,
) -> Vec<U> {
    let wanted = |listed: &Listed<api::PodSandbox>| {
        let sandbox = &listed.item;
        sandbox.id.starts_with(&filter.id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == sandbox.state)
            && matches(&filter.label_selector, &sandbox.labels)
    };
    let show = |it: &Container| Some(Listed::new(status::sandbox(&Sandbox::of(it)?)));
    let pick = |listed: &Listed<_>| wanted(listed).then(|| pick(listed));
    runtime.shown_pods.list(all, |it| &it.id, show, pick)
}

/// Limits of whole pods are set by the kubelet on the cgroup that it made; there is nothing of ours to change but checks.
pub(super) fn update_resources(
    runtime: &Runtime,
    request: &api::UpdatePodSandboxResourcesRequest,
) -> Answer<api::UpdatePodSandboxResourcesResponse> {
    runtime.sandbox(&request.pod_sandbox_id)?;
    for limits in [&request.overhead, &request.resources].into_iter().flatten() {
        convert::resources(limits)?;
    }
    done(api::UpdatePodSandboxResourcesResponse {})
}

pub(super) fn no_sandbox(id: &str) -> Status {
    Status::not_found(format!("an error occurred when try to find sandbox \"{id}\": not found"))
}

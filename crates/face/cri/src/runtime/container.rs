//! Containers of pods.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use ferry_engine::{
    Engine,
    ops::{
        container::{self, StopRequest},
        exec_sync, image, pod,
    },
};
use ferry_errkind::ErrorKind;
use ferry_model::container::{Container, Phase, UpdateContainer};
use tonic::Status;

use super::{Runtime, listed::Listed, matches, sandbox::no_sandbox};
use crate::{
    answer::{Answer, done, invalid, refused},
    api,
    convert::{self, required, status},
    record::{Member, Sandbox},
};

/// containerd's limit for what ExecSync answers of each stream.
const MAX_OUTPUT: usize = 16 << 20;

pub(super) async fn create(
    runtime: &Runtime,
    request: api::CreateContainerRequest,
) -> Answer<api::CreateContainerResponse> {
    let it = runtime.sandbox(&request.pod_sandbox_id)?;
    let sandbox = Sandbox::of(&it).ok_or_else(|| no_sandbox(&request.pod_sandbox_id))?;
    let new = convert::container::spec(&request, &sandbox)?;
    let container_id = pod::create(&runtime.engine, &it.id, &new.name, new.sharing, new.spec)
        .await
        .map_err(refused)?;
    done(api::CreateContainerResponse { container_id })
}

pub(super) async fn start(
    runtime: &Runtime,
    request: api::StartContainerRequest,
) -> Answer<api::StartContainerResponse> {
    let it = runtime.container(&request.container_id)?;
    if it.state.phase == Phase::Exited {
        let words = format!("container \"{}\" is in CONTAINER_EXITED state", it.id);
        return Err(Status::failed_precondition(words));
    }
    container::start(&runtime.engine, &it.id).await.map_err(refused)?;
    done(api::StartContainerResponse {})
}

pub(super) async fn stop(
    runtime: &Runtime,
    request: api::StopContainerRequest,
) -> Answer<api::StopContainerResponse> {
    let stopped = async {
        let it = pod::find(&runtime.engine, &request.container_id)?;
        let wish = match request.timeout {
            timeout if timeout > 0 => StopRequest { timeout: Some(timeout), signal: None },
            // No time to do anything about a polite signal.
            _ => StopRequest { timeout: Some(0), signal: Some("KILL".to_owned()) },
        };
        container::stop(&runtime.engine, &it.id, wish).await
    };
    match stopped.await {
        Err(failure) if failure.kind() != ErrorKind::NotFound => Err(refused(failure)),
        _ => done(api::StopContainerResponse {}),
    }
}

pub(super) async fn remove(
    runtime: &Runtime,
    request: api::RemoveContainerRequest,
) -> Answer<api::RemoveContainerResponse> {
    let it = match pod::find(&runtime.engine, &request.container_id) {
        Ok(it) => it,
        Err(failure) if failure.kind() == ErrorKind::NotFound => {
            return done(api::RemoveContainerResponse {});
        }
        Err(failure) => return Err(refused(failure)),
    };
    if Member::of(&it).is_none() {
        return Err(invalid(format!("\"{}\" is a sandbox, no container", it.id)));
    }
    pod::remove_container(&runtime.engine, &it.id).await.map_err(refused)?;
    done(api::RemoveContainerResponse {})
}

/// Of each container that is wanted what `pick` takes.
pub(super) fn list<U>(
    runtime: &Runtime,
    filter: Option<api::ContainerFilter>,
    pick: impl Fn(&Listed<api::Container>) -> U,
) -> Vec<U> {
    of(runtime, &pod::list(&runtime.engine), &filter.unwrap_or_default(), pick)
}

/// The same as an answer's bytes.
pub(super) fn answer(runtime: &Runtime, filter: Option<api::ContainerFilter>) -> Bytes {
    let filter = filter.unwrap_or_default();
    let is_all = filter == api::ContainerFilter::default();
    runtime.all_containers.answer(pod::version(&runtime.engine), is_all, || {
        of(runtime, &pod::list(&runtime.engine), &filter, |listed| listed.bytes.clone())
    })
}

/// Of those of `all` that are wanted.
fn of<U>(
    runtime: &Runtime,
    all: &[Arc<Container>],
    filter: &api::ContainerFilter,
    pick: impl Fn(&Listed<api::Container>) -> U,
) -> Vec<U> {
    let wanted = |listed: &Listed<api::Container>| {
        let container = &listed.item;
        container.id.starts_with(&filter.id)
            && container.pod_sandbox_id.starts_with(&filter.pod_sandbox_id)
            && filter.state.as_ref().is_none_or(|wanted| wanted.state == container.state)
            && matches(&filter.label_selector, &container.labels)
    };
    let show = |it: &Container| Some(Listed::new(status::container(&Member::of(it)?)));
    let pick = |listed: &Listed<_>| wanted(listed).then(|| pick(listed));
    runtime.shown_containers.list(all, |it| &it.id, show, pick)
}

/// A container of a pod as it is shown by itself; nothing for a pod.
pub(crate) async fn status_of(engine: &Engine, it: &Container) -> Option<api::ContainerStatus> {
    let member = Member::of(it)?;
    let image = image::inspect(engine, &it.image_id.to_string()).await.ok();
    Some(status::container_status(&member, image.as_ref()))
}

/// The containers of a pod, each as `status_of` shows it.
pub(super) async fn statuses(engine: &Engine, pod: &str) -> Vec<api::ContainerStatus> {
    let mut shown = Vec::new();
    for it in pod::members(engine, pod) {
        shown.extend(status_of(engine, &it).await);
    }
    shown
}

pub(super) async fn show(
    runtime: &Runtime,
    request: &api::ContainerStatusRequest,
) -> Answer<api::ContainerStatusResponse> {
    let it = runtime.container(&request.container_id)?;
    let member = Member::of(&it).ok_or_else(|| no_container(&request.container_id))?;
    let mut info = BTreeMap::new();
    if request.verbose {
        let text = serde_json::json!({
            "sandboxID": member.sandbox,
            "pid": it.state.pid,
            "runtimeType": it.spec.host.runtime,
            "mounts": it.mounts,
        });
        info.insert("info".to_owned(), text.to_string());
    }
    done(api::ContainerStatusResponse { status: status_of(&runtime.engine, &it).await, info })
}

pub(super) async fn update_resources(
    runtime: &Runtime,
    request: api::UpdateContainerResourcesRequest,
) -> Answer<api::UpdateContainerResourcesResponse> {
    let it = runtime.container(&request.container_id)?;
    let limits = required(request.linux.as_ref(), "linux")?;
    let update = UpdateContainer {
        resources: convert::resources(limits)?,
        restart_policy: None,
        unified: limits.unified.clone(),
        hugepages: convert::hugepages(limits),
    };
    container::update(&runtime.engine, &it.id, update).await.map_err(refused)?;
    done(api::UpdateContainerResourcesResponse {})
}

pub(super) async fn reopen_log(
    runtime: &Runtime,
    request: api::ReopenContainerLogRequest,
) -> Answer<api::ReopenContainerLogResponse> {
    let it = runtime.container(&request.container_id)?;
    pod::reopen_log(&runtime.engine, &it.id).await.map_err(refused)?;
    done(api::ReopenContainerLogResponse {})
}

pub(super) async fn exec_sync(
    runtime: &Runtime,
    request: api::ExecSyncRequest,
) -> Answer<api::ExecSyncResponse> {
    let it = runtime.container(&request.container_id)?;
    let limit = match request.timeout {
        0 => None,
        seconds => Some(Duration::from_secs(
            u64::try_from(seconds).map_err(|_| invalid("timeout must not be negative"))?,
        )),
    };
    let ran = exec_sync::run(&runtime.engine, &it.id, request.cmd, limit, MAX_OUTPUT);
    let finished = ran.await.map_err(refused)?;
    let Some(exit_code) = finished.exit_code else {
        let words = format!(
            "failed to exec in container: timeout {}s exceeded: context deadline exceeded",
            request.timeout
        );
        return Err(Status::deadline_exceeded(words));
    };
    done(api::ExecSyncResponse { stdout: finished.stdout, stderr: finished.stderr, exit_code })
}

pub(super) fn no_container(id: &str) -> Status {
    Status::not_found(format!("an error occurred when try to find container \"{id}\": not found"))
}

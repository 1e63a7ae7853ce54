//! Sandboxes and containers as they are shown.

use ferry_model::{
    container::{Container, ContainerState},
    image::ImageView,
};
use ferry_oci::runtime::User;
use ferry_stdx::time::Timestamp;

use super::image::full;
use crate::{
    api,
    record::{Member, Sandbox},
};

fn nanos(time: Option<Timestamp>) -> i64 {
    time.map_or(0, Timestamp::nanos)
}

/// One line of ListPodSandbox.
pub(crate) fn sandbox(sandbox: &Sandbox<'_>) -> api::PodSandbox {
    api::PodSandbox {
        id: sandbox.it.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox.state().into(),
        created_at: sandbox.it.created.nanos(),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: sandbox.handler.clone(),
    }
}

/// PodSandboxStatus.
pub(crate) fn sandbox_status(sandbox: &Sandbox<'_>) -> api::PodSandboxStatus {
    let namespaces = sandbox.namespaces();
    let mut addresses = addresses(sandbox.it).into_iter();
    api::PodSandboxStatus {
        id: sandbox.it.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox.state().into(),
        created_at: sandbox.it.created.nanos(),
        network: Some(api::PodSandboxNetworkStatus {
            ip: addresses.next().unwrap_or_default(),
            additional_ips: addresses.map(|ip| api::PodIp { ip }).collect(),
        }),
        linux: Some(api::LinuxPodSandboxStatus {
            namespaces: Some(api::Namespace { options: Some(namespaces) }),
        }),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: sandbox.handler.clone(),
    }
}

/// A sandbox's addresses, the main one first; none where it has the machine's network.
pub(crate) fn addresses(it: &Container) -> Vec<String> {
    if let Some(cni) = &it.cni {
        return cni.addresses.iter().map(ToString::to_string).collect();
    }
    let endpoints = it.endpoints.values();
    let all = endpoints.flat_map(|endpoint| {
        let v4 = endpoint.ipv4.map(|ip| ip.to_string());
        v4.into_iter().chain(endpoint.ipv6.map(|ip| ip.to_string()))
    });
    all.collect()
}

/// One line of ListContainers.
pub(crate) fn container(member: &Member<'_>) -> api::Container {
    let image_id = member.it.image_id.to_string();
    api::Container {
        id: member.it.id.clone(),
        pod_sandbox_id: member.sandbox.to_owned(),
        metadata: member.config.metadata.clone(),
        image: member.config.image.clone(),
        image_ref: image_id.clone(),
        state: member.state().into(),
        created_at: member.it.created.nanos(),
        labels: member.config.labels.clone(),
        annotations: member.config.annotations.clone(),
        image_id,
    }
}

/// ContainerStatus. A kubelet creates containers by their image's id, and tells users what it reads here: the image's first name and digest,
/// while `image` is there and has them.
pub(crate) fn container_status(
    member: &Member<'_>,
    image: Option<&ImageView>,
) -> api::ContainerStatus {
    let it = member.it;
    let state = &it.state;
    let exited = member.state() == api::ContainerState::ContainerExited;
    let image_id = it.image_id.to_string();
    let first = |names: &[String]| full(names).into_iter().next();
    let mut spec = member.config.image.clone().unwrap_or_default();
    spec.image = image.and_then(|image| first(&image.repo_tags)).unwrap_or(spec.image);
    let digest = image.and_then(|image| first(&image.repo_digests));
    let linux = member.config.linux.clone().unwrap_or_default();
    let log_path = it.spec.pod.as_ref().map(|part| part.log_path.clone());
    api::ContainerStatus {
        id: it.id.clone(),
        metadata: member.config.metadata.clone(),
        state: member.state().into(),
        created_at: it.created.nanos(),
        started_at: nanos(state.started_at),
        finished_at: match state.finished_at {
            // A start that failed has no end of its own.
            None if exited => it.created.nanos(),
            time if exited => nanos(time),
            _ => 0,
        },
        exit_code: if exited { state.exit_code } else { 0 },
        image: Some(spec),
        image_ref: digest.unwrap_or_else(|| image_id.clone()),
        reason: if exited { reason(state).to_owned() } else { String::new() },
        message: if exited { state.error.clone() } else { String::new() },
        labels: member.config.labels.clone(),
        annotations: member.config.annotations.clone(),
        mounts: member.config.mounts.clone(),
        log_path: log_path.unwrap_or_default(),
        resources: Some(api::ContainerResources {
            linux: Some(limits(it, linux.resources.unwrap_or_default())),
            windows: None,
        }),
        image_id,
        user: state.user.as_ref().map(user),
        stop_signal: stop_signal(it).into(),
    }
}

/// Who the program was started as.
fn user(user: &User) -> api::ContainerUser {
    api::ContainerUser {
        linux: Some(api::LinuxContainerUser {
            uid: user.uid.into(),
            gid: user.gid.into(),
            supplemental_groups: user.additional_gids.iter().copied().map(i64::from).collect(),
        }),
    }
}

/// The limits that were asked for, as updates have changed them.
fn limits(it: &Container, asked: api::LinuxContainerResources) -> api::LinuxContainerResources {
    let own = &it.spec.host.resources;
    let part = it.spec.pod.clone().unwrap_or_default();
    let page = |(page_size, limit)| api::HugepageLimit { page_size, limit };
    api::LinuxContainerResources {
        cpu_period: own.cpu_period,
        cpu_quota: own.cpu_quota,
        cpu_shares: own.cpu_shares,
        memory_limit_in_bytes: own.memory,
        memory_swap_limit_in_bytes: own.memory_swap,
        cpuset_cpus: own.cpuset_cpus.clone(),
        cpuset_mems: own.cpuset_mems.clone(),
        hugepage_limits: part.hugepages.into_iter().map(page).collect(),
        unified: part.unified,
        ..asked
    }
}

/// containerd's words, which people look for.
fn reason(state: &ContainerState) -> &'static str {
    if state.oom_killed {
        "OOMKilled"
    } else if !state.error.is_empty() {
        "StartError"
    } else if state.exit_code == 0 {
        "Completed"
    } else {
        "Error"
    }
}

/// The signal that stops it: its own, the image's, else the usual one.
fn stop_signal(it: &Container) -> api::Signal {
    let Some(text) = it.spec.stop_signal.as_deref() else { return api::Signal::Sigterm };
    let name = text.replace("RTMIN+", "RTMINPLUS").replace("RTMAX-", "RTMAXMINUS");
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    api::Signal::from_str_name(&name).unwrap_or_default()
}

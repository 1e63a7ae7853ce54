//! A container of a pod as it is asked for.

use std::collections::BTreeMap;

use ferry_engine::ops::pod::Sharing;
use ferry_model::container::{
    BindRecursion, ContainerSpec, DeviceMapping, DeviceRequest, HealthCheck, HostSettings,
    MountKind, MountRequest, PidMode, PodPart, Resources, UsernsMode,
};
use tonic::Status;

use super::{ids, required, security};
use crate::{answer::invalid, api, record, record::Sandbox};

/// Everything that the engine wants to know of a new container.
pub(crate) struct NewContainer {
    pub(crate) name: String,
    pub(crate) sharing: Sharing,
    pub(crate) spec: ContainerSpec,
}

/// The engine's request for a container in `sandbox`.
pub(crate) fn spec(
    request: &api::CreateContainerRequest,
    sandbox: &Sandbox<'_>,
) -> Result<NewContainer, Status> {
    let config = required(request.config.as_ref(), "config")?;
    let metadata = required(config.metadata.as_ref(), "config.metadata")?;
    if metadata.name.is_empty() {
        return Err(invalid("config.metadata.name is required"));
    }
    let image = required(config.image.as_ref(), "config.image")?;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    let limits = linux.resources.unwrap_or_default();
    let (host, sharing) = host(config, &security, &limits, sandbox)?;
    let list = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
    let group = security.run_as_group.as_ref();
    let user = security::user(security.run_as_user.as_ref(), &security.run_as_username, group)?;
    let spec = ContainerSpec {
        image: image.image.clone(),
        entrypoint: list(&config.command),
        cmd: list(&config.args),
        working_dir: config.working_dir.clone(),
        env: config.envs.iter().map(variable).collect::<Result<_, _>>()?,
        user,
        tty: config.tty,
        open_stdin: config.stdin,
        stdin_once: config.stdin_once,
        stop_signal: signal(config.stop_signal())?,
        // Kubernetes has probes of its own.
        healthcheck: Some(HealthCheck { test: vec!["NONE".to_owned()], ..HealthCheck::default() }),
        host,
        pod: Some(part(config, &security, &limits, sandbox)?),
        ..ContainerSpec::default()
    };
    Ok(NewContainer { name: format!("{}_{}", metadata.name, metadata.attempt), sharing, spec })
}

fn part(
    config: &api::ContainerConfig,
    security: &api::LinuxContainerSecurityContext,
    limits: &api::LinuxContainerResources,
    sandbox: &Sandbox<'_>,
) -> Result<PodPart, Status> {
    let kept = api::CreateContainerRequest {
        pod_sandbox_id: sandbox.it.id.clone(),
        config: Some(config.clone()),
        // It is in the sandbox's own record.
        sandbox_config: None,
    };
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let options = security.namespace_options.clone().unwrap_or_default();
    Ok(PodPart {
        sandbox: Some(sandbox.it.id.clone()),
        request: record::encode(&kept),
        log_path: log_path(&sandbox.config.log_directory, &config.log_path)?,
        ambient: capabilities.add_ambient_capabilities,
        hugepages: super::hugepages(limits),
        unified: limits.unified.clone(),
        strict_groups: security.supplemental_groups_policy()
            == api::SupplementalGroupsPolicy::Strict,
        ids: ids::of_container(&options, sandbox)?,
        ..PodPart::default()
    })
}

/// The log's file; empty is none, as both parts must be given.
fn log_path(directory: &str, path: &str) -> Result<String, Status> {
    if directory.is_empty() || path.is_empty() {
        return Ok(String::new());
    }
    if !directory.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(invalid(format!("log_path: \"{directory}\" and \"{path}\" make no path")));
    }
    Ok(format!("{}/{}", directory.trim_end_matches('/'), path.trim_start_matches('/')))
}

fn host(
    config: &api::ContainerConfig,
    security: &api::LinuxContainerSecurityContext,
    limits: &api::LinuxContainerResources,
    sandbox: &Sandbox<'_>,
) -> Result<(HostSettings, Sharing), Status> {
    let namespaces = security.namespace_options.clone().unwrap_or_default();
    if security.privileged && !sandbox.security().privileged {
        return Err(invalid("no privileged container allowed in sandbox"));
    }
    let (pid_mode, sharing) = match namespaces.pid() {
        api::NamespaceMode::Pod => (PidMode::Private, Sharing { pids: true }),
        api::NamespaceMode::Container => (PidMode::Private, Sharing::default()),
        api::NamespaceMode::Node => (PidMode::Host, Sharing::default()),
        api::NamespaceMode::Target => {
            (PidMode::Container(namespaces.target_id.clone()), Sharing::default())
        }
    };
    let capabilities = security.capabilities.clone().unwrap_or_default();
    let mut security_opt: Vec<String> = Vec::new();
    // Whatever profile is named, who is privileged has no filter: as with other runtimes.
    let seccomp = security.seccomp.as_ref().filter(|_| !security.privileged);
    security_opt.extend(security::seccomp(seccomp)?);
    security_opt.extend(security::apparmor(security.apparmor.as_ref()));
    security_opt.extend(security::selinux(security.selinux_options.as_ref()));
    if security.no_new_privs {
        security_opt.push("no-new-privileges".to_owned());
    }
    let paths = |paths: &[String]| if security.privileged { Vec::new() } else { paths.to_vec() };
    let settings = HostSettings {
        mounts: config.mounts.iter().map(mount).collect::<Result<_, _>>()?,
        pid_mode,
        userns_mode: UsernsMode::Host,
        cgroup_parent: sandbox.it.spec.host.cgroup_parent.clone(),
        privileged: security.privileged,
        cap_add: capabilities.add_capabilities,
        cap_drop: capabilities.drop_capabilities,
        security_opt,
        group_add: security.supplemental_groups.iter().map(ToString::to_string).collect(),
        readonly_rootfs: security.readonly_rootfs,
        masked_paths: Some(paths(&security.masked_paths)),
        readonly_paths: Some(paths(&security.readonly_paths)),
        oom_score_adj: i32::try_from(limits.oom_score_adj)
            .map_err(|_| invalid("linux.resources.oom_score_adj is out of range"))?,
        runtime: sandbox.handler.clone(),
        resources: Resources {
            devices: config.devices.iter().map(device).collect(),
            device_requests: cdi(&config.cdi_devices),
            ..super::resources(limits)?
        },
        ..HostSettings::default()
    };
    Ok((settings, sharing))
}

fn variable(variable: &api::KeyValue) -> Result<String, Status> {
    let value = std::str::from_utf8(&variable.value)
        .map_err(|_| invalid(format!("envs: the value of {} is no UTF-8", variable.key)))?;
    Ok(format!("{}={value}", variable.key))
}

fn device(device: &api::Device) -> DeviceMapping {
    DeviceMapping {
        host_path: device.host_path.clone(),
        container_path: device.container_path.clone(),
        permissions: device.permissions.clone(),
    }
}

/// Devices by the names that their vendors' files give them.
fn cdi(devices: &[api::CdiDevice]) -> Vec<DeviceRequest> {
    if devices.is_empty() {
        return Vec::new();
    }
    vec![DeviceRequest {
        driver: "cdi".to_owned(),
        device_ids: devices.iter().map(|device| device.name.clone()).collect(),
        ..DeviceRequest::default()
    }]
}

fn mount(mount: &api::Mount) -> Result<MountRequest, Status> {
    let api::Mount {
        container_path,
        host_path,
        readonly,
        selinux_relabel,
        propagation: _,
        uid_mappings,
        gid_mappings,
        recursive_read_only,
        image,
        image_sub_path,
    } = mount;
    let image = image.as_ref().map(|image| image.image.as_str()).filter(|image| !image.is_empty());
    let maps = ids::of_mount(container_path, uid_mappings, gid_mappings)?;
    if *recursive_read_only && !readonly {
        return Err(invalid("mounts: recursive_read_only needs readonly"));
    }
    // What the host mounts later would come to it as it is there.
    if *recursive_read_only && mount.propagation() != api::MountPropagation::PropagationPrivate {
        let words =
            format!("mounts: {container_path}: recursive_read_only needs PROPAGATION_PRIVATE");
        return Err(invalid(words));
    }
    Ok(MountRequest {
        kind: if image.is_some() { MountKind::Image } else { MountKind::Bind },
        source: image.unwrap_or(host_path).to_owned(),
        target: container_path.clone(),
        read_only: *readonly,
        consistency: String::new(),
        propagation: match mount.propagation() {
            api::MountPropagation::PropagationPrivate => "rprivate",
            api::MountPropagation::PropagationHostToContainer => "rslave",
            api::MountPropagation::PropagationBidirectional => "rshared",
        }
        .to_owned(),
        recursion: match (readonly, recursive_read_only) {
            (true, true) => BindRecursion::Readonly,
            (true, false) => BindRecursion::Writable,
            (false, _) => BindRecursion::Enabled,
        },
        create_source: true,
        idmap: false,
        maps,
        relabel: *selinux_relabel,
        no_copy: true,
        volume_labels: BTreeMap::new(),
        volume_driver: String::new(),
        volume_options: BTreeMap::new(),
        subpath: if image.is_some() { image_sub_path.clone() } else { String::new() },
        tmpfs_size: 0,
        tmpfs_mode: 0,
        tmpfs_options: Vec::new(),
    })
}

/// A stop signal by the name that the engine knows.
fn signal(signal: api::Signal) -> Result<Option<String>, Status> {
    if signal == api::Signal::RuntimeDefault {
        return Ok(None);
    }
    let name = signal.as_str_name();
    Ok(Some(name.replace("RTMINPLUS", "RTMIN+").replace("RTMAXMINUS", "RTMAX-")))
}

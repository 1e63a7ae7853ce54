//! A service to the body of container create. Nothing here asks the daemon.

mod host;
mod mounts;
mod network;

use std::collections::BTreeMap;

use ferry_cli::face::CliError;
use ferry_docker_api::{
    ContainerConfig, ContainerCreateRequest, HealthConfig, MountPoint, NetworkingConfig, StrSlice,
};

use crate::{
    load::nanoseconds,
    model::{FileObject, FileReference, Project, Service},
    run::{Container, labels},
};

pub(crate) use self::mounts::target_of;
use self::{
    host::host_config,
    mounts::{mounts, volumes_from},
    network::{endpoints, network_mode, ports},
};

/// The container that is wanted.
pub(crate) struct Want<'a> {
    pub(crate) project: &'a Project,
    pub(crate) service: &'a Service,
    /// Its number; none for one of `run`.
    pub(crate) number: Option<u32>,
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) image_id: &'a str,
    /// Volumes of the container that this one replaces.
    pub(crate) inherited: &'a [MountPoint],
    /// Ids of the containers that stand for services in `network_mode: service:x` and the like.
    pub(crate) container_of: &'a dyn Fn(&str) -> Option<String>,
    /// The project's containers, where the service is linked to others.
    pub(crate) present: &'a [Container],
}

/// Refuses what cannot be honoured, by name.
pub(crate) fn check(service: &Service) -> Result<(), CliError> {
    let refused = [
        ("models", service.models.is_some()),
        ("provider", service.provider.is_some()),
        ("credential_spec", service.credential_spec.is_some()),
        ("cpu_count", service.cpu_count != 0),
        ("cpu_percent", service.cpu_percent != 0.0),
        ("pre_start.per_replica", service.pre_start.iter().any(|hook| hook.per_replica)),
    ];
    match refused.iter().find(|(_, used)| *used) {
        Some((key, _)) => {
            Err(CliError::new(format!("not supported yet: services.{}.{key}", service.name)))
        }
        None => Ok(()),
    }
}

/// What is written for a cluster, and has no meaning on one machine.
pub(crate) fn warnings(project: &Project, service: &Service, hands_over: bool) -> Vec<String> {
    let mut warnings = unowned(project, service);
    let Some(deploy) = &service.deploy else { return warnings };
    let set = |value: &Option<serde_json::Value>| {
        value.as_ref().is_some_and(|v| *v != serde_json::json!({}))
    };
    let restart = deploy.restart_policy.as_ref();
    let update = deploy.update_config.as_ref().filter(|update| update.order == "start-first");
    let kept = service.reservations();
    let ignored = [
        ("placement", set(&deploy.placement)),
        ("endpoint_mode", deploy.endpoint_mode == "vip"),
        ("labels", !deploy.labels.is_empty()),
        ("mode", !matches!(deploy.mode.as_str(), "" | "replicated" | "global")),
        ("restart_policy.delay", restart.is_some_and(|policy| policy.delay.is_some())),
        ("restart_policy.window", restart.is_some_and(|policy| policy.window.is_some())),
        ("resources.reservations.cpus", kept.is_some_and(|kept| kept.cpus != 0.0)),
        (
            "resources.reservations.generic_resources",
            kept.is_some_and(|kept| set(&kept.generic_resources)),
        ),
    ];
    warnings.extend(ignored.iter().filter(|(_, used)| *used).map(|(key, _)| {
        format!(
            "services.{}.deploy.{key} is ignored: there is one machine, and no cluster",
            service.name
        )
    }));
    if let Some(why) =
        update.and_then(|_| crate::run::rolling::not_side_by_side(service, hands_over))
    {
        warnings.push(format!(
            "services.{}.deploy.update_config.order is stop-first, not start-first: {why}",
            service.name
        ));
    }
    warnings
}

/// Files of this machine keep their owners and modes.
fn unowned(project: &Project, service: &Service) -> Vec<String> {
    let owned = |object: &FileObject, one: &FileReference| {
        let is_told = !one.uid.is_empty() || !one.gid.is_empty() || one.mode.is_some();
        is_told && !object.file.is_empty()
    };
    let lists = [
        ("secrets", &service.secrets, &project.secrets),
        ("config", &service.configs, &project.configs),
    ];
    lists
        .into_iter()
        .filter(|(_, used, all)| {
            used.iter().any(|one| all.get(&one.source).is_some_and(|object| owned(object, one)))
        })
        .map(|(kind, ..)| {
            format!("{kind} `uid`, `gid` and `mode` are not supported, they will be ignored")
        })
        .collect()
}

/// The request.
pub(crate) fn request(want: &Want<'_>) -> Result<ContainerCreateRequest, CliError> {
    let service = want.service;
    check(service)?;
    let (exposed, bindings) = ports(service);
    let (binds, mounts) = mounts(want)?;
    let mode = network_mode(want)?;
    let endpoints = endpoints(want);
    let config = ContainerConfig {
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        user: service.user.clone(),
        attach_stdout: true,
        attach_stderr: true,
        exposed_ports: exposed,
        tty: service.tty,
        open_stdin: service.stdin_open,
        attach_stdin: want.number.is_none() && service.stdin_open,
        stdin_once: want.number.is_none() && service.stdin_open,
        env: Some(pairs(&service.environment)),
        cmd: StrSlice(service.command.clone()),
        healthcheck: health(service),
        image: want.image.to_owned(),
        working_dir: service.working_dir.clone(),
        entrypoint: StrSlice(service.entrypoint.clone()),
        mac_address: String::new(),
        labels: Some(labels::of_container(
            want.project,
            service,
            want.number,
            want.image_id,
            want.container_of,
        )?),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: service
            .stop_grace_period
            .as_deref()
            .and_then(nanoseconds)
            .map(|nanos| nanos.div_euclid(1_000_000_000)),
        ..ContainerConfig::default()
    };
    let mut host = host_config(service);
    host.binds = Some(binds).filter(|binds| !binds.is_empty());
    host.mounts = mounts;
    host.network_mode = mode;
    host.port_bindings = Some(bindings);
    host.ipc_mode = shared(want, &service.ipc)?;
    host.pid_mode = shared(want, &service.pid)?;
    host.volumes_from = volumes_from(want)?;
    host.links = None;
    Ok(ContainerCreateRequest {
        config,
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
    })
}

/// `NAME=value`, or the name alone where the value is the image's.
pub(crate) fn pairs(map: &BTreeMap<String, Option<String>>) -> Vec<String> {
    map.iter()
        .map(|(name, value)| match value {
            Some(value) => format!("{name}={value}"),
            None => name.clone(),
        })
        .collect()
}

fn values(map: &BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    map.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or_default())).collect()
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn health(service: &Service) -> Option<HealthConfig> {
    let check = service.healthcheck.as_ref()?;
    let time = |text: &Option<String>| text.as_deref().and_then(nanoseconds).unwrap_or(0);
    let test = if check.disable { vec!["NONE".to_owned()] } else { check.test.clone() };
    Some(HealthConfig {
        test,
        interval: time(&check.interval),
        timeout: time(&check.timeout),
        start_period: time(&check.start_period),
        start_interval: time(&check.start_interval),
        retries: check.retries.unwrap_or(0),
    })
}

/// `service:x` becomes the container of that service.
fn shared(want: &Want<'_>, mode: &str) -> Result<String, CliError> {
    let Some(name) = mode.strip_prefix("service:") else { return Ok(mode.to_owned()) };
    let id = (want.container_of)(name).ok_or_else(|| {
        CliError::new(format!("cannot share namespace with service {name:?}: container missing"))
    })?;
    Ok(format!("container:{id}"))
}

//! Container create: `ContainerCreateRequest` to `ContainerSpec`.

use std::collections::{BTreeMap, BTreeSet};

use ferry_docker_api::{
    ContainerConfig, ContainerCreateRequest, HealthConfig, HostConfig, NetworkingConfig,
};
use ferry_errkind::Failure;
use ferry_model::{
    container::{
        AttachFlags, ContainerSpec, CreateContainer, HealthCheck, HostSettings, NetworkMode,
    },
    network::EndpointRequest,
};

use super::{endpoint, host_in, port};
use crate::refuse::invalid;

/// What the engine is to make, and what the user should know.
pub(crate) fn request(
    name: Option<String>,
    platform: Option<String>,
    request: ContainerCreateRequest,
) -> Result<(CreateContainer, Vec<String>), Failure> {
    let ContainerCreateRequest { config, host_config, networking_config } = request;
    if config == ContainerConfig::default() {
        return Err(invalid("config cannot be empty in order to create a container"));
    }
    let mut warnings = Vec::new();
    let host = host_in::settings(host_config.unwrap_or_default(), &mut warnings)?;
    let mut endpoints = endpoints(&host.network_mode, networking_config.unwrap_or_default())?;
    let spec = spec(config, host, &mut endpoints, &mut warnings)?;
    check_conflicts(&spec)?;
    Ok((CreateContainer { name, platform, spec: ContainerSpec { endpoints, ..spec } }, warnings))
}

/// What an image committed with this configuration hands on; what is about one container only is read and left.
pub(crate) fn committed(config: ContainerConfig) -> Result<ContainerSpec, Failure> {
    spec(config, HostSettings::default(), &mut BTreeMap::new(), &mut Vec::new())
}

/// Settings of a build's containers.
pub(crate) fn host_settings(config: HostConfig) -> Result<HostSettings, Failure> {
    host_in::settings(config, &mut Vec::new())
}

fn spec(
    config: ContainerConfig,
    host: HostSettings,
    endpoints: &mut BTreeMap<String, EndpointRequest>,
    warnings: &mut Vec<String>,
) -> Result<ContainerSpec, Failure> {
    let ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin,
        attach_stdout,
        attach_stderr,
        exposed_ports,
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        healthcheck,
        args_escaped,
        image,
        volumes,
        working_dir,
        entrypoint,
        network_disabled,
        mac_address,
        on_build,
        labels,
        stop_signal,
        stop_timeout,
        shell,
    } = config;
    check_env(env.as_deref().unwrap_or_default())?;
    if !working_dir.is_empty() && !working_dir.starts_with('/') {
        return Err(invalid(format!(
            "the working directory '{working_dir}' is invalid, it needs to be an absolute path"
        )));
    }
    move_mac_address(mac_address, &host.network_mode, endpoints, warnings)?;
    let exposed_ports =
        exposed_ports.keys().map(|text| port::key(text)).collect::<Result<BTreeSet<_>, _>>()?;
    let mut host = host;
    if on_build.as_ref().is_some_and(Vec::is_empty) {
        host.sent_empty.insert("OnBuild".to_owned());
    }
    Ok(ContainerSpec {
        image,
        hostname,
        domainname,
        user,
        attach: AttachFlags { stdin: attach_stdin, stdout: attach_stdout, stderr: attach_stderr },
        tty,
        open_stdin,
        stdin_once,
        env: env.unwrap_or_default(),
        cmd: cmd.0,
        args_escaped,
        entrypoint: entrypoint.0,
        working_dir,
        labels: labels.unwrap_or_default(),
        exposed_ports,
        volumes: volumes.unwrap_or_default().into_keys().collect(),
        stop_signal: (!stop_signal.is_empty()).then_some(stop_signal),
        stop_timeout,
        healthcheck: healthcheck.map(health_check).transpose()?,
        on_build: on_build.unwrap_or_default(),
        shell: shell.0,
        network_disabled,
        host,
        endpoints: BTreeMap::new(),
        pod: None,
    })
}

fn check_env(env: &[String]) -> Result<(), Failure> {
    match env.iter().find(|line| line.is_empty() || line.starts_with('=')) {
        Some(line) => Err(invalid(format!("invalid environment variable: {line}"))),
        None => Ok(()),
    }
}

fn health_check(config: HealthConfig) -> Result<HealthCheck, Failure> {
    let HealthConfig { test, interval, timeout, start_period, start_interval, retries } = config;
    let least = 1_000_000;
    for (name, nanos) in [
        ("Interval", interval),
        ("Timeout", timeout),
        ("StartPeriod", start_period),
        ("StartInterval", start_interval),
    ] {
        if nanos != 0 && nanos < least {
            return Err(invalid(format!("{name} in Healthcheck cannot be less than 1ms")));
        }
    }
    if retries < 0 {
        return Err(invalid("Retries in Healthcheck cannot be negative"));
    }
    Ok(HealthCheck { test, interval, timeout, start_period, start_interval, retries })
}

/// The networks to join. The default network is called `bridge` from here on.
fn endpoints(
    mode: &NetworkMode,
    config: NetworkingConfig,
) -> Result<BTreeMap<String, EndpointRequest>, Failure> {
    let NetworkingConfig { endpoints_config } = config;
    let mut endpoints = BTreeMap::new();
    for (name, settings) in endpoints_config.unwrap_or_default() {
        let name = if name == "default" { "bridge".to_owned() } else { name };
        let request = endpoint::request(settings.unwrap_or_default())
            .map_err(|failure| failure.context(format!("invalid config for network {name}")))?;
        endpoints.insert(name, request);
    }
    if let NetworkMode::Named(name) = mode {
        endpoints.entry(name.clone()).or_default();
    }
    Ok(endpoints)
}

/// A container-wide MAC address, deprecated since 1.44, belongs to the main network's endpoint.
fn move_mac_address(
    mac: String,
    mode: &NetworkMode,
    endpoints: &mut BTreeMap<String, EndpointRequest>,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    if mac.is_empty() {
        return Ok(());
    }
    let network = match mode {
        NetworkMode::Default | NetworkMode::Bridge => "bridge",
        NetworkMode::Named(name) => name,
        NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => {
            return Err(invalid("conflicting options: mac-address and the network mode"));
        }
    };
    endpoint::check_mac(&mac)
        .map_err(|failure| failure.context(format!("invalid config for network {network}")))?;
    let endpoint = endpoints.entry(network.to_owned()).or_default();
    if endpoint.mac.as_ref().is_some_and(|own| *own != mac) {
        return Err(invalid(
            "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty",
        ));
    }
    endpoint.mac = Some(mac);
    warnings.push(
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead."
            .to_owned(),
    );
    Ok(())
}

/// Options that exclude each other, in the words of moby's `runconfig`.
fn check_conflicts(spec: &ContainerSpec) -> Result<(), Failure> {
    let host = &spec.host;
    if host.uts_host && !spec.hostname.is_empty() {
        return Err(invalid("conflicting options: hostname and the UTS mode"));
    }
    match &host.network_mode {
        NetworkMode::Host if !host.links.is_empty() => Err(invalid(
            "conflicting options: host type networking can't be used with links. This would result in undefined behavior",
        )),
        NetworkMode::Container(_) => check_shared_network(spec),
        _ => Ok(()),
    }
}

fn check_shared_network(spec: &ContainerSpec) -> Result<(), Failure> {
    let host = &spec.host;
    let conflicts = [
        (!spec.hostname.is_empty(), "conflicting options: hostname and the network mode"),
        (
            !host.links.is_empty(),
            "conflicting options: container type network can't be used with links. This would result in undefined behavior",
        ),
        (!host.dns.is_empty(), "conflicting options: dns and the network mode"),
        (
            !host.extra_hosts.is_empty(),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            !host.port_bindings.is_empty() || host.publish_all_ports,
            "conflicting options: port publishing and the container type network mode",
        ),
        (
            !spec.exposed_ports.is_empty(),
            "conflicting options: port exposing and the container type network mode",
        ),
    ];
    match conflicts.into_iter().find(|(conflict, _)| *conflict) {
        Some((_, words)) => Err(invalid(words)),
        None => Ok(()),
    }
}

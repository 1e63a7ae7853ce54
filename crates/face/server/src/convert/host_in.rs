//! `HostConfig` to `HostSettings`.

use std::collections::{BTreeMap, BTreeSet};

use ferry_docker_api::{HostConfig, LogConfig, RestartPolicy as WirePolicy};
use ferry_errkind::Failure;
use ferry_model::container::{
    BindMount, CgroupnsMode, HostSettings, IpcMode, LogSettings, NetworkMode, PidMode,
    RestartPolicy, UsernsMode,
};

use super::{mount, port, resources};
use crate::refuse::{invalid, unsupported};

/// Reads all 69 fields.
pub(super) fn settings(
    config: HostConfig,
    warnings: &mut Vec<String>,
) -> Result<HostSettings, Failure> {
    let sent_empty = sent_empty(&config);
    let HostConfig {
        binds,
        container_id_file,
        log_config: LogConfig { kind: log_driver, config: log_options },
        network_mode,
        port_bindings,
        restart_policy,
        auto_remove,
        volume_driver,
        volumes_from,
        console_size,
        annotations,
        cap_add,
        cap_drop,
        cgroupns_mode,
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        group_add,
        ipc_mode,
        cgroup,
        links,
        oom_score_adj,
        pid_mode,
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt,
        storage_opt,
        tmpfs,
        uts_mode,
        userns_mode,
        shm_size,
        sysctls,
        runtime,
        isolation,
        resources: limits,
        mounts,
        masked_paths,
        readonly_paths,
        init,
    } = config;
    if !cgroup.is_empty() {
        return Err(unsupported("HostConfig.Cgroup"));
    }
    if !matches!(isolation.to_ascii_lowercase().as_str(), "" | "default") {
        return Err(invalid(format!(
            "invalid isolation ({isolation}): linux only supports 'default'"
        )));
    }
    if annotations.contains_key("") {
        return Err(invalid(
            "invalid Annotations: the empty string is not permitted as an annotation key",
        ));
    }
    let extra_hosts = extra_hosts.unwrap_or_default();
    extra_hosts.iter().try_for_each(|line| check_extra_host(line))?;
    Ok(HostSettings {
        binds: binds.unwrap_or_default().into_iter().map(bind).collect(),
        mounts: mounts.into_iter().map(mount::request).collect::<Result<_, _>>()?,
        tmpfs,
        volumes_from: volumes_from.unwrap_or_default(),
        volume_driver,
        port_bindings: port::bindings(port_bindings.unwrap_or_default())?,
        publish_all_ports,
        network_mode: parse_network(&network_mode)?,
        ipc_mode: parse_ipc(&ipc_mode)?,
        pid_mode: parse_pid(&pid_mode)?,
        uts_host: is_host(&uts_mode)
            .ok_or_else(|| invalid(format!("invalid UTS mode: {uts_mode}")))?,
        userns_mode: match userns_mode.as_str() {
            "" => UsernsMode::Default,
            "host" => UsernsMode::Host,
            "auto" => UsernsMode::Auto,
            other => return Err(invalid(format!("invalid user namespace mode: {other}"))),
        },
        cgroupns_mode: parse_cgroupns(&cgroupns_mode)?,
        cgroup_parent: limits.cgroup_parent.clone(),
        privileged,
        cap_add: cap_add.0.unwrap_or_default(),
        cap_drop: cap_drop.0.unwrap_or_default(),
        security_opt: security_opt.unwrap_or_default(),
        group_add: group_add.unwrap_or_default(),
        readonly_rootfs,
        masked_paths,
        readonly_paths,
        shm_size,
        sysctls,
        ulimits: resources::ulimits(limits.ulimits.as_deref().unwrap_or_default())?,
        init,
        auto_remove,
        restart_policy: parse_restart(&restart_policy)?,
        log: LogSettings { driver: log_driver, options: log_options.unwrap_or_default() },
        dns: dns.unwrap_or_default(),
        dns_options: dns_options.unwrap_or_default(),
        dns_search: dns_search.unwrap_or_default(),
        extra_hosts,
        links: links.unwrap_or_default(),
        oom_score_adj: parse_oom_score(oom_score_adj)?,
        runtime,
        storage_opt,
        annotations,
        container_id_file,
        console_size: (console_size != [0, 0]).then_some((console_size[0], console_size[1])),
        resources: resources::limits(limits, warnings)?,
        sent_empty,
    })
}

/// Lists and maps that a client sent though there was nothing in them: Docker shows them so, and the others as `null`.
fn sent_empty(config: &HostConfig) -> BTreeSet<String> {
    fn is<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(Vec::is_empty)
    }
    let limits = &config.resources;
    let lists = [
        ("Binds", is(config.binds.as_ref())),
        ("VolumesFrom", is(config.volumes_from.as_ref())),
        ("CapAdd", is(config.cap_add.0.as_ref())),
        ("CapDrop", is(config.cap_drop.0.as_ref())),
        ("Dns", is(config.dns.as_ref())),
        ("DnsOptions", is(config.dns_options.as_ref())),
        ("DnsSearch", is(config.dns_search.as_ref())),
        ("ExtraHosts", is(config.extra_hosts.as_ref())),
        ("GroupAdd", is(config.group_add.as_ref())),
        ("SecurityOpt", is(config.security_opt.as_ref())),
        ("PortBindings", config.port_bindings.as_ref().is_some_and(BTreeMap::is_empty)),
        ("BlkioWeightDevice", is(limits.blkio_weight_device.as_ref())),
        ("BlkioDeviceReadBps", is(limits.blkio_device_read_bps.as_ref())),
        ("BlkioDeviceWriteBps", is(limits.blkio_device_write_bps.as_ref())),
        ("BlkioDeviceReadIOps", is(limits.blkio_device_read_iops.as_ref())),
        ("BlkioDeviceWriteIOps", is(limits.blkio_device_write_iops.as_ref())),
        ("Devices", is(limits.devices.as_ref())),
        ("DeviceCgroupRules", is(limits.device_cgroup_rules.as_ref())),
        ("DeviceRequests", is(limits.device_requests.as_ref())),
        ("Ulimits", is(limits.ulimits.as_ref())),
    ];
    lists.into_iter().filter(|(_, empty)| *empty).map(|(name, _)| name.to_owned()).collect()
}

/// The text is what counts; the parts are for those who only look. What does not read is refused by the engine.
fn bind(text: String) -> BindMount {
    let mut parts = text.splitn(3, ':');
    let first = parts.next().unwrap_or_default().to_owned();
    let second = parts.next().map(str::to_owned);
    let options = parts.next().unwrap_or_default().to_owned();
    let (source, destination) = match second {
        Some(destination) => (first, destination),
        None => (String::new(), first),
    };
    BindMount { text, source, destination, options }
}

/// `container:<name>`.
fn other_container(mode: &str) -> Option<&str> {
    mode.strip_prefix("container:")
}

fn parse_network(mode: &str) -> Result<NetworkMode, Failure> {
    Ok(match mode {
        "" | "default" => NetworkMode::Default,
        "bridge" => NetworkMode::Bridge,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        "container" | "container:" => {
            return Err(invalid(
                "invalid network mode: invalid container format container:<name|id>",
            ));
        }
        other => match other_container(other) {
            Some(name) => NetworkMode::Container(name.to_owned()),
            None => NetworkMode::Named(other.to_owned()),
        },
    })
}

fn parse_ipc(mode: &str) -> Result<Option<IpcMode>, Failure> {
    Ok(Some(match mode {
        "" => return Ok(None),
        "private" => IpcMode::Private,
        "shareable" => IpcMode::Shareable,
        "none" => IpcMode::None,
        "host" => IpcMode::Host,
        other => match other_container(other) {
            Some(name) if !name.is_empty() => IpcMode::Container(name.to_owned()),
            _ => return Err(invalid(format!("invalid IPC mode: {mode}"))),
        },
    }))
}

fn parse_pid(mode: &str) -> Result<PidMode, Failure> {
    match (mode, other_container(mode)) {
        ("", _) => Ok(PidMode::Private),
        ("host", _) => Ok(PidMode::Host),
        (_, Some(name)) if !name.is_empty() => Ok(PidMode::Container(name.to_owned())),
        _ => Err(invalid(format!("invalid PID mode: {mode}"))),
    }
}

fn parse_cgroupns(mode: &str) -> Result<CgroupnsMode, Failure> {
    match mode {
        "" => Ok(CgroupnsMode::Default),
        "private" => Ok(CgroupnsMode::Private),
        "host" => Ok(CgroupnsMode::Host),
        other => Err(invalid(format!("invalid cgroup namespace mode: {other}"))),
    }
}

/// For the modes that know only `host` and nothing.
fn is_host(mode: &str) -> Option<bool> {
    match mode {
        "" => Some(false),
        "host" => Some(true),
        _ => None,
    }
}

/// Reads a restart policy, with moby's checks.
pub(super) fn parse_restart(policy: &WirePolicy) -> Result<RestartPolicy, Failure> {
    let WirePolicy { name, maximum_retry_count: retries } = policy;
    let only_on_failure =
        "invalid restart policy: maximum retry count can only be used with 'on-failure'";
    let parsed = match name.as_str() {
        "on-failure" => {
            let max_retries = u32::try_from(*retries).map_err(|_| {
                invalid("invalid restart policy: maximum retry count cannot be negative")
            })?;
            return Ok(RestartPolicy::OnFailure { max_retries });
        }
        // An empty name comes from clients that say nothing of restarts: dockerd ignores their count.
        "" => return Ok(RestartPolicy::Never),
        "no" => RestartPolicy::Never,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        other => {
            return Err(invalid(format!(
                "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
            )));
        }
    };
    match *retries {
        0 => Ok(parsed),
        1.. => Err(invalid(only_on_failure)),
        _ => Err(invalid(format!("{only_on_failure} and cannot be negative"))),
    }
}

fn parse_oom_score(score: i64) -> Result<i32, Failure> {
    let words = || format!("Invalid value {score}, range for oom score adj is [-1000, 1000]");
    i32::try_from(score).map_err(|_| invalid(words()))
}

fn check_extra_host(line: &str) -> Result<(), Failure> {
    match line.split_once(':') {
        Some((name, address)) if !name.is_empty() => {
            if address == "host-gateway" || address.parse::<std::net::IpAddr>().is_ok() {
                Ok(())
            } else {
                Err(invalid(format!("invalid IP address in add-host: \"{address}\"")))
            }
        }
        _ => Err(invalid(format!("bad format for add-host: \"{line}\""))),
    }
}

//! A service to the body of container create. Nothing here asks the daemon.

use std::collections::BTreeMap;

use ferry_cli::face::CliError;
use ferry_docker_api::{
    BindOptions, ContainerConfig, ContainerCreateRequest, DeviceMapping, EndpointIpamConfig,
    EndpointSettings, HealthConfig, HostConfig, ImageOptions, LogConfig, Mount, MountPoint,
    NetworkingConfig, Nothing, PortBinding, PortMap, Resources, RestartPolicy, StrSlice,
    ThrottleDevice, TmpfsOptions, Ulimit, VolumeOptions, WeightDevice,
};

use crate::{
    load::nanoseconds,
    model::{self, Project, Service},
    run::labels,
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
}

/// Refuses what cannot be honoured, by name.
pub(crate) fn check(service: &Service) -> Result<(), CliError> {
    let refused = [
        ("models", service.models.is_some()),
        ("provider", service.provider.is_some()),
        ("credential_spec", service.credential_spec.is_some()),
        ("cpu_count", service.cpu_count != 0),
        ("cpu_percent", service.cpu_percent != 0.0),
    ];
    match refused.iter().find(|(_, used)| *used) {
        Some((key, _)) => {
            Err(CliError::new(format!("not supported yet: services.{}.{key}", service.name)))
        }
        None => Ok(()),
    }
}

/// What is written for a cluster, and has no meaning on one machine.
pub(crate) fn warnings(service: &Service, hands_over: bool) -> Vec<String> {
    let Some(deploy) = &service.deploy else { return Vec::new() };
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
    let mut warnings: Vec<String> = ignored
        .iter()
        .filter(|(_, used)| *used)
        .map(|(key, _)| {
            format!(
                "services.{}.deploy.{key} is ignored: there is one machine, and no cluster",
                service.name
            )
        })
        .collect();
    if let Some(why) = update.and_then(|_| super::rolling::not_side_by_side(service, hands_over)) {
        warnings.push(format!(
            "services.{}.deploy.update_config.order is stop-first, not start-first: {why}",
            service.name
        ));
    }
    warnings
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
        labels: Some(labels::of_container(want.project, service, want.number, want.image_id)?),
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

fn host_config(service: &Service) -> HostConfig {
    HostConfig {
        log_config: service.logging.as_ref().map_or_else(LogConfig::default, |logging| LogConfig {
            kind: logging.driver.clone(),
            config: Some(logging.options.clone()),
        }),
        restart_policy: restart(service),
        auto_remove: service.auto_remove,
        annotations: values(&service.annotations),
        cap_add: StrSlice(some(&service.cap_add)),
        cap_drop: StrSlice(some(&service.cap_drop)),
        cgroupns_mode: service.cgroup.clone(),
        dns: some(&service.dns),
        dns_options: some(&service.dns_opt),
        dns_search: some(&service.dns_search),
        extra_hosts: Some(
            service.extra_hosts.iter().map(|host| host.replacen('=', ":", 1)).collect(),
        ),
        group_add: some(&service.group_add),
        oom_score_adj: service.oom_score_adj,
        privileged: service.privileged,
        readonly_rootfs: service.read_only,
        security_opt: some(&service.security_opt),
        storage_opt: service.storage_opt.clone(),
        tmpfs: service
            .tmpfs
            .iter()
            .map(|entry| {
                let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
                (path.to_owned(), options.to_owned())
            })
            .collect(),
        uts_mode: service.uts.clone(),
        userns_mode: service.userns_mode.clone(),
        shm_size: service.shm_size.0,
        sysctls: values(&service.sysctls),
        runtime: service.runtime.clone(),
        isolation: service.isolation.clone(),
        resources: resources(service),
        init: service.init,
        ..HostConfig::default()
    }
}

fn restart(service: &Service) -> RestartPolicy {
    let deployed = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    if service.restart.is_empty() {
        return match deployed {
            None => RestartPolicy { name: "no".to_owned(), maximum_retry_count: 0 },
            Some(policy) => RestartPolicy {
                name: match policy.condition.as_str() {
                    "none" => "no",
                    "on-failure" => "on-failure",
                    _ => "always",
                }
                .to_owned(),
                maximum_retry_count: if policy.condition == "on-failure" {
                    policy.max_attempts.unwrap_or(0)
                } else {
                    0
                },
            },
        };
    }
    let (name, count) = service.restart.split_once(':').unwrap_or((&service.restart, "0"));
    RestartPolicy { name: name.to_owned(), maximum_retry_count: count.parse().unwrap_or(0) }
}

/// Billionths of a processor, from a number that people write with two digits.
fn nano(cpus: f64) -> i64 {
    // Limits are far below 2^53 billionths.
    (cpus * 1e9).round() as i64
}

fn resources(service: &Service) -> Resources {
    let limits = service.limits().cloned().unwrap_or_default();
    let kept = service.reservations().cloned().unwrap_or_default();
    let or = |own: i64, deployed: i64| if own != 0 { own } else { deployed };
    let blkio = service.blkio_config.clone().unwrap_or_default();
    let rates = |list: &[model::Rate]| -> Option<Vec<ThrottleDevice>> {
        let one = |rate: &model::Rate| ThrottleDevice {
            path: rate.path.clone(),
            rate: rate.rate.0.unsigned_abs(),
        };
        (!list.is_empty()).then(|| list.iter().map(one).collect())
    };
    let weights: Vec<WeightDevice> = blkio
        .weight_device
        .iter()
        .map(|weight| WeightDevice { path: weight.path.clone(), weight: weight.weight })
        .collect();
    let requests: Vec<_> = service.gpus.iter().chain(&kept.devices).map(device_request).collect();
    Resources {
        cpu_shares: service.cpu_shares,
        memory: or(service.mem_limit.0, limits.memory.0),
        nano_cpus: or(nano(service.cpus), nano(limits.cpus)),
        cgroup_parent: service.cgroup_parent.clone(),
        blkio_weight: blkio.weight,
        blkio_weight_device: (!weights.is_empty()).then_some(weights),
        blkio_device_read_bps: rates(&blkio.device_read_bps),
        blkio_device_write_bps: rates(&blkio.device_write_bps),
        blkio_device_read_iops: rates(&blkio.device_read_iops),
        blkio_device_write_iops: rates(&blkio.device_write_iops),
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_realtime_period: service.cpu_rt_period,
        cpu_realtime_runtime: service.cpu_rt_runtime,
        cpuset_cpus: service.cpuset.clone(),
        devices: devices(service),
        device_cgroup_rules: some(&service.device_cgroup_rules),
        device_requests: (!requests.is_empty()).then_some(requests),
        memory_reservation: or(service.mem_reservation.0, kept.memory.0),
        memory_swap: service.memswap_limit.0,
        memory_swappiness: service.mem_swappiness,
        oom_kill_disable: Some(service.oom_kill_disable),
        pids_limit: service.pids_limit.or(limits.pids),
        ulimits: ulimits(service),
        ..Resources::default()
    }
}

fn devices(service: &Service) -> Option<Vec<DeviceMapping>> {
    let one = |device: &model::Device| DeviceMapping {
        path_on_host: device.source.clone(),
        path_in_container: if device.target.is_empty() { &device.source } else { &device.target }
            .clone(),
        cgroup_permissions: device.permissions.clone(),
    };
    (!service.devices.is_empty()).then(|| service.devices.iter().map(one).collect())
}

fn device_request(request: &model::DeviceRequest) -> ferry_docker_api::DeviceRequest {
    let count = match request.count {
        None if request.device_ids.is_empty() => -1,
        None => 0,
        Some(count) => count,
    };
    let capabilities = if request.capabilities.is_empty() {
        vec!["gpu".to_owned()]
    } else {
        request.capabilities.clone()
    };
    ferry_docker_api::DeviceRequest {
        driver: request.driver.clone(),
        count,
        device_ids: some(&request.device_ids),
        capabilities: Some(vec![capabilities]),
        options: Some(values(&request.options)),
    }
}

fn ulimits(service: &Service) -> Option<Vec<Ulimit>> {
    let one = |(name, limit): (&String, &model::Ulimit)| {
        let (soft, hard) = match limit {
            model::Ulimit::Single(both) => (*both, *both),
            model::Ulimit::Pair { soft, hard } => (*soft, *hard),
        };
        Ulimit { name: name.clone(), soft, hard }
    };
    (!service.ulimits.is_empty()).then(|| service.ulimits.iter().map(one).collect())
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

fn ports(service: &Service) -> (BTreeMap<String, Nothing>, PortMap) {
    let mut exposed = BTreeMap::new();
    let mut bindings = PortMap::new();
    for port in &service.expose {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        exposed.insert(port, Nothing);
    }
    for port in &service.ports {
        let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
        let name = format!("{}/{protocol}", port.target);
        exposed.insert(name.clone(), Nothing);
        bindings.entry(name).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.published.clone().unwrap_or_default(),
        });
    }
    (exposed, bindings)
}

/// `service:x` becomes the container of that service.
fn shared(want: &Want<'_>, mode: &str) -> Result<String, CliError> {
    let Some(name) = mode.strip_prefix("service:") else { return Ok(mode.to_owned()) };
    let id = (want.container_of)(name).ok_or_else(|| {
        CliError::new(format!("cannot share namespace with service {name:?}: container missing"))
    })?;
    Ok(format!("container:{id}"))
}

fn volumes_from(want: &Want<'_>) -> Result<Option<Vec<String>>, CliError> {
    let mut all = Vec::new();
    for from in &want.service.volumes_from {
        if let Some(container) = from.strip_prefix("container:") {
            all.push(container.to_owned());
            continue;
        }
        let (name, access) = from.split_once(':').unwrap_or((from, "rw"));
        let id = (want.container_of)(name).ok_or_else(|| {
            CliError::new(format!("cannot share volume with service {name}: container missing"))
        })?;
        all.push(format!("{id}:{access}"));
    }
    Ok((!all.is_empty()).then_some(all))
}

fn network_mode(want: &Want<'_>) -> Result<String, CliError> {
    if !want.service.network_mode.is_empty() {
        return shared(want, &want.service.network_mode);
    }
    let first = by_priority(want.service).into_iter().next();
    let name = first.and_then(|key| want.project.networks.get(key)).map(|net| net.name.clone());
    Ok(name.unwrap_or_else(|| "none".to_owned()))
}

fn by_priority(service: &Service) -> Vec<&str> {
    let mut keys: Vec<(i64, &str)> = service
        .networks
        .iter()
        .map(|(key, on)| (on.as_ref().map_or(0, |on| -on.priority), key.as_str()))
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, key)| key).collect()
}

fn endpoints(want: &Want<'_>) -> BTreeMap<String, Option<EndpointSettings>> {
    let service = want.service;
    let first = by_priority(service).first().copied().unwrap_or_default();
    let one = |(key, on): (&String, &Option<model::ServiceNetwork>)| {
        let network = want.project.networks.get(key)?;
        let on = on.clone().unwrap_or_default();
        let mut aliases = vec![want.name.to_owned()];
        if want.number.is_some() || service.use_aliases {
            aliases.push(service.name.clone());
            aliases.extend(on.aliases.iter().cloned());
        }
        let mac = match on.mac_address.as_str() {
            "" if key == first => service.mac_address.clone(),
            mac => mac.to_owned(),
        };
        let asked = !on.ipv4_address.is_empty()
            || !on.ipv6_address.is_empty()
            || !on.link_local_ips.is_empty();
        let mut driver_opts = on.driver_opts.clone();
        if !on.interface_name.is_empty() {
            driver_opts.insert("com.docker.network.endpoint.ifname".to_owned(), on.interface_name);
        }
        let settings = EndpointSettings {
            ipam_config: asked.then(|| EndpointIpamConfig {
                ipv4_address: on.ipv4_address.clone(),
                ipv6_address: on.ipv6_address.clone(),
                link_local_ips: on.link_local_ips.clone(),
            }),
            links: links(want),
            aliases: Some(aliases),
            mac_address: mac,
            driver_opts: (!driver_opts.is_empty()).then_some(driver_opts),
            gw_priority: on.gw_priority,
            ..EndpointSettings::default()
        };
        Some((network.name.clone(), Some(settings)))
    };
    service.networks.iter().filter_map(one).collect()
}

fn links(want: &Want<'_>) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for link in &want.service.links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        let separator = want.project.separator();
        let first = format!("{}{separator}{name}{separator}1", want.project.name);
        let chosen = want.project.services.get(name).map_or("", |one| one.container_name.as_str());
        let container = if chosen.is_empty() { &first } else { chosen };
        all.push(format!("{container}:{alias}"));
    }
    for link in &want.service.external_links {
        let (container, alias) = link.split_once(':').unwrap_or((link, link));
        all.push(format!("{container}:{alias}"));
    }
    (!all.is_empty()).then_some(all)
}

fn mounts(want: &Want<'_>) -> Result<(Vec<String>, Vec<Mount>), CliError> {
    let mut binds = Vec::new();
    let mut mounts: Vec<Mount> = Vec::new();
    let mut targets: Vec<&str> = Vec::new();
    for mount in &want.service.volumes {
        let anonymous = mount.r#type == "volume" && mount.source.is_empty();
        let inherited = want.inherited.iter().any(|old| old.destination == mount.target);
        if anonymous && inherited {
            continue;
        }
        targets.push(&mount.target);
        match as_bind(want.project, mount) {
            Some(bind) => binds.push(bind),
            None => mounts.push(as_mount(want.project, mount)?),
        }
    }
    for old in want.inherited.iter().filter(|old| old.kind == "volume") {
        if !targets.contains(&old.destination.as_str()) {
            binds.push(format!("{}:{}:rw", old.name, old.destination));
        }
    }
    for (what, reference) in want
        .service
        .configs
        .iter()
        .map(|reference| ("config", reference))
        .chain(want.service.secrets.iter().map(|reference| ("secret", reference)))
    {
        let all = if what == "config" { &want.project.configs } else { &want.project.secrets };
        let object = all.get(&reference.source).cloned().unwrap_or_default();
        if object.external {
            return Err(CliError::new(format!("unsupported external {what} {}", reference.source)));
        }
        for (key, value) in
            [("driver", &object.driver), ("template_driver", &object.template_driver)]
        {
            if !value.is_empty() {
                return Err(CliError::new(format!(
                    "Docker Compose does not support {what}s.*.{key}"
                )));
            }
        }
        if !object.file.is_empty() {
            mounts.push(Mount {
                kind: "bind".to_owned(),
                source: object.file,
                target: target_of(what, reference),
                read_only: true,
                ..Mount::default()
            });
        }
    }
    binds.sort();
    Ok((binds, mounts))
}

/// Where a config or secret appears. What is relative is below the root for a config, and below `/run/secrets` for a secret.
pub(crate) fn target_of(kind: &str, reference: &model::FileReference) -> String {
    let below = if kind == "secret" { "/run/secrets/" } else { "/" };
    match reference.target.as_str() {
        "" => format!("{below}{}", reference.source),
        target if target.starts_with('/') => target.to_owned(),
        target => format!("{below}{target}"),
    }
}

/// As one string, where that says all.
fn as_bind(project: &Project, mount: &model::Mount) -> Option<String> {
    let mut options = vec![if mount.read_only { "ro" } else { "rw" }.to_owned()];
    let source = match mount.r#type.as_str() {
        "bind" => {
            let bind = mount.bind.clone().unwrap_or_default();
            if !bind.create_host_path || !bind.recursive.is_empty() {
                return None;
            }
            options.extend([bind.selinux, bind.propagation].into_iter().filter(|o| !o.is_empty()));
            mount.source.clone()
        }
        "volume" if !mount.source.is_empty() => {
            let volume = mount.volume.clone().unwrap_or_default();
            if !volume.subpath.is_empty() || !volume.labels.is_empty() {
                return None;
            }
            if volume.nocopy {
                options.push("nocopy".to_owned());
            }
            let selinux = mount.bind.as_ref().map_or("", |bind| bind.selinux.as_str());
            options.extend(Some(selinux.to_owned()).filter(|option| !option.is_empty()));
            project.volumes.get(&mount.source)?.name.clone()
        }
        _ => return None,
    };
    Some(format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn as_mount(project: &Project, mount: &model::Mount) -> Result<Mount, CliError> {
    let named = project.volumes.get(&mount.source).map(|volume| volume.name.clone());
    let bind = mount.bind.as_ref().map(|bind| BindOptions {
        propagation: bind.propagation.clone(),
        create_mountpoint: bind.create_host_path,
        non_recursive: bind.recursive == "disabled",
        read_only_non_recursive: bind.recursive == "writable",
        read_only_force_recursive: bind.recursive == "readonly",
        id_map: false,
    });
    let kind = mount.r#type.as_str();
    if !matches!(kind, "bind" | "volume" | "tmpfs" | "image") {
        return Err(CliError::new(format!("not supported yet: a volume of type {kind}")));
    }
    Ok(Mount {
        kind: kind.to_owned(),
        source: if kind == "volume" { named.unwrap_or_default() } else { mount.source.clone() },
        target: mount.target.clone(),
        read_only: mount.read_only,
        consistency: mount.consistency.clone(),
        bind_options: bind.filter(|_| kind == "bind"),
        volume_options: mount.volume.as_ref().filter(|_| kind == "volume").map(|volume| {
            VolumeOptions {
                no_copy: volume.nocopy,
                labels: volume.labels.clone(),
                subpath: volume.subpath.clone(),
                driver_config: None,
            }
        }),
        image_options: mount
            .image
            .as_ref()
            .map(|image| ImageOptions { subpath: image.subpath.clone() }),
        tmpfs_options: mount.tmpfs.as_ref().map(|tmpfs| TmpfsOptions {
            size_bytes: tmpfs.size.0,
            mode: tmpfs.mode,
            options: Vec::new(),
        }),
        ..Mount::default()
    })
}

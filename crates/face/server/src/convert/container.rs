//! Containers to inspect and list.

use std::collections::{BTreeMap, BTreeSet};

use ferry_docker_api::{
    ContainerConfig, ContainerInspect, ContainerSummary, DriverData, EndpointSettings,
    HealthConfig, HostConfig, MountPoint as WirePoint, NetworkSettings, Nothing, StrSlice,
    SummaryHostConfig, SummaryNetworkSettings,
};
use ferry_engine::EngineConfig;
use ferry_model::{
    container::{
        AttachFlags, Container, ContainerSpec, ContainerView, DiskUse, HealthCheck,
        ListedContainer, MountKind, MountPoint, NetworkMode,
    },
    network::EndpointStatus,
};
use ferry_stdx::{id, time::Timestamp};

use super::{endpoint, host_out, mount, nil_if_empty, port, state};

/// What the daemon does where a container says nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    /// Log driver.
    pub(crate) log_driver: String,
    /// OCI runtime.
    pub(crate) runtime: String,
    /// Storage driver.
    pub(crate) storage_driver: String,
    /// The default bridge's link.
    pub(crate) bridge: String,
    /// Whether cgroups are v2.
    pub(crate) cgroup_v2: bool,
}

impl Defaults {
    /// What an engine with this configuration does.
    pub(crate) fn of(config: &EngineConfig) -> Self {
        let or =
            |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
        Defaults {
            log_driver: or(&config.log.driver, "json-file"),
            runtime: or(&config.default_runtime, "ferry"),
            storage_driver: "overlay2".to_owned(),
            bridge: or(&config.bridge.name, "ferry0"),
            // This file is there only where the unified hierarchy is all there is.
            cgroup_v2: std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        }
    }
}

/// Writes a container in full.
pub(crate) fn inspect(view: &ContainerView, defaults: &Defaults) -> ContainerInspect {
    let ContainerView {
        container,
        size,
        apparmor_profile,
        exec_ids,
        log_path,
        dir,
        upper_dir,
        work_dir,
        lower_dirs,
    } = view;
    let (path, args) = command(&container.spec);
    // dockerd has these files once a container was started; before, the paths are empty.
    let started = container.state.started_at.is_some();
    let file = |name: &str| if started { format!("{dir}/{name}") } else { String::new() };
    let graph = [
        ("ID", container.id.clone()),
        ("LowerDir", lower_dirs.join(":")),
        ("UpperDir", upper_dir.clone()),
        ("WorkDir", work_dir.clone()),
    ];
    let labels = container.selinux.clone().unwrap_or_default();
    ContainerInspect {
        id: container.id.clone(),
        created: container.created.format_rfc3339_nano(),
        path,
        args: Some(args),
        state: Some(state::to_wire(&container.state)),
        image: container.image_id.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: log_path.clone().filter(|_| started).unwrap_or_default(),
        name: format!("/{}", container.name),
        restart_count: i64::from(container.restart_count),
        driver: defaults.storage_driver.clone(),
        platform: container.platform.split('/').next().unwrap_or("linux").to_owned(),
        mount_label: labels.mount,
        process_label: labels.process,
        app_armor_profile: apparmor_profile.clone(),
        exec_ids: nil_if_empty(exec_ids.clone()),
        host_config: Some(HostConfig {
            links: shown_links(container),
            ..host_out::config(&container.spec.host, defaults)
        }),
        graph_driver: DriverData {
            data: Some(graph.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            name: defaults.storage_driver.clone(),
        },
        size_rw: size.map(|DiskUse { rw, .. }| bytes(rw)),
        size_root_fs: size.map(|DiskUse { total, .. }| bytes(total)),
        mounts: Some(shown_mounts(&container.spec, &container.mounts)),
        config: Some(config(container)),
        network_settings: Some(network_settings(container, defaults)),
        image_manifest_descriptor: None,
    }
}

/// Docker shows all mounts but those of `--tmpfs`, which are in `HostConfig` alone.
fn shown_mounts(spec: &ContainerSpec, mounts: &[MountPoint]) -> Vec<WirePoint> {
    let in_host_config = |point: &MountPoint| {
        let mut paths = spec.host.tmpfs.keys().map(|path| path.trim_end_matches('/'));
        point.kind == MountKind::Tmpfs && paths.any(|path| path == point.destination)
    };
    let shown = |point: &MountPoint| {
        let mut wire = mount::point(point);
        if wire.mode.is_empty() && point.kind == MountKind::Volume && is_asked_for(spec, point) {
            // What Docker fills in, with SELinux or without.
            wire.mode = "z".to_owned();
        }
        wire
    };
    mounts.iter().filter(|point| !in_host_config(point)).map(shown).collect()
}

/// As the list has them: where the volumes are that nobody named is for `inspect` to say.
fn listed_mounts(spec: &ContainerSpec, mounts: &[MountPoint]) -> Vec<WirePoint> {
    let mut shown = shown_mounts(spec, mounts);
    for wire in shown.iter_mut().filter(|wire| wire.kind == "volume") {
        let point = mounts.iter().find(|point| point.destination == wire.destination);
        if point.is_some_and(|point| !is_asked_for(spec, point)) {
            wire.source.clear();
        }
    }
    shown
}

/// Whether `-v` or `--mount` named the place; others come from the image or from another container.
fn is_asked_for(spec: &ContainerSpec, point: &MountPoint) -> bool {
    let is_here = |path: &str| path.trim_end_matches('/') == point.destination;
    let (binds, mounts) = (&spec.host.binds, &spec.host.mounts);
    binds.iter().any(|bind| is_here(&bind.destination))
        || mounts.iter().any(|mount| is_here(&mount.target))
}

/// Docker shows links with the names of both sides: `/db:/web/store`.
fn shown_links(container: &Container) -> Option<Vec<String>> {
    let shown = |link: &String| {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        format!("/{name}:/{}/{alias}", container.name)
    };
    nil_if_empty(container.spec.host.links.iter().map(shown).collect())
}

/// Writes a line of the list.
pub(crate) fn summary(listed: &ListedContainer, now: Timestamp) -> ContainerSummary {
    let Container { id, name, created, image_id, spec, mounts, state: at, ports, .. } =
        &*listed.container;
    let networks = networks(&listed.container, endpoint::listed);
    let exposed = if at.phase.is_running() { spec.exposed_ports.clone() } else { BTreeSet::new() };
    ContainerSummary {
        id: id.clone(),
        names: Some(vec![format!("/{name}")]),
        image: spec.image.clone(),
        image_id: image_id.to_string(),
        image_manifest_descriptor: None,
        command: command_line(spec),
        created: created.seconds(),
        ports: Some(port::listed(&exposed, ports)),
        size_rw: listed.size.map_or(0, |size| bytes(size.rw)),
        size_root_fs: listed.size.map_or(0, |size| bytes(size.total)),
        labels: Some(spec.labels.clone()),
        state: at.phase.as_str().to_owned(),
        status: state::in_words(at, now),
        host_config: SummaryHostConfig {
            network_mode: host_out::network_word(&spec.host.network_mode),
            annotations: spec.host.annotations.clone(),
        },
        network_settings: Some(SummaryNetworkSettings { networks: Some(networks) }),
        mounts: Some(listed_mounts(spec, mounts)),
    }
}

/// Program and arguments, entry point first.
fn command(spec: &ContainerSpec) -> (String, Vec<String>) {
    let mut words = spec.entrypoint.iter().flatten().chain(spec.cmd.iter().flatten()).cloned();
    (words.next().unwrap_or_default(), words.collect())
}

fn command_line(spec: &ContainerSpec) -> String {
    let (path, args) = command(spec);
    let quoted =
        args.iter().map(|arg| if arg.contains(' ') { format!("'{arg}'") } else { arg.clone() });
    std::iter::once(path).chain(quoted).collect::<Vec<_>>().join(" ")
}

/// Writes `Config`.
fn config(container: &Container) -> ContainerConfig {
    let ContainerSpec {
        image,
        hostname,
        domainname,
        user,
        attach: AttachFlags { stdin, stdout, stderr },
        tty,
        open_stdin,
        stdin_once,
        env,
        cmd,
        args_escaped,
        entrypoint,
        working_dir,
        labels,
        exposed_ports,
        volumes,
        stop_signal,
        stop_timeout,
        healthcheck,
        on_build,
        shell,
        network_disabled,
        // `HostConfig` and `NetworkSettings` show these.
        host,
        endpoints: _,
        pod: _,
    } = container.spec.clone();
    let shares_hostname = host.uts_host || matches!(host.network_mode, NetworkMode::Container(_));
    let hostname = if hostname.is_empty() && !shares_hostname {
        id::short(&container.id).to_owned()
    } else {
        hostname
    };
    let volumes: BTreeMap<_, _> = volumes.into_iter().map(|path| (path, Nothing)).collect();
    ContainerConfig {
        hostname,
        domainname,
        user,
        attach_stdin: stdin,
        attach_stdout: stdout,
        attach_stderr: stderr,
        exposed_ports: port::set_to_wire(&exposed_ports),
        tty,
        open_stdin,
        stdin_once,
        env: nil_if_empty(env),
        cmd: StrSlice(cmd),
        healthcheck: healthcheck.map(health_config),
        args_escaped,
        image,
        volumes: super::nil_map(volumes),
        working_dir,
        entrypoint: StrSlice(entrypoint),
        network_disabled,
        mac_address: main_mac(container),
        on_build: Some(on_build)
            .filter(|list| !list.is_empty() || host.sent_empty.contains("OnBuild")),
        labels: Some(labels),
        stop_signal: stop_signal.unwrap_or_default(),
        stop_timeout,
        shell: StrSlice(shell),
    }
}

/// The hardware address that was asked for on the main network, which Docker shows here, too.
fn main_mac(container: &Container) -> String {
    let main = host_out::network_word(&container.spec.host.network_mode);
    let mac = container.endpoints.get(&main).and_then(|status| status.request.mac.clone());
    mac.unwrap_or_default()
}

/// The endpoints, by `write`. Before the first start they show the hardware addresses that were asked for.
fn networks(
    container: &Container,
    write: impl Fn(&str, &EndpointStatus) -> EndpointSettings,
) -> BTreeMap<String, EndpointSettings> {
    let never_started = container.state.started_at.is_none();
    let shown = |(name, status): (&String, &EndpointStatus)| {
        let mut settings = write(name, status);
        if never_started && settings.mac_address.is_empty() {
            settings.mac_address = status.request.mac.clone().unwrap_or_default();
        }
        (name.clone(), settings)
    };
    container.endpoints.iter().map(shown).collect()
}

fn health_config(check: HealthCheck) -> HealthConfig {
    let HealthCheck { test, interval, timeout, start_period, start_interval, retries } = check;
    HealthConfig { test, interval, timeout, start_period, start_interval, retries }
}

/// Writes `NetworkSettings`; the fields of the default bridge's endpoint are there twice.
fn network_settings(container: &Container, defaults: &Defaults) -> NetworkSettings {
    let running = container.state.phase.is_running();
    let networks = networks(container, endpoint::settings);
    let main = networks.get("bridge").cloned().unwrap_or_default();
    let ports = if running {
        port::bound(&container.spec.exposed_ports, &container.ports)
    } else {
        BTreeMap::new()
    };
    // Docker makes no sandbox for a container whose network is disabled.
    let sandbox = container.state.pid.filter(|_| running && !container.spec.network_disabled);
    let on_bridge = running && networks.contains_key("bridge");
    NetworkSettings {
        bridge: if on_bridge { defaults.bridge.clone() } else { String::new() },
        sandbox_id: sandbox.map(|_| container.id.clone()).unwrap_or_default(),
        sandbox_key: sandbox.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        ports: Some(ports),
        hairpin_mode: false,
        link_local_ipv6_address: String::new(),
        link_local_ipv6_prefix_len: 0,
        secondary_ip_addresses: None,
        secondary_ipv6_addresses: None,
        endpoint_id: main.endpoint_id,
        gateway: main.gateway,
        global_ipv6_address: main.global_ipv6_address,
        global_ipv6_prefix_len: main.global_ipv6_prefix_len,
        ip_address: main.ip_address,
        ip_prefix_len: main.ip_prefix_len,
        ipv6_gateway: main.ipv6_gateway,
        mac_address: main.mac_address,
        networks: Some(networks),
    }
}

/// Go's API has sizes signed.
fn bytes(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

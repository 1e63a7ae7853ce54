//! `HostSettings` to `HostConfig`: what inspect shows.

use std::collections::BTreeSet;

use ferry_docker_api::{HostConfig, LogConfig, RestartPolicy as WirePolicy, StrSlice};
use ferry_model::container::{
    BindMount, CgroupnsMode, HostSettings, IpcMode, LogSettings, NetworkMode, PidMode,
    RestartPolicy, UsernsMode,
};

use super::{container::Defaults, mount, nil_if_empty, port, resources};

/// Docker's default of `--shm-size`.
const SHM_SIZE: i64 = 64 << 20;

/// How Go shows lists that are empty.
pub(super) struct Empty<'a> {
    /// Those that were sent.
    sent: &'a BTreeSet<String>,
}

impl Empty<'_> {
    /// What is shown of a list of this name: `null` if it is empty and was not sent.
    pub(super) fn list<T>(&self, name: &str, list: Vec<T>) -> Option<Vec<T>> {
        (!list.is_empty() || self.sent.contains(name)).then_some(list)
    }
}

/// Writes all fields. What the user left open is shown as what it means.
pub(super) fn config(settings: &HostSettings, defaults: &Defaults) -> HostConfig {
    let HostSettings {
        binds,
        mounts,
        tmpfs,
        volumes_from,
        volume_driver,
        port_bindings,
        publish_all_ports,
        network_mode,
        ipc_mode,
        pid_mode,
        uts_host,
        userns_mode,
        cgroupns_mode,
        cgroup_parent,
        privileged,
        cap_add,
        cap_drop,
        security_opt,
        group_add,
        readonly_rootfs,
        masked_paths,
        readonly_paths,
        shm_size,
        sysctls,
        ulimits,
        init,
        auto_remove,
        restart_policy,
        log: LogSettings { driver, options },
        dns,
        dns_options,
        dns_search,
        extra_hosts,
        links,
        oom_score_adj,
        runtime,
        storage_opt,
        annotations,
        container_id_file,
        console_size,
        resources: limits,
        sent_empty,
    } = settings.clone();
    let empty = Empty { sent: &sent_empty };
    let or_default =
        |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let hidden = |paths: Option<Vec<String>>, standard: &[&str]| match paths {
        Some(paths) => Some(paths),
        // A privileged container sees everything.
        None if privileged => None,
        None => Some(standard.iter().map(|path| (*path).to_owned()).collect()),
    };
    HostConfig {
        binds: empty.list("Binds", binds.into_iter().map(|BindMount { text, .. }| text).collect()),
        container_id_file,
        log_config: LogConfig {
            kind: or_default(driver, &defaults.log_driver),
            config: Some(options),
        },
        network_mode: network_word(&network_mode),
        port_bindings: Some(port::bindings_to_wire(&port_bindings))
            .filter(|bindings| !bindings.is_empty() || sent_empty.contains("PortBindings")),
        restart_policy: policy(restart_policy),
        auto_remove,
        volume_driver,
        volumes_from: empty.list("VolumesFrom", volumes_from),
        console_size: console_size.map_or([0, 0], |(height, width)| [height, width]),
        annotations,
        cap_add: StrSlice(empty.list("CapAdd", cap_add)),
        cap_drop: StrSlice(empty.list("CapDrop", cap_drop)),
        cgroupns_mode: cgroupns_word(cgroupns_mode, defaults.cgroup_v2, privileged).to_owned(),
        dns: empty.list("Dns", dns),
        dns_options: empty.list("DnsOptions", dns_options),
        dns_search: empty.list("DnsSearch", dns_search),
        extra_hosts: empty.list("ExtraHosts", extra_hosts),
        group_add: empty.list("GroupAdd", group_add),
        ipc_mode: ipc_word(&ipc_mode.unwrap_or_default()),
        cgroup: String::new(),
        links: nil_if_empty(links),
        oom_score_adj: i64::from(oom_score_adj),
        pid_mode: pid_word(&pid_mode),
        privileged,
        publish_all_ports,
        readonly_rootfs,
        security_opt: empty.list("SecurityOpt", security_opt),
        storage_opt,
        tmpfs,
        uts_mode: host_word(uts_host),
        userns_mode: match userns_mode {
            UsernsMode::Default => String::new(),
            UsernsMode::Host => "host".to_owned(),
            UsernsMode::Auto => "auto".to_owned(),
        },
        shm_size: if shm_size == 0 { SHM_SIZE } else { shm_size },
        sysctls,
        runtime: or_default(runtime, &defaults.runtime),
        isolation: String::new(),
        resources: resources::to_wire(&limits, &ulimits, &cgroup_parent, &empty, defaults),
        mounts: mounts.iter().map(mount::to_wire).collect(),
        masked_paths: hidden(masked_paths, &MASKED),
        readonly_paths: hidden(readonly_paths, &READONLY),
        init,
    }
}

/// Paths that a container does not see (moby `oci/defaults.go`).
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths that a container cannot write to.
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Writes a network mode.
pub(super) fn network_word(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default | NetworkMode::Bridge => "bridge".to_owned(),
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Container(name) => format!("container:{name}"),
        NetworkMode::Named(name) => name.clone(),
    }
}

fn ipc_word(mode: &IpcMode) -> String {
    match mode {
        IpcMode::Private => "private".to_owned(),
        IpcMode::Shareable => "shareable".to_owned(),
        IpcMode::None => "none".to_owned(),
        IpcMode::Host => "host".to_owned(),
        IpcMode::Container(name) => format!("container:{name}"),
    }
}

fn pid_word(mode: &PidMode) -> String {
    match mode {
        PidMode::Private => String::new(),
        PidMode::Host => "host".to_owned(),
        PidMode::Container(name) => format!("container:{name}"),
    }
}

fn cgroupns_word(mode: CgroupnsMode, v2: bool, privileged: bool) -> &'static str {
    match mode {
        CgroupnsMode::Private => "private",
        CgroupnsMode::Host => "host",
        CgroupnsMode::Default if v2 && !privileged => "private",
        CgroupnsMode::Default => "host",
    }
}

fn host_word(host: bool) -> String {
    if host { "host".to_owned() } else { String::new() }
}

fn policy(policy: RestartPolicy) -> WirePolicy {
    let (name, retries) = match policy {
        RestartPolicy::Never => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max_retries } => ("on-failure", max_retries),
    };
    WirePolicy { name: name.to_owned(), maximum_retry_count: i64::from(retries) }
}

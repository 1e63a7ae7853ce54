//! `/info` and `/version`.

use std::collections::BTreeMap;

use ferry_docker_api::{
    ApiVersion, BuildCacheRecord, ComponentVersion, DeviceInfo, FirewallInfo, IndexInfo,
    NetworkAddressPool, PluginsInfo, RegistryServiceConfig, RuntimeInfo, SwarmInfo,
    SystemInfo as WireInfo, Version,
};
use ferry_engine::ops::build::CacheRecord;
use ferry_model::system::{LimitSupport, SystemInfo};
use ferry_stdx::time::Timestamp;

use crate::dispatch::Product;

/// Docker Hub's old name, which clients keep credentials under.
const INDEX_SERVER: &str = "https://index.docker.io/v1/";

/// Writes `/info`.
pub(crate) fn info(info: SystemInfo, product: &Product, now: Timestamp) -> WireInfo {
    let SystemInfo {
        id,
        containers: [containers, running, paused, stopped],
        images,
        data_root,
        driver,
        backing_fs,
        kernel_version,
        operating_system,
        os_version,
        architecture,
        cpus,
        memory,
        name,
        cgroup_version,
        cgroup_driver,
        insecure_registries,
        mirrors,
        security_options,
        runtimes,
        default_runtime,
        log_driver,
        warnings,
        debug,
        open_files,
        event_listeners,
        limits:
            LimitSupport {
                memory: memory_limit,
                swap,
                cpu_period,
                cpu_quota,
                cpu_shares,
                cpuset,
                pids,
                oom_kill_disable,
            },
        labels,
        cdi_spec_dirs,
        cdi_devices,
        ipv4_forwarding,
        address_pools,
        proxies,
    } = info;
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    let words = |list: &[&str]| Some(list.iter().map(|word| (*word).to_owned()).collect());
    WireInfo {
        id,
        containers: count(containers),
        containers_running: count(running),
        containers_paused: count(paused),
        containers_stopped: count(stopped),
        images: count(images),
        driver,
        driver_status: Some(
            [
                ("Backing Filesystem", backing_fs.as_str()),
                // Without it there are no layers.
                ("Supports d_type", "true"),
                ("Using metacopy", "false"),
                ("Native Overlay Diff", "true"),
                ("userxattr", "false"),
            ]
            .map(|(name, value)| [name.to_owned(), value.to_owned()])
            .to_vec(),
        ),
        system_status: Vec::new(),
        plugins: PluginsInfo {
            volume: words(&["local"]),
            network: words(&["bridge", "host", "ipvlan", "macvlan", "null"]),
            authorization: None,
            log: words(&["journald", "json-file", "local", "none", "syslog"]),
        },
        memory_limit,
        swap_limit: swap,
        kernel_memory: false,
        kernel_memory_tcp: false,
        cpu_cfs_period: cpu_period,
        cpu_cfs_quota: cpu_quota,
        cpu_shares,
        cpu_set: cpuset,
        pids_limit: pids,
        ipv4_forwarding,
        debug,
        n_fd: count(open_files),
        oom_kill_disable,
        // Goroutines; ours are tasks, which nobody counts.
        n_goroutines: 0,
        system_time: now.format_rfc3339_nano(),
        logging_driver: log_driver,
        cgroup_driver,
        cgroup_version,
        n_events_listener: count(event_listeners),
        kernel_version,
        operating_system,
        os_version,
        os_type: "linux".to_owned(),
        architecture,
        index_server_address: INDEX_SERVER.to_owned(),
        registry_config: Some(registries(insecure_registries, mirrors)),
        n_cpu: count(cpus),
        mem_total: count(memory),
        generic_resources: None,
        docker_root_dir: data_root,
        http_proxy: proxies.http,
        https_proxy: proxies.https,
        no_proxy: proxies.none,
        name,
        labels: Some(labels),
        experimental_build: false,
        server_version: product.version.clone(),
        runtimes: Some(runtimes.into_iter().map(runtime).collect()),
        default_runtime,
        swarm: SwarmInfo { local_node_state: "inactive".to_owned(), ..SwarmInfo::default() },
        // Always: no option turns it off.
        live_restore_enabled: true,
        isolation: String::new(),
        init_binary: "ferry-init".to_owned(),
        containerd_commit: Default::default(),
        runc_commit: Default::default(),
        init_commit: Default::default(),
        security_options: Some(security_options),
        product_license: String::new(),
        default_address_pools: address_pools
            .into_iter()
            .map(|(base, size)| NetworkAddressPool { base, size: i64::from(size) })
            .collect(),
        firewall_backend: Some(FirewallInfo { driver: "nftables".to_owned(), info: Vec::new() }),
        cdi_spec_dirs: super::nil_if_empty(cdi_spec_dirs),
        discovered_devices: cdi_devices
            .into_iter()
            .map(|id| DeviceInfo { source: "cdi".to_owned(), id })
            .collect(),
        containerd: None,
        warnings: super::nil_if_empty(warnings),
    }
}

fn runtime((name, path): (String, String)) -> (String, RuntimeInfo) {
    (name, RuntimeInfo { path, ..RuntimeInfo::default() })
}

/// Networks are told as networks; a registry by name is an index that is not secure.
fn registries(insecure: Vec<String>, mirrors: Vec<String>) -> RegistryServiceConfig {
    let (networks, names): (Vec<_>, Vec<_>) =
        insecure.into_iter().partition(|entry| entry.contains('/'));
    let index = |name: String, official: bool, mirrors: Vec<String>| {
        (name.clone(), IndexInfo { mirrors: Some(mirrors), name, official, secure: official })
    };
    let hub = index("docker.io".to_owned(), true, mirrors.clone());
    let indexes = names.into_iter().map(|name| index(name, false, Vec::new()));
    RegistryServiceConfig {
        index_configs: Some(std::iter::once(hub).chain(indexes).collect()),
        insecure_registry_cidrs: Some(networks),
        mirrors: super::nil_if_empty(mirrors),
    }
}

/// Writes `/version`.
pub(crate) fn version(product: &Product, kernel_version: String) -> Version {
    let Product { version, git_commit, build_time } = product.clone();
    let arch = ferry_oci::Platform::host().architecture;
    let (newest, oldest) = (ApiVersion::MAX.to_string(), ApiVersion::MIN.to_string());
    let details = [
        ("ApiVersion", newest.as_str()),
        ("Arch", &arch),
        ("BuildTime", &build_time),
        ("Experimental", "false"),
        ("GitCommit", &git_commit),
        ("KernelVersion", &kernel_version),
        ("MinAPIVersion", &oldest),
        ("Os", "linux"),
    ];
    let details: BTreeMap<_, _> =
        details.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Version {
        platform: ferry_docker_api::VersionPlatform { name: format!("Ferry {version}") },
        components: vec![ComponentVersion {
            name: "Engine".to_owned(),
            version: version.clone(),
            details,
        }],
        version,
        api_version: newest,
        min_api_version: oldest,
        git_commit,
        go_version: String::new(),
        os: "linux".to_owned(),
        arch,
        kernel_version,
        experimental: false,
        build_time,
    }
}

/// A record of the build cache.
pub(crate) fn cache_record(record: CacheRecord) -> BuildCacheRecord {
    let CacheRecord { id, description, kind, size, created, used, uses, shared, in_use } = record;
    BuildCacheRecord {
        id,
        kind: kind.to_owned(),
        description,
        in_use,
        shared,
        size: i64::try_from(size).unwrap_or(i64::MAX),
        created_at: created.format_rfc3339_nano(),
        last_used_at: Some(used.format_rfc3339_nano()),
        usage_count: i64::try_from(uses).unwrap_or(i64::MAX),
        ..BuildCacheRecord::default()
    }
}

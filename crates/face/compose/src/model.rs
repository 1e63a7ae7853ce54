//! A project, as it is after loading: every value in its long form.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use serde::Deserialize;
use serde_json::Value;

/// A project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) environment: BTreeMap<String, String>,
    /// Every profile that a service names.
    pub(crate) profiles: BTreeSet<String>,
    /// The services of active profiles.
    pub(crate) services: BTreeMap<String, Service>,
    /// The others.
    pub(crate) disabled: BTreeMap<String, Service>,
    pub(crate) networks: BTreeMap<String, Network>,
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) secrets: BTreeMap<String, FileObject>,
    pub(crate) configs: BTreeMap<String, FileObject>,
    /// Services of every profile, in long form.
    pub(crate) all_services: Value,
    /// All of it in long form.
    pub(crate) tree: Value,
    /// Networks and volumes that no service uses are made, too.
    pub(crate) all_resources: bool,
    /// Names are those of Compose 1: `project_service_1`.
    pub(crate) compatibility: bool,
}

macro_rules! part {
    ($( $(#[$meta:meta])* $name:ident { $( $(#[$inner:meta])* $field:ident : $ty:ty ),* $(,)? } )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name { $( $(#[$inner])* pub(crate) $field: $ty, )* }
    )* };
}

type Texts = Vec<String>;
type Map<T> = BTreeMap<String, T>;

part! {
    /// A service.
    Service {
        name: String,
        value: Value,
        profiles: Texts,
        annotations: Map<Option<String>>,
        attach: Option<bool>,
        build: Option<Build>,
        blkio_config: Option<Blkio>,
        cap_add: Texts,
        cap_drop: Texts,
        cgroup_parent: String,
        cgroup: String,
        cpu_count: i64,
        cpu_percent: f64,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_rt_period: i64,
        cpu_rt_runtime: i64,
        cpus: f64,
        cpuset: String,
        cpu_shares: i64,
        command: Option<Texts>,
        configs: Vec<FileReference>,
        container_name: String,
        credential_spec: Option<Value>,
        depends_on: Map<Dependency>,
        deploy: Option<Deploy>,
        device_cgroup_rules: Texts,
        devices: Vec<Device>,
        dns: Texts,
        dns_opt: Texts,
        dns_search: Texts,
        domainname: String,
        entrypoint: Option<Texts>,
        provider: Option<Value>,
        environment: Map<Option<String>>,
        expose: Texts,
        external_links: Texts,
        extra_hosts: Texts,
        group_add: Texts,
        gpus: Vec<DeviceRequest>,
        hostname: String,
        healthcheck: Option<Healthcheck>,
        image: String,
        init: Option<bool>,
        ipc: String,
        isolation: String,
        labels: Map<String>,
        links: Texts,
        logging: Option<Logging>,
        mem_limit: Bytes,
        mem_reservation: Bytes,
        memswap_limit: Bytes,
        mem_swappiness: Option<Bytes>,
        mac_address: String,
        models: Option<Value>,
        network_mode: String,
        networks: Map<Option<ServiceNetwork>>,
        oom_kill_disable: bool,
        oom_score_adj: i64,
        pid: String,
        pids_limit: Option<i64>,
        platform: String,
        ports: Vec<Port>,
        privileged: bool,
        pull_policy: String,
        pull_refresh_after: String,
        read_only: bool,
        restart: String,
        runtime: String,
        scale: Option<u32>,
        secrets: Vec<FileReference>,
        security_opt: Texts,
        shm_size: Bytes,
        stdin_open: bool,
        stop_grace_period: Option<String>,
        stop_signal: String,
        storage_opt: Map<String>,
        sysctls: Map<Option<String>>,
        tmpfs: Texts,
        tty: bool,
        ulimits: Map<Ulimit>,
        use_api_socket: bool,
        user: String,
        userns_mode: String,
        uts: String,
        volumes: Vec<Mount>,
        volumes_from: Texts,
        working_dir: String,
        pre_start: Vec<PreStart>,
        post_start: Vec<Hook>,
        pre_stop: Vec<Hook>,
        develop: Option<Develop>,
        /// Its labels' files; what they say is in `labels`.
        label_files: Texts,
        /// A container of `run` is known by the service's names on its networks.
        use_aliases: bool,
        /// A container of `run` is removed when it has ended.
        auto_remove: bool,
    }
    Blkio {
        weight: u16,
        weight_device: Vec<Weight>,
        device_read_bps: Vec<Rate>,
        device_read_iops: Vec<Rate>,
        device_write_bps: Vec<Rate>,
        device_write_iops: Vec<Rate>,
    }
    Weight { path: String, weight: u16 }
    Rate { path: String, rate: Bytes }
    FileReference { source: String, target: String, uid: String, gid: String, mode: Option<String> }
    Dependency { condition: String, restart: bool, required: bool }
    Deploy {
        mode: String,
        replicas: Option<u32>,
        labels: Map<String>,
        update_config: Option<UpdateConfig>,
        rollback_config: Option<UpdateConfig>,
        resources: Option<Resources>,
        restart_policy: Option<RestartPolicy>,
        placement: Option<Value>,
        endpoint_mode: String,
    }
    /// How containers of a running service are replaced.
    UpdateConfig {
        parallelism: Option<u64>,
        delay: Option<String>,
        failure_action: String,
        monitor: Option<String>,
        max_failure_ratio: f64,
        order: String,
    }
    /// A container that runs to its end before those of its service start.
    PreStart {
        image: String,
        command: Option<Texts>,
        user: String,
        privileged: bool,
        working_dir: String,
        environment: Map<Option<String>>,
        per_replica: bool,
    }
    /// A command inside a container that has started, or is to be stopped.
    Hook {
        command: Texts,
        user: String,
        privileged: bool,
        working_dir: String,
        environment: Map<Option<String>>,
    }
    /// How an image is made.
    Build {
        context: String,
        dockerfile: String,
        dockerfile_inline: String,
        entitlements: Texts,
        args: Map<Option<String>>,
        provenance: Option<Value>,
        sbom: Option<Value>,
        ssh: Option<Value>,
        labels: Map<String>,
        cache_from: Texts,
        cache_to: Texts,
        no_cache: bool,
        no_cache_filter: Texts,
        additional_contexts: Map<Option<String>>,
        pull: bool,
        extra_hosts: Texts,
        isolation: String,
        network: String,
        target: String,
        secrets: Vec<FileReference>,
        shm_size: Bytes,
        tags: Texts,
        ulimits: Map<Ulimit>,
        platforms: Texts,
        privileged: bool,
    }
    /// What is done while files change.
    Develop { watch: Vec<Trigger> }
    /// Files that are watched, and what is done when one changes.
    Trigger {
        path: String,
        action: String,
        target: String,
        exec: Option<Hook>,
        include: Texts,
        ignore: Texts,
        initial_sync: bool,
    }
    Resources { limits: Option<Limits>, reservations: Option<Limits> }
    Limits {
        cpus: f64,
        memory: Bytes,
        pids: Option<i64>,
        devices: Vec<DeviceRequest>,
        generic_resources: Option<Value>,
    }
    RestartPolicy {
        condition: String,
        delay: Option<String>,
        max_attempts: Option<i64>,
        window: Option<String>,
    }
    DeviceRequest {
        capabilities: Texts,
        driver: String,
        count: Option<i64>,
        device_ids: Texts,
        options: Map<Option<String>>,
    }
    Device { source: String, target: String, permissions: String }
    Healthcheck {
        test: Texts,
        timeout: Option<String>,
        interval: Option<String>,
        retries: Option<i64>,
        start_period: Option<String>,
        start_interval: Option<String>,
        disable: bool,
    }
    Logging { driver: String, options: Map<String> }
    ServiceNetwork {
        aliases: Texts,
        driver_opts: Map<String>,
        gw_priority: i64,
        interface_name: String,
        ipv4_address: String,
        ipv6_address: String,
        link_local_ips: Texts,
        mac_address: String,
        priority: i64,
    }
    Port { mode: String, host_ip: String, target: u32, published: Option<String>, protocol: String }
    Mount {
        r#type: String,
        source: String,
        target: String,
        read_only: bool,
        consistency: String,
        bind: Option<Bind>,
        volume: Option<VolumeUse>,
        tmpfs: Option<Tmpfs>,
        image: Option<Subpath>,
    }
    Bind { selinux: String, propagation: String, create_host_path: bool, recursive: String }
    VolumeUse { labels: Map<String>, nocopy: bool, subpath: String }
    Tmpfs { size: Bytes, mode: u32 }
    Subpath { subpath: String }
    /// A network.
    Network {
        name: String,
        driver: String,
        driver_opts: Map<String>,
        ipam: Ipam,
        external: bool,
        internal: bool,
        attachable: bool,
        labels: Map<String>,
        enable_ipv4: Option<bool>,
        enable_ipv6: Option<bool>,
    }
    Ipam { driver: String, config: Vec<Pool>, options: Map<String> }
    Pool { subnet: String, gateway: String, ip_range: String, aux_addresses: Map<String> }
    /// A volume.
    Volume {
        name: String,
        driver: String,
        driver_opts: Map<String>,
        external: bool,
        labels: Map<String>,
    }
    /// A config or a secret.
    FileObject {
        name: String,
        file: String,
        environment: Option<String>,
        content: Option<String>,
        external: bool,
        driver: String,
        template_driver: String,
    }
}

/// A size, which is text in the long form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) i64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Bytes).map_err(serde::de::Error::custom)
    }
}

/// One limit, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Ulimit {
    Single(i64),
    Pair { soft: i64, hard: i64 },
}

impl Ulimit {
    /// As a command line has it.
    pub(crate) fn written(self) -> String {
        match self {
            Ulimit::Single(both) => both.to_string(),
            Ulimit::Pair { soft, hard } => format!("{soft}:{hard}"),
        }
    }
}

impl Service {
    /// How many containers there are to be.
    pub(crate) fn replicas(&self) -> u32 {
        let deployed = self.deploy.as_ref().and_then(|deploy| deploy.replicas);
        self.scale.or(deployed).unwrap_or(1)
    }

    /// Services whose containers it uses: their namespaces or volumes.
    pub(crate) fn shares_with(&self) -> Vec<&str> {
        let modes = [&self.network_mode, &self.ipc, &self.pid];
        let modes = modes.into_iter().filter_map(|mode| mode.strip_prefix("service:"));
        let volumes = self.volumes_from.iter().filter(|from| !from.starts_with("container:"));
        let volumes = volumes.map(|from| from.split(':').next().unwrap_or(from));
        modes.chain(volumes).collect()
    }

    /// What it asks of the machine in `deploy`.
    pub(crate) fn limits(&self) -> Option<&Limits> {
        self.deploy.as_ref()?.resources.as_ref()?.limits.as_ref()
    }

    /// What it wants kept for it.
    pub(crate) fn reservations(&self) -> Option<&Limits> {
        self.deploy.as_ref()?.resources.as_ref()?.reservations.as_ref()
    }
}

impl Project {
    /// What stands between the parts of a container's name.
    pub(crate) fn separator(&self) -> char {
        if self.compatibility { '_' } else { '-' }
    }

    /// The image of a service; one that is built has the name of project and service.
    pub(crate) fn image_of(&self, service: &Service) -> String {
        if service.image.is_empty() {
            format!("{}{}{}", self.name, self.separator(), service.name)
        } else {
            service.image.clone()
        }
    }

    /// The images that a service runs: its own, and those that only its `pre_start` runs in.
    pub(crate) fn images_of(&self, service: &Service) -> Vec<String> {
        let hooks = service.hook_images().map(str::to_owned);
        std::iter::once(self.image_of(service)).chain(hooks).collect()
    }
}

impl Service {
    /// The images that its `pre_start` names.
    pub(crate) fn hook_images(&self) -> impl Iterator<Item = &str> {
        self.pre_start.iter().map(|hook| hook.image.as_str()).filter(|image| !image.is_empty())
    }
}

//! The Compose specification as a table: which keys there are, what their values are, and in which order `config` shows them.
//!
//! The order is that of Compose's own output, because config hashes are digests of it.

/// What a value is: how it may be written, what it becomes, and how two of them merge.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A container's name.
    ContainerName,
    /// When an image is pulled.
    PullPolicy,
    /// When a container is started again.
    Restart,
    /// A string or a number, kept as text.
    Scalar,
    /// On or off.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Number,
    /// A size, kept as bytes in text.
    Bytes,
    /// A duration in Go's notation.
    Duration,
    /// A list of strings (or numbers).
    Texts,
    /// A list of strings, or one.
    TextOrTexts,
    /// A list of strings or numbers, or one.
    Scalars,
    /// `key: value` or `- key=value`; a missing value is null.
    Mapping,
    /// As `Mapping`, a missing value is empty.
    Labels,
    /// `key: value`.
    Options,
    /// A command line: a list, or a string that is split as a shell does.
    Command,
    /// A health check's test: a list, or a string for the shell.
    Test,
    /// A mapping of these keys.
    Object(&'static [Key]),
    /// A mapping of names that the user chooses.
    MapOf(&'static Kind),
    /// A list.
    ListOf(&'static Kind),
    /// A service's ports.
    Ports,
    /// A service's mounts.
    Mounts,
    /// A service's configs.
    Configs,
    /// A service's secrets.
    Secrets,
    /// Names of services, or conditions by name.
    DependsOn,
    /// Names of networks, or settings by name.
    Networks,
    /// `name=address`.
    Hosts,
    /// Files with variables.
    EnvFiles,
    /// A limit, or a soft and a hard one, by name.
    Ulimits,
    /// Another service.
    Extends,
    /// Host devices.
    Devices,
    /// GPUs.
    Gpus,
    /// `external`.
    External,
    /// A path, or a mapping.
    Build,
    /// Files whose services belong to this project.
    Include,
    /// Mode bits.
    Mode,
    /// How many devices: a number, or all.
    Count,
    /// A service's models: names, or settings by name.
    ServiceModels,
    /// Keys of SSH agents.
    Ssh,
    /// Anything.
    Any,
}

/// A key of a mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Shown though it is empty.
    pub(crate) keep: bool,
    /// Whoever has the mapping has this, too.
    pub(crate) need: bool,
}

const fn k(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, keep: false, need: false }
}

const fn keep(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, keep: true, need: false }
}

const fn need(name: &'static str, kind: Kind) -> Key {
    Key { name, kind, keep: false, need: true }
}

use Kind::{
    Any, Bool, Build, Bytes, Choice, Command, Configs, ContainerName, Count, DependsOn, Devices,
    Duration, EnvFiles, Extends, External, Gpus, Hosts, Include, Int, Labels, ListOf, MapOf,
    Mapping, Mode, Mounts, Networks, Number, Object, Options, Ports, PullPolicy, Restart, Scalar,
    Scalars, Secrets, ServiceModels, Ssh, Test, Text, TextOrTexts, Texts, Ulimits,
};

/// A whole file.
pub(crate) static FILE: &[Key] = &[
    k("version", Scalar),
    k("name", Text),
    k("include", Include),
    keep("services", MapOf(&SERVICE_KIND)),
    k("networks", MapOf(&Object(NETWORK))),
    k("volumes", MapOf(&Object(VOLUME))),
    k("secrets", MapOf(&Object(SECRET))),
    k("configs", MapOf(&Object(CONFIG))),
    k("models", MapOf(&Object(MODEL))),
];

static MODEL: &[Key] =
    &[k("name", Text), need("model", Text), k("context_size", Int), k("runtime_flags", Texts)];

static PROVIDER: &[Key] = &[need("type", Text), k("options", MapOf(&Scalars))];

/// A service, as a kind.
pub(crate) static SERVICE_KIND: Kind = Object(SERVICE);

/// A service.
pub(crate) static SERVICE: &[Key] = &[
    k("profiles", Texts),
    k("annotations", Mapping),
    keep("attach", Bool),
    keep("build", Build),
    keep("develop", Object(DEVELOP)),
    keep("blkio_config", Object(BLKIO)),
    k("cap_add", Texts),
    k("cap_drop", Texts),
    k("cgroup_parent", Text),
    k("cgroup", Choice(&["host", "private"])),
    k("cpu_count", Int),
    k("cpu_percent", Number),
    k("cpu_period", Int),
    k("cpu_quota", Int),
    k("cpu_rt_period", Int),
    k("cpu_rt_runtime", Int),
    k("cpus", Number),
    k("cpuset", Text),
    k("cpu_shares", Int),
    keep("command", Command),
    k("configs", Configs),
    k("container_name", ContainerName),
    k("credential_spec", Any),
    k("depends_on", DependsOn),
    keep("deploy", Object(DEPLOY)),
    k("device_cgroup_rules", Texts),
    k("devices", Devices),
    k("dns", TextOrTexts),
    k("dns_opt", Texts),
    k("dns_search", TextOrTexts),
    k("domainname", Text),
    keep("entrypoint", Command),
    keep("provider", Object(PROVIDER)),
    k("environment", Mapping),
    k("env_file", EnvFiles),
    k("expose", Texts),
    k("extends", Extends),
    k("external_links", Texts),
    k("extra_hosts", Hosts),
    k("group_add", Texts),
    k("gpus", Gpus),
    k("hostname", Text),
    keep("healthcheck", Object(HEALTHCHECK)),
    k("image", Text),
    keep("init", Bool),
    k("ipc", Text),
    k("isolation", Text),
    k("labels", Labels),
    k("label_file", TextOrTexts),
    k("links", Texts),
    keep("logging", Object(LOGGING)),
    k("mem_limit", Bytes),
    k("mem_reservation", Bytes),
    k("memswap_limit", Bytes),
    k("mem_swappiness", Bytes),
    k("mac_address", Text),
    k("models", ServiceModels),
    k("network_mode", Text),
    k("networks", Networks),
    k("oom_kill_disable", Bool),
    k("oom_score_adj", Int),
    k("pid", Text),
    k("pids_limit", Int),
    k("platform", Text),
    k("ports", Ports),
    k("privileged", Bool),
    k("pull_policy", PullPolicy),
    k("pull_refresh_after", Text),
    k("read_only", Bool),
    k("restart", Restart),
    k("runtime", Text),
    keep("scale", Int),
    k("secrets", Secrets),
    k("security_opt", Texts),
    k("shm_size", Bytes),
    k("stdin_open", Bool),
    keep("stop_grace_period", Duration),
    k("stop_signal", Text),
    k("storage_opt", Options),
    k("sysctls", Mapping),
    k("tmpfs", TextOrTexts),
    k("tty", Bool),
    k("ulimits", Ulimits),
    k("use_api_socket", Bool),
    k("user", Text),
    k("userns_mode", Text),
    k("uts", Text),
    k("volumes", Mounts),
    k("volumes_from", Texts),
    k("working_dir", Text),
    k("pre_start", ListOf(&Object(PRE_START))),
    k("post_start", ListOf(&Object(HOOK))),
    k("pre_stop", ListOf(&Object(HOOK))),
];

static BLKIO: &[Key] = &[
    k("weight", Int),
    k("weight_device", ListOf(&Object(WEIGHT))),
    k("device_read_bps", ListOf(&Object(RATE))),
    k("device_read_iops", ListOf(&Object(RATE))),
    k("device_write_bps", ListOf(&Object(RATE))),
    k("device_write_iops", ListOf(&Object(RATE))),
];

pub(crate) static WEIGHT: &[Key] = &[k("path", Text), k("weight", Int)];

pub(crate) static RATE: &[Key] = &[k("path", Text), k("rate", Bytes)];

static DEPLOY: &[Key] = &[
    k("mode", Text),
    keep("replicas", Int),
    k("labels", Labels),
    k("update_config", Object(UPDATE)),
    k("rollback_config", Object(UPDATE)),
    keep(
        "resources",
        Object(&[k("limits", Object(LIMITS)), k("reservations", Object(RESERVATIONS))]),
    ),
    k("restart_policy", Object(RESTART)),
    keep("placement", Object(PLACEMENT)),
    k("endpoint_mode", Text),
];

static UPDATE: &[Key] = &[
    keep("parallelism", Int),
    k("delay", Duration),
    k("failure_action", Text),
    k("monitor", Duration),
    k("max_failure_ratio", Number),
    k("order", Choice(&["start-first", "stop-first"])),
];

static PLACEMENT: &[Key] = &[
    k("constraints", Texts),
    k("preferences", ListOf(&Object(&[k("spread", Text)]))),
    k("max_replicas_per_node", Int),
];

static DEVELOP: &[Key] = &[k("watch", ListOf(&Object(TRIGGER)))];

pub(crate) static TRIGGER: &[Key] = &[
    need("path", Text),
    need("action", Choice(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"])),
    k("target", Text),
    k("exec", Object(HOOK)),
    k("include", TextOrTexts),
    k("ignore", TextOrTexts),
    k("initial_sync", Bool),
];

static LIMITS: &[Key] = &[k("cpus", Number), k("memory", Bytes), k("pids", Int)];

static RESERVATIONS: &[Key] = &[
    k("cpus", Number),
    k("memory", Bytes),
    k("devices", ListOf(&Object(RESERVED_DEVICE))),
    k("generic_resources", Any),
];

/// As a request for devices, which has to say what for.
static RESERVED_DEVICE: &[Key] = &[
    need("capabilities", Texts),
    k("driver", Text),
    k("count", Count),
    k("device_ids", Texts),
    k("options", Mapping),
];

/// A request for devices.
pub(crate) static DEVICE_REQUEST: &[Key] = &[
    k("capabilities", Texts),
    k("driver", Text),
    k("count", Count),
    k("device_ids", Texts),
    k("options", Mapping),
];

static RESTART: &[Key] = &[
    k("condition", Text),
    keep("delay", Duration),
    keep("max_attempts", Int),
    keep("window", Duration),
];

static HEALTHCHECK: &[Key] = &[
    k("test", Test),
    keep("timeout", Duration),
    keep("interval", Duration),
    keep("retries", Int),
    keep("start_period", Duration),
    keep("start_interval", Duration),
    k("disable", Bool),
];

static LOGGING: &[Key] = &[k("driver", Text), k("options", Options)];

/// A container that runs before those of its service.
pub(crate) static PRE_START: &[Key] = &[
    k("image", Text),
    k("command", Command),
    k("user", Text),
    k("privileged", Bool),
    k("working_dir", Text),
    k("environment", Mapping),
    k("per_replica", Bool),
];

pub(crate) static HOOK: &[Key] = &[
    need("command", Command),
    k("user", Text),
    k("privileged", Bool),
    k("working_dir", Text),
    k("environment", Mapping),
];

/// What a service says about a network it is on.
pub(crate) static SERVICE_NETWORK: &[Key] = &[
    k("aliases", Texts),
    k("driver_opts", Options),
    k("gw_priority", Int),
    k("interface_name", Text),
    k("ipv4_address", Text),
    k("ipv6_address", Text),
    k("link_local_ips", Texts),
    k("mac_address", Text),
    k("priority", Int),
];

/// The long form of `depends_on`.
pub(crate) static DEPENDENCY: &[Key] =
    &[k("condition", Choice(CONDITIONS)), k("restart", Bool), keep("required", Bool)];

static CONDITIONS: &[&str] =
    &["service_started", "service_healthy", "service_completed_successfully"];

/// The long form of a port.
pub(crate) static PORT: &[Key] = &[
    k("name", Text),
    k("mode", Text),
    k("host_ip", Text),
    k("target", Int),
    k("published", Scalar),
    k("protocol", Text),
    k("app_protocol", Text),
];

/// The long form of a mount.
pub(crate) static MOUNT: &[Key] = &[
    k("type", Choice(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"])),
    k("source", Text),
    k("target", Text),
    k("read_only", Bool),
    k("consistency", Text),
    keep("bind", Object(BIND)),
    keep("volume", Object(&[k("labels", Labels), k("nocopy", Bool), k("subpath", Text)])),
    keep("tmpfs", Object(&[k("size", Bytes), k("mode", Mode)])),
    keep("image", Object(&[k("subpath", Text)])),
];

static BIND: &[Key] = &[
    k("selinux", Choice(&["z", "Z"])),
    k("propagation", Text),
    k("create_host_path", Bool),
    k("recursive", Choice(&["enabled", "disabled", "writable", "readonly"])),
];

/// The long form of a config or secret of a service.
pub(crate) static FILE_REFERENCE: &[Key] =
    &[k("source", Text), k("target", Text), k("uid", Text), k("gid", Text), k("mode", Mode)];

/// The long form of `env_file`.
pub(crate) static ENV_FILE: &[Key] =
    &[need("path", Text), keep("required", Bool), k("format", Text)];

/// The long form of `extends`.
pub(crate) static EXTENDS: &[Key] = &[k("file", Text), need("service", Text)];

/// The long form of a device.
pub(crate) static DEVICE: &[Key] =
    &[need("source", Text), k("target", Text), k("permissions", Text)];

/// The long form of `build`.
pub(crate) static BUILD: &[Key] = &[
    k("context", Text),
    k("dockerfile", Text),
    k("dockerfile_inline", Text),
    k("entitlements", Texts),
    k("args", Mapping),
    k("provenance", Scalar),
    k("sbom", Scalar),
    k("ssh", Ssh),
    k("labels", Labels),
    k("cache_from", Texts),
    k("cache_to", Texts),
    k("no_cache", Bool),
    k("no_cache_filter", TextOrTexts),
    k("additional_contexts", Mapping),
    k("pull", Bool),
    k("extra_hosts", Hosts),
    k("isolation", Text),
    k("network", Text),
    k("target", Text),
    k("secrets", Configs),
    k("shm_size", Bytes),
    k("tags", Texts),
    k("ulimits", Ulimits),
    k("platforms", Texts),
    k("privileged", Bool),
];

/// A network.
pub(crate) static NETWORK: &[Key] = &[
    k("name", Text),
    k("driver", Text),
    k("driver_opts", Options),
    keep("ipam", Object(IPAM)),
    k("external", External),
    k("internal", Bool),
    k("attachable", Bool),
    k("labels", Labels),
    keep("enable_ipv4", Bool),
    keep("enable_ipv6", Bool),
];

pub(crate) static IPAM: &[Key] =
    &[k("driver", Text), k("config", ListOf(&Object(POOL))), k("options", Options)];

pub(crate) static POOL: &[Key] =
    &[k("subnet", Text), k("gateway", Text), k("ip_range", Text), k("aux_addresses", Options)];

/// A volume.
pub(crate) static VOLUME: &[Key] = &[
    k("name", Text),
    k("driver", Text),
    k("driver_opts", Options),
    k("external", External),
    k("labels", Labels),
];

/// A config.
static CONFIG: &[Key] = &[
    k("name", Text),
    k("file", Text),
    k("environment", Text),
    k("content", Text),
    k("external", External),
    k("labels", Labels),
    k("template_driver", Text),
];

/// A secret.
static SECRET: &[Key] = &[
    k("name", Text),
    k("file", Text),
    k("environment", Text),
    k("content", Text),
    k("external", External),
    k("labels", Labels),
    k("driver", Text),
    k("driver_opts", Options),
    k("template_driver", Text),
];

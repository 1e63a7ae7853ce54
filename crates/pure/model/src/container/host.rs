//! Settings of a container that concern the host: isolation, limits, mounts, ports, logging.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    BindRecursion, CgroupnsMode, IdMaps, IpcMode, MountKind, NetworkMode, PidMode, RestartPolicy,
    UsernsMode,
};
use crate::network::{PortBinding, PortKey};

/// Docker's HostConfig, as choices instead of strings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostSettings {
    /// `-v` with a source: `source:destination[:options]`.
    pub binds: Vec<BindMount>,
    /// `--mount`.
    pub mounts: Vec<MountRequest>,
    /// `--tmpfs`: destination to options.
    pub tmpfs: BTreeMap<String, String>,
    /// `--volumes-from`: `container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// Driver for anonymous volumes and named ones that must be made.
    pub volume_driver: String,
    /// `-p`.
    pub port_bindings: BTreeMap<PortKey, Vec<PortBinding>>,
    /// `-P`.
    pub publish_all_ports: bool,
    /// `--network`.
    pub network_mode: NetworkMode,
    /// `--ipc`; `None` is the daemon's default (private).
    pub ipc_mode: Option<IpcMode>,
    /// `--pid`.
    pub pid_mode: PidMode,
    /// `--uts=host`.
    pub uts_host: bool,
    /// `--userns`.
    pub userns_mode: UsernsMode,
    /// `--cgroupns`.
    pub cgroupns_mode: CgroupnsMode,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--privileged`.
    pub privileged: bool,
    /// `--cap-add`, as given.
    pub cap_add: Vec<String>,
    /// `--cap-drop`, as given.
    pub cap_drop: Vec<String>,
    /// `--security-opt`, as given; a seccomp profile's JSON is inline.
    pub security_opt: Vec<String>,
    /// `--group-add`.
    pub group_add: Vec<String>,
    /// `--read-only`.
    pub readonly_rootfs: bool,
    /// Paths to hide; `None` is Docker's default set.
    pub masked_paths: Option<Vec<String>>,
    /// Paths to make read-only; `None` is Docker's default set.
    pub readonly_paths: Option<Vec<String>>,
    /// `--shm-size` in bytes; 0 is 64 MiB.
    pub shm_size: i64,
    /// `--sysctl`.
    pub sysctls: BTreeMap<String, String>,
    /// `--ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `--init`; `None` is the daemon's default.
    pub init: Option<bool>,
    /// `--rm`.
    pub auto_remove: bool,
    /// `--restart`.
    pub restart_policy: RestartPolicy,
    /// `--log-driver` and `--log-opt`.
    pub log: LogSettings,
    /// `--dns`.
    pub dns: Vec<String>,
    /// `--dns-option`.
    pub dns_options: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--add-host`: `name:address`.
    pub extra_hosts: Vec<String>,
    /// `--link`.
    pub links: Vec<String>,
    /// `--oom-score-adj`.
    pub oom_score_adj: i32,
    /// `--runtime`; empty is the daemon's default.
    pub runtime: String,
    /// `--storage-opt`.
    pub storage_opt: BTreeMap<String, String>,
    /// `--annotation`.
    pub annotations: BTreeMap<String, String>,
    /// `--cidfile`, only shown again.
    pub container_id_file: String,
    /// Terminal height and width at start.
    pub console_size: Option<(u32, u32)>,
    /// Limits.
    pub resources: Resources,
    /// Names of the API's lists and maps that were sent and were empty; those that were not sent are shown as `null`.
    pub sent_empty: BTreeSet<String>,
}

/// A `-v source:destination[:options]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindMount {
    /// As the user wrote it; shown again by inspect.
    pub text: String,
    /// Absolute path, or a volume's name.
    pub source: String,
    /// Absolute path in the container.
    pub destination: String,
    /// Options between commas (`ro`, `rw`, `z`, `Z`, `nocopy`, propagation).
    pub options: String,
}

/// A `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountRequest {
    /// `type=`.
    pub kind: MountKind,
    /// `source=`; empty for an anonymous volume.
    pub source: String,
    /// `target=`.
    pub target: String,
    /// `readonly`.
    pub read_only: bool,
    /// `consistency=`, shown again only.
    pub consistency: String,
    /// `bind-propagation=`; empty is `rprivate`.
    pub propagation: String,
    /// `bind-recursive=`.
    pub recursion: BindRecursion,
    /// `bind-create-src`.
    pub create_source: bool,
    /// `idmap`: whoever asked, or owns the source, is root in the container.
    #[serde(default)]
    pub idmap: bool,
    /// The user and group that asked for `idmap`; none is the source's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<(u32, u32)>,
    /// A bind's ids on the disk and what they are on the host; Kubernetes asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<IdMaps>,
    /// The source gets the container's SELinux label, where there are labels; Kubernetes asks for it.
    #[serde(default)]
    pub relabel: bool,
    /// `volume-nocopy`.
    pub no_copy: bool,
    /// `volume-label`.
    pub volume_labels: BTreeMap<String, String>,
    /// `volume-driver`; empty is local.
    pub volume_driver: String,
    /// `volume-opt`.
    pub volume_options: BTreeMap<String, String>,
    /// `volume-subpath`.
    pub subpath: String,
    /// `tmpfs-size`.
    pub tmpfs_size: i64,
    /// `tmpfs-mode`.
    pub tmpfs_mode: u32,
    /// `tmpfs` options as `key` or `key=value`.
    pub tmpfs_options: Vec<Vec<String>>,
}

/// A `--ulimit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, `nproc`, …
    pub name: String,
    /// Soft limit; -1 is unlimited.
    pub soft: i64,
    /// Hard limit; -1 is unlimited.
    pub hard: i64,
}

/// Log driver and its options; an empty driver is the daemon's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// `json-file`, `none`, …
    pub driver: String,
    /// `max-size`, `max-file`, …
    pub options: BTreeMap<String, String>,
}

/// A `--device`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceMapping {
    /// On the host.
    pub host_path: String,
    /// In the container.
    pub container_path: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// A device with a rate or weight (`--device-read-bps`, `--blkio-weight-device`, …).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRate {
    /// On the host.
    pub path: String,
    /// Bytes or operations a second, or weight.
    pub rate: u64,
}

/// A `--gpus` or other device request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceRequest {
    /// `nvidia`, `cdi`, …
    pub driver: String,
    /// -1 is all.
    pub count: i64,
    /// Ids.
    pub device_ids: Vec<String>,
    /// Alternatives of capability sets.
    pub capabilities: Vec<Vec<String>>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
}

/// Limits. 0 (or `None`) is no limit, as in Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `--memory`, bytes.
    pub memory: i64,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: i64,
    /// `--memory-swap`, memory plus swap in bytes; -1 unlimited.
    pub memory_swap: i64,
    /// `--memory-swappiness`.
    pub memory_swappiness: Option<i64>,
    /// Kernel memory, bytes; refused by newer kernels.
    pub kernel_memory: i64,
    /// Kernel memory for TCP, bytes.
    pub kernel_memory_tcp: i64,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: Option<bool>,
    /// `--cpus` in billionths.
    pub nano_cpus: i64,
    /// `--cpu-shares`.
    pub cpu_shares: i64,
    /// `--cpu-period`, microseconds.
    pub cpu_period: i64,
    /// `--cpu-quota`, microseconds.
    pub cpu_quota: i64,
    /// `--cpu-rt-period`, microseconds.
    pub cpu_realtime_period: i64,
    /// `--cpu-rt-runtime`, microseconds.
    pub cpu_realtime_runtime: i64,
    /// `--cpuset-cpus`.
    pub cpuset_cpus: String,
    /// `--cpuset-mems`.
    pub cpuset_mems: String,
    /// `--pids-limit`; `None`, 0 and -1 are unlimited.
    pub pids_limit: Option<i64>,
    /// `--blkio-weight`.
    pub blkio_weight: u16,
    /// `--blkio-weight-device`.
    pub blkio_weight_device: Vec<DeviceRate>,
    /// `--device-read-bps`.
    pub blkio_device_read_bps: Vec<DeviceRate>,
    /// `--device-write-bps`.
    pub blkio_device_write_bps: Vec<DeviceRate>,
    /// `--device-read-iops`.
    pub blkio_device_read_iops: Vec<DeviceRate>,
    /// `--device-write-iops`.
    pub blkio_device_write_iops: Vec<DeviceRate>,
    /// `--device`.
    pub devices: Vec<DeviceMapping>,
    /// `--device-cgroup-rule`.
    pub device_cgroup_rules: Vec<String>,
    /// `--gpus`.
    pub device_requests: Vec<DeviceRequest>,
}

//! What a container is asked to be, and what became of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ferry_oci::{Digest, runtime::User};
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::network::{EndpointRequest, EndpointStatus, PortBinding, PortKey};

mod health;
mod host;
mod ids;
mod mode;
mod pod;
pub use health::*;
pub use host::*;
pub use ids::*;
pub use mode::*;
pub use pod::*;

/// Everything that `create` was told, after the image's own configuration was merged in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The image as the user wrote it.
    pub image: String,
    /// Host name; empty means the first twelve characters of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// `user[:group]`, by name or number; empty is root.
    pub user: String,
    /// Whether `run` attached to each stream; only shown again, never acted on by the engine.
    pub attach: AttachFlags,
    /// A pseudo terminal instead of three pipes.
    pub tty: bool,
    /// Keep stdin open even when nobody is attached.
    pub open_stdin: bool,
    /// Close stdin when the first attached client leaves.
    pub stdin_once: bool,
    /// `NAME=value`, in the order in which the process sees them.
    pub env: Vec<String>,
    /// The command; appended to `entrypoint`. `None` when neither the user nor the image has one.
    pub cmd: Option<Vec<String>>,
    /// What Windows makes of `cmd`; only shown again.
    pub args_escaped: bool,
    /// The entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Working directory; empty is `/`.
    pub working_dir: String,
    /// Labels, the image's and the user's.
    pub labels: BTreeMap<String, String>,
    /// Ports that the image or the user declared, published or not.
    pub exposed_ports: BTreeSet<PortKey>,
    /// Paths that get an anonymous volume unless something is mounted there.
    pub volumes: BTreeSet<String>,
    /// Name or number of the signal that `stop` sends; `None` is SIGTERM.
    pub stop_signal: Option<String>,
    /// Seconds that `stop` waits before SIGKILL; `None` is 10.
    pub stop_timeout: Option<i64>,
    /// Health check as given by image or user.
    pub healthcheck: Option<HealthCheck>,
    /// Triggers for images built from this container.
    pub on_build: Vec<String>,
    /// Shell for the shell form of commands; only shown again.
    pub shell: Option<Vec<String>>,
    /// No network at all.
    pub network_disabled: bool,
    /// Settings that concern the host.
    pub host: HostSettings,
    /// Networks to join at start, by the name that the user wrote.
    pub endpoints: BTreeMap<String, EndpointRequest>,
    /// Its part in a pod; `None` for containers of Docker's clients.
    pub pod: Option<PodPart>,
}

/// Which streams `run` attached to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachFlags {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// A health check's definition. Durations are nanoseconds, 0 means inherit or default, as in Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthCheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", "…"]`.
    pub test: Vec<String>,
    /// Between two probes.
    pub interval: i64,
    /// For one probe.
    pub timeout: i64,
    /// Failures do not count this long after the start.
    pub start_period: i64,
    /// Between two probes during the start period.
    pub start_interval: i64,
    /// Consecutive failures until unhealthy.
    pub retries: i64,
}

/// A container's record: what is kept on disk, and what the engine hands out. Whoever changes it owns the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Version of this record's format.
    pub version: u32,
    /// 64 hexadecimal digits.
    pub id: String,
    /// Without a leading slash.
    pub name: String,
    /// When `create` was called.
    pub created: Timestamp,
    /// The image's id (digest of its configuration).
    pub image_id: Digest,
    /// The image's layers, bottom first, as diff ids.
    pub layers: Vec<Digest>,
    /// The image's platform, `os/arch`.
    pub platform: String,
    /// What was asked for.
    pub spec: ContainerSpec,
    /// What is mounted where, volumes resolved to their directories.
    pub mounts: Vec<MountPoint>,
    /// Where it stands.
    pub state: ContainerState,
    /// Where it is attached, by network name; addresses are there only while it runs.
    pub endpoints: BTreeMap<String, EndpointStatus>,
    /// Ports as they are really bound now.
    pub ports: BTreeMap<PortKey, Vec<PortBinding>>,
    /// Restarts by the restart policy since the last start by hand.
    pub restart_count: u32,
    /// The user stopped it: `unless-stopped` and `on-failure` do not bring it back.
    pub stopped_by_user: bool,
    /// What CNI plugins made for a pod's sandbox, while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<CniAttachment>,
    /// The first of its ids on the host, with `--userns=auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_id: Option<u32>,
    /// What SELinux knows it by; `None` where it was made without SELinux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux: Option<SelinuxLabels>,
}

impl Container {
    /// The version of the record's format.
    pub const VERSION: u32 = 1;

    /// The record of one that has not been started: without a name, a platform, layers, mounts and networks.
    pub fn new(id: String, image_id: Digest, spec: ContainerSpec) -> Container {
        Container {
            version: Self::VERSION,
            id,
            name: String::new(),
            created: Timestamp::default(),
            image_id,
            layers: Vec::new(),
            platform: String::new(),
            spec,
            mounts: Vec::new(),
            state: ContainerState::default(),
            endpoints: BTreeMap::new(),
            ports: BTreeMap::new(),
            restart_count: 0,
            stopped_by_user: false,
            cni: None,
            first_id: None,
            selinux: None,
        }
    }
}

/// The labels of a container, for as long as it is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelinuxLabels {
    /// Of its processes; empty for one that SELinux does not confine.
    pub process: String,
    /// Of its files.
    pub mount: String,
}

/// The phase that a container is in. Docker's words for them are `Display`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Made, never started.
    #[default]
    Created,
    /// Its process runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended and waits for its restart policy's delay.
    Restarting,
    /// It is being removed.
    Removing,
    /// It ended.
    Exited,
    /// It could not be removed in whole.
    Dead,
}

impl Phase {
    /// Docker's word: `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Created => "created",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Restarting => "restarting",
            Phase::Removing => "removing",
            Phase::Exited => "exited",
            Phase::Dead => "dead",
        }
    }

    /// Whether there is a process.
    pub fn is_running(self) -> bool {
        matches!(self, Phase::Running | Phase::Paused)
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a container's process did and does.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerState {
    /// The phase.
    pub phase: Phase,
    /// Process id in the host's pid namespace while it runs.
    pub pid: Option<i32>,
    /// Who the last run's program was started as, by the ids of its user namespace; `None` where nobody said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Its cgroup as of the last start, in the words of `linux.cgroupsPath`: another daemon may have another driver or parent.
    pub cgroup: String,
    /// Exit code of the last run; 128+n for signal n.
    pub exit_code: i32,
    /// Why the last start failed; empty when it did not.
    pub error: String,
    /// The kernel's memory limit killed something in it.
    pub oom_killed: bool,
    /// Most bytes of memory that the last run had at once; 0 when nobody counted.
    pub memory_peak: u64,
    /// Last start.
    pub started_at: Option<Timestamp>,
    /// Last end.
    pub finished_at: Option<Timestamp>,
    /// What its probes said; `None` when nothing probes it.
    pub health: Option<Health>,
    /// What was done to it since its last start, that one included; only the last of many. For those who ask why it ended.
    pub deeds: Vec<Deed>,
}

/// Something that was done to a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    /// Docker's word for the event.
    pub action: String,
    /// The signal of a `kill`.
    pub signal: Option<i32>,
}

/// Something mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Bind, volume or tmpfs.
    pub kind: MountKind,
    /// The volume's name.
    pub name: Option<String>,
    /// Directory or file on the host; empty for tmpfs.
    pub source: String,
    /// Absolute path in the container.
    pub destination: String,
    /// The volume's driver.
    pub driver: Option<String>,
    /// The options after the colon, as the user gave them (`z`, `ro,rshared`).
    pub mode: String,
    /// Whether it can be written to.
    pub rw: bool,
    /// Bind propagation (`rprivate`, `rshared`, …); empty for the default of its kind.
    pub propagation: String,
    /// The volume was made for this container and goes with `rm -v`.
    pub anonymous: bool,
    /// Do not copy the image's content into an empty volume.
    pub no_copy: bool,
    /// A directory inside the volume to mount instead of its top.
    pub subpath: String,
    /// Make the source directory when it is missing (what `-v` does and `--mount` does not).
    pub create_source: bool,
    /// A bind's ids are mapped: whoever asked for it, or owns the source, is root in the container.
    #[serde(default)]
    pub idmap: bool,
    /// The user and group that asked for it; none is the source's owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<(u32, u32)>,
    /// A bind's ids on the disk and what they are on the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<IdMaps>,
    /// Do not make submounts read-only too (`bind-recursive=writable`), or do not bind submounts at all.
    pub recursion: BindRecursion,
    /// tmpfs: size in bytes, 0 is the kernel's default.
    pub tmpfs_size: i64,
    /// tmpfs: mode bits, 0 is 1777.
    pub tmpfs_mode: u32,
    /// tmpfs: further options as given.
    pub tmpfs_options: String,
    /// What is mounted, when it is no directory of the host: a volume with driver options, an image of several layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filesystem: Option<FilesystemMount>,
}

/// A file system that the kernel mounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesystemMount {
    /// `tmpfs`, `nfs`, `overlay`, …
    pub kind: String,
    /// What is mounted.
    pub device: String,
    /// Options of mount(8).
    pub options: Vec<String>,
}

/// What `docker ps` needs of a container besides its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Bytes in the writable layer.
    pub rw: u64,
    /// Bytes in all layers.
    pub total: u64,
}

/// `wait`'s condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// Not running now, or the next time that it stops.
    #[default]
    NotRunning,
    /// The next exit, even if it is not running now.
    NextExit,
    /// Removed.
    Removed,
}

/// What `wait` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaitOutcome {
    /// The exit code.
    pub exit_code: i32,
    /// Why it never ran or could not be removed.
    pub error: Option<String>,
}

/// One of `ps`'s conditions. Several of one kind are alternatives, different kinds must all hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListContainers {
    /// Ended ones, too.
    pub all: bool,
    /// At most this many, newest first; implies `all`.
    pub limit: Option<usize>,
    /// Compute disk use.
    pub size: bool,
    /// Those of Kubernetes' pods, too.
    pub pods: bool,
    /// Docker's filters by name; the keys and their forms are checked before they come here.
    pub filters: BTreeMap<String, Vec<String>>,
}

/// A container in a list.
#[derive(Debug, Clone)]
pub struct ListedContainer {
    /// The record.
    pub container: Arc<Container>,
    /// Disk use, when asked for.
    pub size: Option<DiskUse>,
}

/// A container together with what was computed for this look at it.
#[derive(Debug, Clone)]
pub struct ContainerView {
    /// The record.
    pub container: Arc<Container>,
    /// Disk use, when asked for.
    pub size: Option<DiskUse>,
    /// Its AppArmor profile; empty where there is no AppArmor.
    pub apparmor_profile: String,
    /// Ids of its running execs.
    pub exec_ids: Vec<String>,
    /// Path of the json-file log, when that driver writes one.
    pub log_path: Option<String>,
    /// Directory of its files.
    pub dir: String,
    /// Upper and work directory and lower directories of its overlay.
    pub upper_dir: String,
    /// See `upper_dir`.
    pub work_dir: String,
    /// See `upper_dir`; top layer first.
    pub lower_dirs: Vec<String>,
}

/// Output of `top`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessTable {
    /// Column titles.
    pub titles: Vec<String>,
    /// A row a process.
    pub rows: Vec<Vec<String>>,
}

/// What a `prune` removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids or names of what is gone.
    pub deleted: Vec<String>,
    /// Bytes that are free again.
    pub reclaimed: u64,
}

/// What `create` was called with.
#[derive(Debug, Clone, Default)]
pub struct CreateContainer {
    /// The name that the user wants, without slash; the engine makes one up when there is none.
    pub name: Option<String>,
    /// The platform that the user insists on.
    pub platform: Option<String>,
    /// What to make. Image defaults are merged by the engine.
    pub spec: ContainerSpec,
}

/// What `create` answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreatedContainer {
    /// The new container's id.
    pub id: String,
    /// What was not done as asked, in words.
    pub warnings: Vec<String>,
}

/// What `update` was called with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct UpdateContainer {
    /// New limits; zeros and empty texts leave one alone. `pids_limit` of 0 lifts that limit.
    pub resources: Resources,
    /// A new restart policy.
    pub restart_policy: Option<RestartPolicy>,
    /// For a pod's container: files of cgroup v2 and what is written to them; others stay as they are.
    pub unified: BTreeMap<String, String>,
    /// For a pod's container: most bytes in huge pages, by their size; others stay as they are.
    pub hugepages: BTreeMap<String, u64>,
}

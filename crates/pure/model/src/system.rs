//! The engine and the machine that it is on.

/// What `info` tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SystemInfo {
    /// Unique id of this engine.
    pub id: String,
    /// Containers by phase: all, running, paused, stopped.
    pub containers: [u64; 4],
    /// Number of images.
    pub images: u64,
    /// Data root.
    pub data_root: String,
    /// Storage driver's name.
    pub driver: String,
    /// File system below the data root.
    pub backing_fs: String,
    /// Kernel release.
    pub kernel_version: String,
    /// `/etc/os-release`'s PRETTY_NAME.
    pub operating_system: String,
    /// `/etc/os-release`'s VERSION_ID.
    pub os_version: String,
    /// `x86_64`.
    pub architecture: String,
    /// Processors.
    pub cpus: u64,
    /// Memory in bytes.
    pub memory: u64,
    /// Host name.
    pub name: String,
    /// `1` or `2`.
    pub cgroup_version: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_driver: String,
    /// Registries spoken to without TLS checks, as networks or host names.
    pub insecure_registries: Vec<String>,
    /// Mirrors of Docker Hub.
    pub mirrors: Vec<String>,
    /// `name=seccomp,profile=builtin`, …
    pub security_options: Vec<String>,
    /// Names of runtimes and their paths.
    pub runtimes: Vec<(String, String)>,
    /// Default runtime.
    pub default_runtime: String,
    /// Default log driver.
    pub log_driver: String,
    /// What the user should know.
    pub warnings: Vec<String>,
    /// Debug logging is on.
    pub debug: bool,
    /// Open file descriptors of the daemon.
    pub open_files: u64,
    /// Event listeners.
    pub event_listeners: u64,
    /// Which limits the kernel can enforce.
    pub limits: LimitSupport,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Directories of CDI files.
    pub cdi_spec_dirs: Vec<String>,
    /// Devices that they name.
    pub cdi_devices: Vec<String>,
    /// IPv4 forwarding is on.
    pub ipv4_forwarding: bool,
    /// Where networks' addresses come from, as it was configured: a subnet, and the length of each network's prefix.
    pub address_pools: Vec<(String, u8)>,
    /// What the daemon reaches registries through.
    pub proxies: Proxies,
}

/// Proxies of the daemon's environment; empty is none. No secret is in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// `HTTP_PROXY`.
    pub http: String,
    /// `HTTPS_PROXY`.
    pub https: String,
    /// `NO_PROXY`: hosts that are reached without.
    pub none: String,
}

/// Which limits this machine's cgroups can enforce.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitSupport {
    /// `--memory`.
    pub memory: bool,
    /// `--memory-swap`.
    pub swap: bool,
    /// `--cpu-period`.
    pub cpu_period: bool,
    /// `--cpu-quota`.
    pub cpu_quota: bool,
    /// `--cpu-shares`.
    pub cpu_shares: bool,
    /// `--cpuset-cpus`.
    pub cpuset: bool,
    /// `--pids-limit`.
    pub pids: bool,
    /// `--oom-kill-disable`.
    pub oom_kill_disable: bool,
}

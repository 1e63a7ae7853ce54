//! From a container's record to the OCI specification of what is to run. Pure: everything about the host is an argument.

mod mounts;
mod process;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::container::{CgroupnsMode, Container, DeviceMapping, PodPart};
use ferry_oci::runtime::{
    Linux, LinuxDevice, LinuxDeviceCgroup, LinuxHugepageLimit, LinuxNamespace, LinuxResources,
    LinuxSeccomp, Root, Spec, VERSION,
};

pub(crate) use process::merge_environment;

use crate::{
    capability::UnknownCapability,
    resources,
    security::{SecurityOptionError, SecurityOptions, security_options},
    userns::UserNamespace,
};

/// Looks a device node up on the host.
pub type DeviceNumbers<'a> = &'a dyn Fn(&str) -> Result<HostDevice, SpecError>;

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Its path.
    pub path: String,
    /// `c` or `b`.
    pub kind: char,
    /// Major number.
    pub major: i64,
    /// Minor number.
    pub minor: i64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// A new one.
    New,
    /// The host's.
    Host,
    /// An existing one.
    Join(PathBuf),
}

/// Everything about the host and the engine that the specification depends on.
#[derive(Clone, Copy)]
pub struct SpecInputs<'a> {
    /// The container.
    pub container: &'a Container,
    /// The root file system's directory, for runtimes that want one.
    pub rootfs: &'a str,
    /// cgroup v2 alone.
    pub unified_cgroup: bool,
    /// Path of its cgroup.
    pub cgroup_path: &'a str,
    /// The container's `hosts`, `hostname` and `resolv.conf`, in that order.
    pub etc_files: [&'a str; 3],
    /// Network namespace.
    pub network: &'a Namespace,
    /// Process id namespace.
    pub pid: &'a Namespace,
    /// IPC namespace.
    pub ipc: &'a Namespace,
    /// Host and domain names.
    pub uts: &'a Namespace,
    /// User namespace; `None` is the host's.
    pub user: Option<&'a UserNamespace>,
    /// Where a joined IPC namespace's `/dev/shm` is.
    pub joined_shm: Option<&'a str>,
    /// Host name of the machine, for containers that share its UTS or network namespace.
    pub host_name: &'a str,
    /// Whether the engine itself may have a capability.
    pub bounding: &'a dyn Fn(&str) -> bool,
    /// The machine, as Rust names it.
    pub arch: &'a str,
    /// The AppArmor profile of containers that name none; `None` where the host has no AppArmor.
    pub apparmor: Option<&'a str>,
    /// The kernel's version, first two numbers.
    pub kernel: (u32, u32),
    /// User and group of a path on the host.
    pub owner: &'a dyn Fn(&str) -> Option<(u32, u32)>,
    /// Device look-up.
    pub device: DeviceNumbers<'a>,
    /// All device nodes of the host, for `--privileged`.
    pub all_devices: &'a dyn Fn() -> Vec<HostDevice>,
}

impl std::fmt::Debug for SpecInputs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpecInputs").field("container", &self.container.id).finish_non_exhaustive()
    }
}

/// A container that cannot be run as asked.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Neither the user nor the image names a program. Docker's words.
    #[error("no command specified")]
    NoCommand,
    /// A capability that there is not.
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    /// A security option that does not read.
    #[error(transparent)]
    SecurityOption(#[from] SecurityOptionError),
    /// A seccomp profile that contradicts itself.
    #[error(transparent)]
    Seccomp(#[from] crate::seccomp::ProfileError),
    /// A `--device-cgroup-rule` that does not read. Docker's words.
    #[error("invalid device cgroup rule format: '{0}'")]
    DeviceRule(String),
    /// A device that is not there, or is none. Docker's words.
    #[error("error gathering device information while adding custom device \"{path}\": {reason}")]
    Device {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// A limit for a block device that is not there, or is none. Docker's words.
    #[error("stat {path}: {reason}")]
    LimitedDevice {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// `--device` with a mode that is none.
    #[error("invalid device mode: {0}")]
    DeviceMode(String),
    /// A sysctl that would change the host's namespace. Docker's words.
    #[error("sysctl '{0}' not allowed in host {1} namespace")]
    HostSysctl(String, &'static str),
    /// A sysctl that is not namespaced. Docker's words.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
    /// A limit that setrlimit(2) does not have. Docker's words.
    #[error("invalid ulimit type: {0}")]
    Ulimit(String),
}

impl Kinded for SpecError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What Docker hides in every container (moby `oci/defaults.go`).
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

/// What Docker makes read-only in every container.
const READONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Plans the specification.
///
/// # Errors
/// What Docker would refuse, too.
pub fn plan_spec(inputs: &SpecInputs<'_>) -> Result<Spec, SpecError> {
    let host = &inputs.container.spec.host;
    let security = security_options(&host.security_opt, host.privileged)?;
    let capabilities = crate::capability::capabilities(
        &host.cap_add,
        &host.cap_drop,
        host.privileged,
        inputs.bounding,
    )?;
    let hostname = hostname(inputs);
    let seccomp = process::seccomp(inputs, &security, &capabilities)?;
    Ok(Spec {
        oci_version: VERSION.to_owned(),
        process: Some(process::plan(inputs, &security, &capabilities, &hostname)?),
        root: Some(Root { path: PathBuf::from(inputs.rootfs), readonly: host.readonly_rootfs }),
        hostname: (*inputs.uts == Namespace::New).then(|| hostname.clone()),
        domainname: Some(inputs.container.spec.domainname.clone()).filter(|name| !name.is_empty()),
        mounts: mounts::plan(inputs, &security),
        hooks: None,
        annotations: host.annotations.clone(),
        linux: Some(linux(inputs, &security, seccomp)?),
    })
}

/// The host name that the container sees.
pub fn hostname(inputs: &SpecInputs<'_>) -> String {
    let spec = &inputs.container.spec;
    if spec.host.uts_host || (*inputs.network == Namespace::Host && spec.hostname.is_empty()) {
        return inputs.host_name.to_owned();
    }
    if spec.hostname.is_empty() {
        return ferry_stdx::id::short(&inputs.container.id).to_owned();
    }
    spec.hostname.clone()
}

fn linux(
    inputs: &SpecInputs<'_>,
    security: &SecurityOptions,
    seccomp: Option<LinuxSeccomp>,
) -> Result<Linux, SpecError> {
    let host = &inputs.container.spec.host;
    let mut resources = resources::plan_limits(&host.resources, inputs.device)?;
    let (devices, rules) = plan_devices(inputs)?;
    resources.devices = rules;
    if let Some(part) = &inputs.container.spec.pod {
        pod_limits(part, &mut resources);
    }
    let default_paths = |own: &Option<Vec<String>>, default: &[&str]| match own {
        Some(own) => own.clone(),
        None if security.system_paths_unconfined => Vec::new(),
        None => default.iter().map(|path| (*path).to_owned()).collect(),
    };
    let maps = inputs.user.map(|user| user.maps.clone()).unwrap_or_default();
    Ok(Linux {
        uid_mappings: maps.uids,
        gid_mappings: maps.gids,
        sysctl: sysctls(inputs)?,
        resources: Some(resources),
        cgroups_path: Some(inputs.cgroup_path.to_owned()),
        namespaces: namespaces(inputs),
        devices,
        seccomp,
        rootfs_propagation: mounts::rootfs_propagation(inputs.container),
        mount_label: inputs
            .container
            .selinux
            .as_ref()
            .map(|labels| labels.mount.clone())
            .filter(|label| !label.is_empty()),
        masked_paths: default_paths(&host.masked_paths, &MASKED),
        readonly_paths: default_paths(&host.readonly_paths, &READONLY),
        ..Linux::default()
    })
}

/// Adds the limits that only containers of pods have.
pub fn pod_limits(part: &PodPart, resources: &mut LinuxResources) {
    let page = |(size, limit): (&String, &u64)| LinuxHugepageLimit {
        page_size: size.clone(),
        limit: *limit,
    };
    resources.hugepage_limits = part.hugepages.iter().map(page).collect();
    resources.unified.clone_from(&part.unified);
}

fn namespaces(inputs: &SpecInputs<'_>) -> Vec<LinuxNamespace> {
    let host = &inputs.container.spec.host;
    let cgroup = match host.cgroupns_mode {
        CgroupnsMode::Private => true,
        CgroupnsMode::Host => false,
        CgroupnsMode::Default => inputs.unified_cgroup && !host.privileged,
    };
    let own = |wanted: bool| if wanted { &Namespace::New } else { &Namespace::Host };
    [
        ("mount", &Namespace::New),
        ("network", inputs.network),
        ("uts", inputs.uts),
        ("pid", inputs.pid),
        ("ipc", inputs.ipc),
        ("cgroup", own(cgroup)),
        ("user", inputs.user.map_or(&Namespace::Host, |user| &user.from)),
    ]
    .into_iter()
    .filter_map(|(kind, from)| {
        let path = match from {
            Namespace::Host => return None,
            Namespace::New => None,
            Namespace::Join(path) => Some(path.clone()),
        };
        Some(LinuxNamespace { kind: kind.to_owned(), path })
    })
    .collect()
}

/// Which sysctls belong to a namespace: Docker lets a container set these only.
fn sysctls(
    inputs: &SpecInputs<'_>,
) -> Result<std::collections::BTreeMap<String, String>, SpecError> {
    let host = &inputs.container.spec.host;
    let mut sysctls = std::collections::BTreeMap::new();
    if *inputs.network == Namespace::New {
        // As Docker: ports below 1024 and ICMP sockets need no privilege in a network namespace of one's own.
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
        if inputs.user.is_none() {
            // Groups that a user namespace does not map cannot be written there.
            sysctls.insert("net.ipv4.ping_group_range".to_owned(), "0 2147483647".to_owned());
        }
    }
    for (key, value) in &host.sysctls {
        let ipc = matches!(
            key.as_str(),
            "kernel.msgmax"
                | "kernel.msgmnb"
                | "kernel.msgmni"
                | "kernel.sem"
                | "kernel.shmall"
                | "kernel.shmmax"
                | "kernel.shmmni"
                | "kernel.shm_rmid_forced"
        ) || key.starts_with("fs.mqueue.");
        let network = key.starts_with("net.");
        if network && *inputs.network == Namespace::Host {
            return Err(SpecError::HostSysctl(key.clone(), "network"));
        }
        if ipc && *inputs.ipc == Namespace::Host {
            return Err(SpecError::HostSysctl(key.clone(), "IPC"));
        }
        if !ipc && !network && !matches!(key.as_str(), "kernel.domainname") {
            return Err(SpecError::Sysctl(key.clone()));
        }
        sysctls.insert(key.clone(), value.clone());
    }
    Ok(sysctls)
}

fn plan_devices(
    inputs: &SpecInputs<'_>,
) -> Result<(Vec<LinuxDevice>, Vec<LinuxDeviceCgroup>), SpecError> {
    let host = &inputs.container.spec.host;
    if host.privileged {
        let all_devices = (inputs.all_devices)();
        let devices = all_devices.iter().map(|device| node(device, &device.path));
        let all = LinuxDeviceCgroup {
            allow: true,
            access: Some("rwm".to_owned()),
            ..LinuxDeviceCgroup::default()
        };
        return Ok((devices.collect(), vec![all]));
    }
    let mut devices = Vec::new();
    let mut rules = resources::default_device_rules();
    for DeviceMapping { host_path, container_path, permissions } in &host.resources.devices {
        let target = if container_path.is_empty() { host_path } else { container_path };
        let access = if permissions.is_empty() { "rwm" } else { permissions };
        if !access.bytes().all(|byte| b"rwm".contains(&byte)) {
            return Err(SpecError::DeviceMode(access.to_owned()));
        }
        let device = (inputs.device)(host_path)?;
        devices.push(node(&device, target));
        rules.push(LinuxDeviceCgroup {
            allow: true,
            kind: Some(device.kind.to_string()),
            major: Some(device.major),
            minor: Some(device.minor),
            access: Some(access.to_owned()),
        });
    }
    for rule in &host.resources.device_cgroup_rules {
        rules.push(resources::parse_device_rule(rule)?);
    }
    Ok((devices, rules))
}

fn node(device: &HostDevice, path: &str) -> LinuxDevice {
    LinuxDevice {
        path: path.to_owned(),
        kind: device.kind.to_string(),
        major: device.major,
        minor: device.minor,
        file_mode: Some(device.mode),
        uid: Some(device.uid),
        gid: Some(device.gid),
    }
}

/// The process of an exec: the container's own with another program, user and environment.
///
/// # Errors
/// As for [`plan_spec`].
pub fn plan_exec(
    inputs: &SpecInputs<'_>,
    exec: &ferry_model::exec::ExecSpec,
) -> Result<ferry_oci::runtime::Process, SpecError> {
    let host = &inputs.container.spec.host;
    let security = security_options(&host.security_opt, host.privileged)?;
    let privileged = host.privileged || exec.privileged;
    let capabilities = crate::capability::capabilities(
        &host.cap_add,
        &host.cap_drop,
        privileged,
        inputs.bounding,
    )?;
    let mut process = process::plan(inputs, &security, &capabilities, &hostname(inputs))?;
    process::merge_environment(&mut process.env, &exec.env);
    process.args.clone_from(&exec.cmd);
    process.terminal = exec.tty;
    if exec.tty && !process.env.iter().any(|line| line.starts_with("TERM=")) {
        process.env.push("TERM=xterm".to_owned());
    }
    if !exec.user.is_empty() {
        process.user = process::user(&exec.user, &host.group_add, process::is_strict(inputs));
    }
    if !exec.working_dir.is_empty() {
        process.cwd.clone_from(&exec.working_dir);
    }
    Ok(process)
}

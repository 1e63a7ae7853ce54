//! Containers: the rules about one container, as pure functions: names, mounts, capabilities, the OCI specification of what
//! is to run, the files in `/etc`.
//!
//! Knows: a container's record and its image's configuration. Does not know: registries, networks, the disk, the kernel; it
//! plans, and others act.
//! Start with [`plan_spec`], [`plan_mounts`], [`merge_image`].

mod apparmor;
mod capability;
pub mod cdi;
mod etc;
mod health;
mod merge;
mod mount;
mod name;
mod resources;
pub mod seccomp;
mod security;
mod selinux;
mod spec;
mod update;
mod userns;
pub mod why;

pub use apparmor::{DEFAULT_PROFILE, ProfileInputs, UNCONFINED, apparmor_profile, default_profile};
pub use capability::{UnknownCapability, capabilities};
pub use etc::{DnsOverrides, embedded_resolv_conf, hosts, resolv_conf, updated_hosts};
pub use health::{HealthTiming, OUTPUT as HEALTH_OUTPUT, health_action, probe_command};
pub use merge::merge_image;
pub use mount::{MountError, clean_path, parse_bind, parse_request, plan_mounts};
pub use name::{InvalidName, check_name};
pub use security::{SeccompChoice, SecurityOptionError, SecurityOptions, security_options};
pub use selinux::{
    SelinuxError, is_host_directory, selinux_labels, selinux_level, selinux_level_of,
    selinux_options_of, selinux_relabel, selinux_shared,
};
pub use spec::{
    DeviceNumbers, HostDevice, Namespace, SpecError, SpecInputs, hostname, plan_exec, plan_spec,
    pod_limits,
};
pub use update::{CpusetKind, UpdateError, apply_update, check_cpuset, plan_update};
pub use userns::{
    IdMaps, UserNamespace, UserNamespaceConflict, check_user_namespace, free_range,
    subordinate_ranges, unclaimed_range,
};

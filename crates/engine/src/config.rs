//! What the daemon was told: paths, addresses, defaults.

use std::{collections::BTreeMap, net::Ipv4Addr, path::PathBuf, time::Duration};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{CgroupnsMode, IpcMode, LogSettings};

use crate::ops::build::Budget;

/// Settings of an engine. Faces fill it from flags and files; the engine does not read either.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Durable data: images, volumes, containers.
    pub data_root: PathBuf,
    /// State that lives as long as the machine is up: shims' sockets.
    pub exec_root: PathBuf,
    /// The program to start shims from: this one.
    pub executable: PathBuf,
    /// The default bridge.
    pub bridge: BridgeConfig,
    /// Networks of Kubernetes' pods.
    pub cni: CniConfig,
    /// Registries.
    pub registries: RegistryConfig,
    /// Default log driver and its options.
    pub log: LogSettings,
    /// Further OCI runtimes by name.
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// The runtime for containers that name none; empty is Ferry's own.
    pub default_runtime: String,
    /// `--init` unless a container says otherwise.
    pub init: bool,
    /// `--default-shm-size`; 0 is 64 MiB.
    pub shm_size: i64,
    /// Default limits of `--default-ulimit`.
    pub ulimits: Vec<ferry_model::container::Ulimit>,
    /// Who makes containers' cgroups.
    pub cgroup_driver: CgroupDriver,
    /// cgroup below which containers' cgroups are, for the systemd driver a slice; empty is the driver's own.
    pub cgroup_parent: String,
    /// `--userns-remap`: the ids of containers in a user namespace; `None` leaves them in the host's.
    pub userns_remap: Option<ferry_container::IdMaps>,
    /// Labels of the daemon.
    pub labels: Vec<String>,
    /// Debug logging is on; only shown.
    pub debug: bool,
    /// Layers downloaded at once.
    pub max_concurrent_downloads: usize,
    /// Layers sent at once; 0 is the client's own choice.
    pub max_concurrent_uploads: usize,
    /// cgroup namespace of containers that say nothing.
    pub cgroupns: CgroupnsMode,
    /// IPC mode of containers that say nothing; `None` is private.
    pub ipc: Option<IpcMode>,
    /// SELinux is used where the machine has it.
    pub selinux: bool,
    /// `no-new-privileges` for containers that say nothing.
    pub no_new_privileges: bool,
    /// Seccomp profile of containers that name none: JSON, `unconfined`, or empty for the built-in one.
    pub seccomp_profile: String,
    /// What `host-gateway` means; empty is the gateway of the container's network.
    pub host_gateway: Vec<std::net::IpAddr>,
    /// What of the build cache goes after a build, rule by rule; none keeps everything.
    pub build_gc: Vec<BuildGcRule>,
    /// Directories of CDI files, the last of which wins; none turns CDI off.
    pub cdi_spec_dirs: Vec<PathBuf>,
}

/// Which records of the build cache go, least recently used first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildGcRule {
    /// Only those of these kinds.
    pub kinds: Option<Vec<String>>,
    /// Only those that were not used for so long.
    pub unused_for: Option<Duration>,
    /// How much may stay.
    pub budget: Budget,
}

impl BuildGcRule {
    /// BuildKit's own, for a budget.
    pub fn defaults(budget: Budget) -> Vec<BuildGcRule> {
        let day = Duration::from_secs(24 * 3600);
        let kinds = ["source.local", "exec.cachemount", "source.git.checkout"];
        let easy = BuildGcRule {
            kinds: Some(kinds.map(str::to_owned).to_vec()),
            unused_for: Some(2 * day),
            budget: Budget { max_used: 512 << 20, ..Budget::default() },
        };
        let old = BuildGcRule { kinds: None, unused_for: Some(60 * day), budget };
        vec![easy, old, BuildGcRule { kinds: None, unused_for: None, budget }]
    }

    /// BuildKit's default for a disk of so many bytes: a tenth of it (10 GB at most) is the cache's, more as long as a fifth is free and
    /// the cache has less than 80 % (100 GB at most).
    pub fn budget_of(disk: u64) -> Budget {
        Budget {
            reserved: (disk / 10).min(10_000_000_000),
            max_used: (disk / 5 * 4).min(100_000_000_000),
            min_free: disk / 5,
        }
    }
}

/// A program with runc's command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// The program.
    pub path: PathBuf,
    /// Arguments before those of a command.
    pub args: Vec<String>,
}

/// The default bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Name of the link; empty is `ferry0`. `none` turns the default network off.
    pub name: String,
    /// `--bip`: the bridge's address and prefix length; `None` lets the engine choose a free range.
    pub address: Option<(Ipv4Addr, u8)>,
    /// `--bip6`.
    pub address6: Option<(std::net::Ipv6Addr, u8)>,
    /// `--fixed-cidr`: the part of the subnet that addresses come from.
    pub fixed_cidr: Option<ferry_network::Net>,
    /// `--fixed-cidr-v6`.
    pub fixed_cidr6: Option<ferry_network::Net>,
    /// `--default-gateway`; `None` is the bridge.
    pub gateway: Option<std::net::IpAddr>,
    /// `--default-gateway-v6`.
    pub gateway6: Option<std::net::IpAddr>,
    /// `--icc`: containers of the default network reach each other.
    pub icc: bool,
    /// `--firewall=respect`: published ports are services of the host, and its firewall decides about them.
    pub respect_firewall: bool,
    /// `--ipv6`: the default network has IPv6.
    pub ipv6: bool,
    /// `--mtu`; 0 is the default route's.
    pub mtu: u32,
    /// `--dns` for containers that name none.
    pub dns: Vec<String>,
    /// `--dns-search`.
    pub dns_search: Vec<String>,
    /// `--dns-opt`.
    pub dns_options: Vec<String>,
    /// `--ip`: the address that ports are published on when none is named.
    pub publish_address: Option<std::net::IpAddr>,
    /// `--default-address-pool`: where networks come from; empty is Ferry's own choice.
    pub pools: Vec<ferry_network::Pool>,
    /// `--default-network-opt`: a driver, an option, and its value for networks that do not say.
    pub network_options: Vec<(String, String, String)>,
    /// Name of the nftables table; empty is `ferry`.
    pub table: String,
}

impl BridgeConfig {
    /// Options that networks of a driver have unless they say otherwise.
    pub(crate) fn options_of(&self, driver: &str) -> impl Iterator<Item = (&String, &String)> {
        let of_driver = self.network_options.iter().filter(move |(name, ..)| name == driver);
        of_driver.map(|(_, key, value)| (key, value))
    }
}

/// Where the configuration of pods' networks is, and the plugins that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniConfig {
    /// The first file in here, by name, counts.
    pub conf_dir: PathBuf,
    /// Searched in order.
    pub plugin_dirs: Vec<PathBuf>,
}

impl Default for CniConfig {
    /// Where everyone puts them; Debian's package has a directory of its own.
    fn default() -> Self {
        CniConfig {
            conf_dir: PathBuf::from("/etc/cni/net.d"),
            plugin_dirs: vec![PathBuf::from("/opt/cni/bin"), PathBuf::from("/usr/lib/cni")],
        }
    }
}

/// Where images come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Mirrors by registry (`docker.io` to URLs), tried in order.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts and networks that may be spoken to without TLS or with unknown certificates.
    pub insecure: Vec<String>,
    /// Whose images must be signed, and by whom.
    pub signatures: Vec<ferry_transfer::SignatureRule>,
}

/// Who makes containers' cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupDriver {
    /// Ferry, as directories.
    #[default]
    Cgroupfs,
    /// systemd, as scopes.
    Systemd,
}

impl CgroupDriver {
    /// Docker's word.
    pub fn as_str(self) -> &'static str {
        match self {
            CgroupDriver::Cgroupfs => "cgroupfs",
            CgroupDriver::Systemd => "systemd",
        }
    }

    /// Where containers' cgroups are unless somebody says otherwise.
    fn parent(self) -> &'static str {
        match self {
            CgroupDriver::Cgroupfs => "ferry",
            CgroupDriver::Systemd => "system.slice",
        }
    }
}

impl EngineConfig {
    /// `linux.cgroupsPath` of a container with this `--cgroup-parent`.
    pub(crate) fn cgroups_path(&self, id: &str, parent: &str) -> String {
        let mut parents = [parent, &self.cgroup_parent].into_iter();
        let parent = parents.find(|it| !it.is_empty()).unwrap_or(self.cgroup_driver.parent());
        match self.cgroup_driver {
            CgroupDriver::Cgroupfs => format!("/{}/{id}", parent.trim_matches('/')),
            CgroupDriver::Systemd => format!("{}:ferry:{id}", slice(parent)),
        }
    }

    /// Checks a `--cgroup-parent`.
    ///
    /// # Errors
    /// It is no slice and has to be one, in Docker's words.
    pub fn check_cgroup_parent(&self, parent: &str) -> Result<(), Failure> {
        let fits = self.cgroup_driver == CgroupDriver::Cgroupfs
            || parent.is_empty()
            || ferry_cgroup::slice_directory(slice(parent)).is_some();
        if fits {
            return Ok(());
        }
        let words =
            "cgroup-parent for systemd cgroup should be a valid slice named as \"xxx.slice\"";
        Err(Failure::new(ErrorKind::InvalidArgument, words))
    }

    /// Defaults with these two roots.
    pub fn new(data_root: PathBuf, exec_root: PathBuf, executable: PathBuf) -> Self {
        EngineConfig {
            data_root,
            exec_root,
            executable,
            bridge: BridgeConfig::default(),
            cni: CniConfig::default(),
            registries: RegistryConfig::default(),
            log: LogSettings { driver: "json-file".to_owned(), options: BTreeMap::new() },
            runtimes: BTreeMap::new(),
            default_runtime: String::new(),
            init: false,
            shm_size: 0,
            ulimits: Vec::new(),
            cgroup_driver: CgroupDriver::Cgroupfs,
            cgroup_parent: String::new(),
            userns_remap: None,
            labels: Vec::new(),
            debug: false,
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 0,
            cgroupns: CgroupnsMode::Default,
            ipc: None,
            selinux: false,
            no_new_privileges: false,
            seccomp_profile: String::new(),
            host_gateway: Vec::new(),
            build_gc: Vec::new(),
            cdi_spec_dirs: ["/etc/cdi", "/var/run/cdi"].map(PathBuf::from).to_vec(),
        }
    }
}

/// A slice's name says where it is: of a path only the end counts.
fn slice(parent: &str) -> &str {
    let parent = parent.trim_end_matches('/');
    parent.rsplit('/').next().unwrap_or(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_go_where_their_driver_has_them() {
        let mut config = EngineConfig::new("/d".into(), "/e".into(), "/x".into());
        assert_eq!(config.cgroups_path("1", ""), "/ferry/1");
        assert_eq!(config.cgroups_path("1", "/kubepods/pod2/"), "/kubepods/pod2/1");
        assert!(config.check_cgroup_parent("/a/b").is_ok());
        config.cgroup_driver = CgroupDriver::Systemd;
        assert_eq!(config.cgroups_path("1", ""), "system.slice:ferry:1");
        let path = "/kubepods.slice/kubepods-pod2.slice";
        assert_eq!(config.cgroups_path("1", path), "kubepods-pod2.slice:ferry:1");
        config.cgroup_parent = "machine.slice".to_owned();
        assert_eq!(config.cgroups_path("1", ""), "machine.slice:ferry:1");
        for (parent, fits) in
            [("", true), (path, true), ("a.slice", true), ("a", false), ("a/", false)]
        {
            assert_eq!(config.check_cgroup_parent(parent).is_ok(), fits, "{parent}");
        }
    }
}

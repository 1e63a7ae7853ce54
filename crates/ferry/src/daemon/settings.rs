//! What the daemon was told, wherever it was said, and what the engine makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use ferry_engine::{BridgeConfig, CgroupDriver, EngineConfig};
use ferry_model::container::{CgroupnsMode, IpcMode, LogSettings, Ulimit};

use super::{builder, registries, remap, runtimes};

/// Values by flag name. What is not in it has its default.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(BTreeMap<&'static str, Vec<String>>);

/// Features of dockerd that can be told on or off. BuildKit and the image store are always Ferry's own.
const FEATURES: [&str; 3] = ["cdi", "buildkit", "containerd-snapshotter"];

/// Where things are unless somebody says otherwise.
const DATA_ROOT: &str = "/var/lib/ferry";
const EXEC_ROOT: &str = "/run/ferry";

impl Settings {
    pub(super) fn set(&mut self, name: &'static str, values: Vec<String>) {
        self.0.insert(name, values);
    }

    pub(super) fn names(&self) -> BTreeSet<&'static str> {
        self.0.keys().copied().collect()
    }

    /// The last value of a setting.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).last().map(String::as_str).filter(|value| !value.is_empty())
    }

    /// All values of a setting.
    pub(super) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// What Kubernetes' interface is served with.
    pub(super) fn cri(&self) -> Result<ferry_cri::Product, String> {
        let seconds = self.one("cri-pull-timeout").unwrap_or("300");
        let patience = seconds.parse().ok().filter(|seconds| *seconds > 0);
        let patience = patience.ok_or_else(|| {
            format!("invalid cri-pull-timeout \"{seconds}\": it is a number of seconds above 0")
        })?;
        let pinned = self.all("cri-pinned-image").iter().map(|text| ferry_cri::pinned_image(text));
        Ok(ferry_cri::Product {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pinned: pinned.collect::<Result<_, _>>()?,
            pull_patience: std::time::Duration::from_secs(patience),
        })
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        self.one(name)
            .is_some_and(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True"))
    }

    pub(super) fn exec_root(&self) -> PathBuf {
        self.directory("exec-root", EXEC_ROOT)
    }

    /// Others (shims, containers) use it from elsewhere.
    fn directory(&self, name: &str, usual: &str) -> PathBuf {
        let path = PathBuf::from(self.one(name).unwrap_or(usual));
        std::path::absolute(&path).unwrap_or(path)
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.one("pidfile").map_or_else(|| self.exec_root().join("ferry.pid"), PathBuf::from)
    }

    /// The engine's configuration.
    pub(super) fn engine_config(&self) -> Result<EngineConfig, String> {
        let data_root = self.directory("data-root", DATA_ROOT);
        let executable = std::env::current_exe()
            .map_err(|error| format!("cannot find the program that is running: {error}"))?;
        let mut config = EngineConfig::new(data_root, self.exec_root(), executable);
        config.bridge = self.bridge()?;
        config.registries =
            registries::read(self.all("registry-mirror"), self.all("insecure-registry"))?;
        config.log = LogSettings {
            driver: self.one("log-driver").unwrap_or("json-file").to_owned(),
            options: self.all("log-opt").iter().map(|pair| split(pair)).collect(),
        };
        (config.runtimes, config.default_runtime) = runtimes::read(self)?;
        config.init = self.switch("init");
        if let Some(size) = self.one("default-shm-size") {
            config.shm_size = ferry_stdx::size::parse_bytes(size)
                .map_err(|error| format!("--default-shm-size {size}: {error}"))?;
        }
        config.ulimits =
            self.all("default-ulimit").iter().map(|text| ulimit(text)).collect::<Result<_, _>>()?;
        config.cgroup_driver = self.cgroup_driver()?;
        if let Some(parent) = self.one("cgroup-parent") {
            config
                .check_cgroup_parent(parent)
                .map_err(|failure| format!("--cgroup-parent {parent}: {failure}"))?;
            config.cgroup_parent = parent.trim_matches('/').to_owned();
        }
        if let Some(directory) = self.one("cni-conf-dir") {
            config.cni.conf_dir = PathBuf::from(directory);
        }
        if !self.all("cni-bin-dir").is_empty() {
            config.cni.plugin_dirs = self.all("cni-bin-dir").iter().map(PathBuf::from).collect();
        }
        config.userns_remap = self.one("userns-remap").map(remap::read).transpose()?;
        let disk = rustix::fs::statvfs(existing(&config.data_root))
            .map_or(0, |disk| disk.f_blocks.saturating_mul(disk.f_frsize));
        config.build_gc = builder::read(self.one("builder"), disk)?;
        config.labels = self.all("label").to_vec();
        config.debug = self.switch("debug");
        if let Some(count) = self.one("max-concurrent-downloads") {
            config.max_concurrent_downloads = count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| format!("invalid max concurrent downloads: {count}"))?;
        }
        self.defaults_of_containers(&mut config)?;
        let dirs: Vec<PathBuf> = self
            .all("cdi-spec-dir")
            .iter()
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .collect();
        if self.names().contains("cdi-spec-dir") {
            config.cdi_spec_dirs = dirs;
        }
        if self.feature("cdi")? == Some(false) {
            config.cdi_spec_dirs.clear();
        }
        for pair in self.all("feature") {
            let name = pair.split_once('=').map_or(pair.as_str(), |(name, _)| name);
            if !FEATURES.contains(&name) {
                return Err(format!(
                    "feature {name:?} is not supported: there is {}",
                    FEATURES.join(", ")
                ));
            }
        }
        Ok(config)
    }

    /// What containers are like that say nothing.
    fn defaults_of_containers(&self, config: &mut EngineConfig) -> Result<(), String> {
        if let Some(count) = self.one("max-concurrent-uploads") {
            config.max_concurrent_uploads = count
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| format!("invalid max concurrent uploads: {count}"))?;
        }
        config.cgroupns = match self.one("default-cgroupns-mode") {
            None => CgroupnsMode::Default,
            Some("host") => CgroupnsMode::Host,
            Some("private") => CgroupnsMode::Private,
            Some(other) => {
                return Err(format!(
                    "invalid default cgroup namespace ({other}): use \"host\" or \"private\""
                ));
            }
        };
        config.ipc = match self.one("default-ipc-mode") {
            None => None,
            Some("private") => Some(IpcMode::Private),
            Some("shareable") => Some(IpcMode::Shareable),
            Some(other) => {
                return Err(format!(
                    "IPC mode \"{other}\" is not supported as default value: use \"shareable\" or \"private\""
                ));
            }
        };
        config.selinux = self.switch("selinux-enabled");
        config.no_new_privileges = self.switch("no-new-privileges");
        config.seccomp_profile = match self.one("seccomp-profile") {
            None | Some("builtin") => String::new(),
            Some("unconfined") => "unconfined".to_owned(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| format!("opening seccomp profile ({path}) failed: {error}"))?,
        };
        config.host_gateway = self
            .all("host-gateway-ip")
            .iter()
            .flat_map(|text| text.split(','))
            .map(|text| {
                text.trim().parse().map_err(|_| format!("--host-gateway-ip {text}: not an address"))
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Docker has it among the options of its runtime.
    fn cgroup_driver(&self) -> Result<CgroupDriver, String> {
        let mut said = self.one("cgroup-driver").map(|name| ("--cgroup-driver", name));
        for option in self.all("exec-opt") {
            let Some(name) = option.strip_prefix("native.cgroupdriver=") else {
                return Err(format!(
                    "--exec-opt={option} is not supported: there is native.cgroupdriver"
                ));
            };
            match said {
                Some((other, before)) if before != name => {
                    return Err(format!(
                        "--exec-opt={option} and {other} {before} contradict each other"
                    ));
                }
                _ => said = Some(("--exec-opt", name)),
            }
        }
        match said {
            None | Some((_, "cgroupfs")) => Ok(CgroupDriver::Cgroupfs),
            Some((_, "systemd")) => Ok(CgroupDriver::Systemd),
            Some((flag, other)) => Err(format!(
                "{flag}: cgroup driver \"{other}\" is not supported: there are cgroupfs and systemd"
            )),
        }
    }

    /// What `--feature NAME=…` says.
    fn feature(&self, name: &str) -> Result<Option<bool>, String> {
        let said = self.all("feature").iter().rev().find_map(|pair| match pair.split_once('=') {
            Some((known, value)) if known == name => Some(value),
            None if pair == name => Some("true"),
            _ => None,
        });
        match said {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(format!("--feature {name}={other}: neither true nor false")),
        }
    }

    /// A network in CIDR notation.
    fn range(&self, flag: &str, v6: bool) -> Result<Option<(IpAddr, u8)>, String> {
        let Some(text) = self.one(flag) else { return Ok(None) };
        let longest = if v6 { 126 } else { 30 };
        let net = ferry_engine::parse_subnet(text)
            .filter(|(ip, prefix)| ip.is_ipv6() == v6 && (1..=longest).contains(prefix));
        net.map(Some).ok_or_else(|| format!("--{flag} {text}: not a network such as 10.0.0.0/24"))
    }

    fn gateway(&self, flag: &str, v6: bool) -> Result<Option<IpAddr>, String> {
        let Some(text) = self.one(flag) else { return Ok(None) };
        let ip = text.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv6() == v6);
        ip.map(Some).ok_or_else(|| format!("--{flag} {text}: not an address of that family"))
    }

    /// As the flag or `daemon.json`, else our own file says.
    fn respects_firewall(&self, of_file: Option<String>) -> Result<bool, String> {
        match self.one("firewall").or(of_file.as_deref()) {
            None | Some("" | "own") => Ok(false),
            Some("respect") => Ok(true),
            Some(other) => Err(format!("--firewall {other}: neither own nor respect")),
        }
    }

    fn bridge(&self) -> Result<BridgeConfig, String> {
        let name = self.one("bridge").unwrap_or_default().to_owned();
        if !matches!(name.as_str(), "" | "none") && self.one("bip").is_some() && name.len() > 15 {
            return Err(format!("--bridge {name}: a link's name has at most 15 bytes"));
        }
        let mtu = match self.one("mtu") {
            Some(text) => {
                text.parse().map_err(|_| format!("--mtu {text}: not a number of bytes"))?
            }
            None => 0,
        };
        let publish_address = match self.one("ip") {
            Some(text) => {
                Some(text.parse::<IpAddr>().map_err(|_| format!("--ip {text}: not an address"))?)
            }
            None => None,
        };
        for server in self.all("dns") {
            server.parse::<IpAddr>().map_err(|_| format!("--dns {server}: not an address"))?;
        }
        Ok(BridgeConfig {
            // A bridge of another name has a table of its own: engines do not share one.
            table: if name.is_empty() || name == "none" {
                String::new()
            } else {
                format!("ferry-{name}")
            },
            name,
            address: self.one("bip").map(bip).transpose()?,
            address6: self.one("bip6").map(bip6).transpose()?,
            fixed_cidr: self.range("fixed-cidr", false)?,
            fixed_cidr6: self.range("fixed-cidr-v6", true)?,
            gateway: self.gateway("default-gateway", false)?,
            gateway6: self.gateway("default-gateway-v6", true)?,
            icc: self.one("icc") != Some("false"),
            ipv6: self.one("ipv6") == Some("true"),
            respect_firewall: self.respects_firewall(super::own_file::read()?.firewall)?,
            mtu,
            dns: self.all("dns").to_vec(),
            dns_search: self.all("dns-search").to_vec(),
            dns_options: self.all("dns-opt").to_vec(),
            publish_address,
            pools: self
                .all("default-address-pool")
                .iter()
                .map(|text| pool(text))
                .collect::<Result<_, _>>()?,
            network_options: self
                .all("default-network-opt")
                .iter()
                .map(|text| network_option(text))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn split(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (name.to_owned(), value.to_owned())
}

/// `base=10.0.0.0/8,size=24`.
fn pool(text: &str) -> Result<ferry_engine::Pool, String> {
    let wrong = |why: &str| format!("--default-address-pool {text}: {why}");
    let (mut base, mut size) = (None, None);
    for field in text.split(',') {
        match field.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
            Some(("base", value)) => base = ferry_engine::parse_subnet(value),
            Some(("size", value)) => size = value.parse::<u8>().ok(),
            _ => return Err(wrong("expected base=10.0.0.0/8,size=24")),
        }
    }
    let base = base.ok_or_else(|| wrong("base is not a network such as 10.0.0.0/8"))?;
    let longest = if base.0.is_ipv4() { 30 } else { 126 };
    let size = size
        .filter(|size| (base.1.max(1)..=longest).contains(size))
        .ok_or_else(|| wrong("size is not the prefix length of a network in base"))?;
    Ok(ferry_engine::Pool { base: ferry_engine::network_of(base), size })
}

/// `bridge=com.docker.network.driver.mtu=1400`.
fn network_option(text: &str) -> Result<(String, String, String), String> {
    let parts: Vec<&str> = text.splitn(3, '=').collect();
    match parts[..] {
        [driver @ ("bridge" | "macvlan" | "ipvlan"), key, value] if !key.is_empty() => {
            Ok((driver.to_owned(), key.to_owned(), value.to_owned()))
        }
        [other, _, _] if !other.is_empty() => {
            Err(format!("--default-network-opt {text}: there is no network driver \"{other}\""))
        }
        _ => Err(format!(
            "--default-network-opt {text}: expected DRIVER=OPTION=VALUE, such as bridge=com.docker.network.driver.mtu=1400"
        )),
    }
}

fn bip(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let wrong = || {
        format!(
            "--bip {text}: expected an address of the bridge with its prefix, such as 172.29.0.1/16"
        )
    };
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 =
        prefix.parse().ok().filter(|prefix| (8..=30).contains(prefix)).ok_or_else(wrong)?;
    let host_bits = u32::from(address) & (u32::MAX >> prefix);
    if host_bits == 0 || host_bits == u32::MAX >> prefix {
        return Err(format!("--bip {text}: that is the network itself, not an address in it"));
    }
    Ok((address, prefix))
}

fn bip6(text: &str) -> Result<(std::net::Ipv6Addr, u8), String> {
    let wrong = || {
        format!(
            "--bip6 {text}: expected an address of the bridge with its prefix, such as fd00::1/64"
        )
    };
    let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
    let address: std::net::Ipv6Addr = address.parse().map_err(|_| wrong())?;
    let prefix: u8 =
        prefix.parse().ok().filter(|prefix| (8..=126).contains(prefix)).ok_or_else(wrong)?;
    if u128::from(address) & (u128::MAX >> prefix) == 0 {
        return Err(format!("--bip6 {text}: that is the network itself, not an address in it"));
    }
    Ok((address, prefix))
}

/// `nofile=1024:2048`.
fn ulimit(text: &str) -> Result<Ulimit, String> {
    let wrong = || format!("invalid ulimit argument: {text}");
    let (name, limits) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1);
    let (soft, hard) = (number(soft).ok_or_else(wrong)?, number(hard).ok_or_else(wrong)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        ));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// The path, or the nearest directory above it that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_address_is_an_address_in_its_network() {
        assert_eq!(bip("172.29.0.1/16"), Ok((Ipv4Addr::new(172, 29, 0, 1), 16)));
        for wrong in ["172.29.0.0/16", "172.29.255.255/16", "172.29.0.1", "172.29.0.1/31", "x/16"] {
            assert!(bip(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn directories_are_absolute() {
        let told = |name, value: &str| Settings(BTreeMap::from([(name, vec![value.to_owned()])]));
        let here = std::env::current_dir().unwrap();
        assert_eq!(told("exec-root", "run/ferry").exec_root(), here.join("run/ferry"));
        assert_eq!(told("exec-root", "/run/x").exec_root(), PathBuf::from("/run/x"));
        let config = told("data-root", "here").engine_config().unwrap();
        assert_eq!((config.data_root, config.exec_root), (here.join("here"), EXEC_ROOT.into()));
    }

    #[test]
    fn ulimits_read_as_dockers() {
        let limit = ulimit("nofile=1024:2048").unwrap();
        assert_eq!((limit.name.as_str(), limit.soft, limit.hard), ("nofile", 1024, 2048));
        assert_eq!(ulimit("core=-1").unwrap().hard, -1);
        for wrong in ["nofile", "nofile=x", "nofile=2:1", "nofile=-1:5", "nofile=-2"] {
            assert!(ulimit(wrong).is_err(), "{wrong}");
        }
    }
}

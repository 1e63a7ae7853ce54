//! The engine itself and its machine.

use std::fs;

use ferry_container::UNCONFINED;
use ferry_errkind::Failure;
use ferry_model::{
    container::Phase,
    event::Event,
    system::{LimitSupport, Proxies, SystemInfo},
};
use ferry_stdx::time::Timestamp;
use tokio::sync::broadcast;

use crate::{AuthOutcome, Engine, RegistryAuth, Shared};

/// Everything that `info` shows.
///
/// # Errors
/// None today; the machine's files that cannot be read show as empty.
pub async fn info(engine: &Engine) -> Result<SystemInfo, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || Ok(gather(&shared))).await
}

/// The remembered events not before `since`, and everything after them.
pub fn events(
    engine: &Engine,
    since: Option<Timestamp>,
) -> (Vec<Event>, broadcast::Receiver<Event>) {
    engine.shared.events.subscribe(since)
}

/// How many events there were.
pub fn event_counts(engine: &Engine) -> crate::EventCounts {
    engine.shared.events.counts()
}

/// Asks a registry whether it knows somebody.
///
/// # Errors
/// It does not, or it cannot be reached: in Docker's words.
pub async fn auth(engine: &Engine, auth: RegistryAuth) -> Result<AuthOutcome, Failure> {
    Ok(engine.shared.live().registries.check_auth(&auth).await?)
}

fn gather(shared: &Shared) -> SystemInfo {
    let config = &shared.config;
    let live = shared.live();
    let uname = rustix::system::uname();
    let release = os_release();
    let unified = shared.hierarchy.is_v2();
    let mut runtimes = vec![("ferry".to_owned(), config.executable.to_string_lossy().into_owned())];
    runtimes.extend(
        live.runtimes
            .iter()
            .map(|(name, runtime)| (name.clone(), runtime.path.to_string_lossy().into_owned())),
    );
    let mut security_options = Vec::new();
    if shared.apparmor.default_profile().is_some_and(|profile| profile != UNCONFINED) {
        security_options.push("name=apparmor".to_owned());
    }
    security_options.push("name=seccomp,profile=builtin".to_owned());
    if shared.selinux.is_enabled() {
        security_options.push("name=selinux".to_owned());
    }
    if config.userns_remap.is_some() {
        security_options.push("name=userns".to_owned());
    }
    if unified {
        security_options.push("name=cgroupns".to_owned());
    }
    SystemInfo {
        id: shared.id.clone(),
        containers: count(shared),
        images: shared.images.list().len() as u64,
        data_root: config.data_root.to_string_lossy().into_owned(),
        driver: "overlay2".to_owned(),
        backing_fs: backing_fs(&config.data_root),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        operating_system: release("PRETTY_NAME"),
        os_version: release("VERSION_ID"),
        architecture: uname.machine().to_string_lossy().into_owned(),
        cpus: shared.cpus as u64,
        memory: memory_total(),
        name: shared.host_name(),
        cgroup_version: if unified { "2" } else { "1" }.to_owned(),
        cgroup_driver: config.cgroup_driver.as_str().to_owned(),
        insecure_registries: live.sources.insecure.clone(),
        mirrors: live.sources.mirrors.get("docker.io").cloned().unwrap_or_default(),
        security_options,
        runtimes,
        default_runtime: match live.default_runtime.as_str() {
            "" => "ferry".to_owned(),
            other => other.to_owned(),
        },
        log_driver: config.log.driver.clone(),
        warnings: shared.warnings(),
        debug: live.debug,
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64),
        event_listeners: shared.events.listeners() as u64,
        limits: limits(shared),
        labels: live.labels.clone(),
        cdi_spec_dirs: config
            .cdi_spec_dirs
            .iter()
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect(),
        cdi_devices: crate::cdi::registry(shared).names(),
        address_pools: config
            .bridge
            .pools
            .iter()
            .map(|&ferry_network::Pool { base: (address, length), size }| {
                (format!("{address}/{length}"), size)
            })
            .collect(),
        proxies: Proxies {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            none: variable("NO_PROXY"),
        },
        ipv4_forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward")
            .is_ok_and(|text| text.trim() == "1"),
    }
}

/// A variable of the daemon's environment, in capitals or small letters.
fn variable(name: &str) -> String {
    let either = std::env::var(name).or_else(|_| std::env::var(name.to_lowercase()));
    either.unwrap_or_default()
}

fn proxy(name: &str) -> String {
    without_password(&variable(name))
}

/// An address without the user and the password in it, also one without a scheme.
fn without_password(address: &str) -> String {
    let begin = address.find("://").map_or(0, |scheme| scheme + 3);
    let (scheme, rest) = address.split_at(begin);
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    match authority.rfind('@') {
        Some(at) => format!("{scheme}xxxxx:xxxxx{}{path}", &authority[at..]),
        None => address.to_owned(),
    }
}

fn count(shared: &Shared) -> [u64; 4] {
    let mut counts = [0; 4];
    for handle in shared.containers.all().iter().filter(|handle| !handle.is_of_pod()) {
        counts[0] += 1;
        counts[match handle.container().state.phase {
            Phase::Running | Phase::Restarting => 1,
            Phase::Paused => 2,
            Phase::Created | Phase::Removing | Phase::Exited | Phase::Dead => 3,
        }] += 1;
    }
    counts
}

fn limits(shared: &Shared) -> LimitSupport {
    let controllers = shared.hierarchy.controllers();
    let has = |name: &str| controllers.contains(&name);
    let v1 = !shared.hierarchy.is_v2();
    LimitSupport {
        memory: has("memory"),
        swap: has("memory"),
        cpu_period: has("cpu"),
        cpu_quota: has("cpu"),
        cpu_shares: has("cpu"),
        cpuset: has("cpuset"),
        pids: has("pids"),
        oom_kill_disable: v1 && has("memory"),
    }
}

fn os_release() -> impl Fn(&str) -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    move |key: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.trim_matches('"').to_owned())
            .unwrap_or_default()
    }
}

fn memory_total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0_u64) * 1024
}

fn backing_fs(path: &std::path::Path) -> String {
    // statfs(2) magic numbers.
    match rustix::fs::statfs(path).map(|stat| stat.f_type as u32) {
        Ok(0xef53) => "extfs",
        Ok(0x5846_5342) => "xfs",
        Ok(0x9123_683e) => "btrfs",
        Ok(0x0102_1994) => "tmpfs",
        Ok(0x794c_7630) => "overlayfs",
        Ok(0x2fc1_2fc1) => "zfs",
        _ => "<unknown>",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_shown_without_their_password() {
        for (address, shown) in [
            ("http://ann:secret@proxy.test:3128/", "http://xxxxx:xxxxx@proxy.test:3128/"),
            ("ann:secret@proxy.test:3128", "xxxxx:xxxxx@proxy.test:3128"),
            ("http://ann:se@cret@proxy.test", "http://xxxxx:xxxxx@proxy.test"),
            ("http://proxy.test/a@b", "http://proxy.test/a@b"),
            ("proxy.test:3128", "proxy.test:3128"),
            ("", ""),
        ] {
            assert_eq!(without_password(address), shown);
        }
    }
}

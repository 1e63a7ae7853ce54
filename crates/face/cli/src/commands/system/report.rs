//! `docker info` as people read it.

use std::fmt::Write;

use ferry_docker_api::SystemInfo;
use ferry_stdx::size::format_binary;

/// Everything about the daemon. `user` is who we are at Docker Hub; `debug` shows more, as does a daemon in debug mode.
pub(super) fn of(info: &SystemInfo, user: &str, debug: bool) -> String {
    let mut text = String::new();
    engine(&mut text, info);
    security(&mut text, info);
    machine(&mut text, info);
    if info.debug || debug {
        line(&mut text, 2, "File Descriptors", &info.n_fd.to_string());
        line(&mut text, 2, "Goroutines", &info.n_goroutines.to_string());
        line(&mut text, 2, "System Time", &info.system_time);
        line(&mut text, 2, "EventsListeners", &info.n_events_listener.to_string());
    }
    settings(&mut text, info, user);
    registries(&mut text, info);
    line(&mut text, 1, "Live Restore Enabled", &info.live_restore_enabled.to_string());
    filled(&mut text, 1, "Product License", &info.product_license);
    if !info.default_address_pools.is_empty() {
        text.push_str(" Default Address Pools:\n");
    }
    for pool in &info.default_address_pools {
        let _ = writeln!(text, "   Base: {}, Size: {}", pool.base, pool.size);
    }
    text.push('\n');
    text
}

fn line(text: &mut String, indent: usize, name: &str, value: &str) {
    let _ = writeln!(text, "{:indent$}{name}: {value}", "");
}

/// A line, unless it would say nothing.
fn filled(text: &mut String, indent: usize, name: &str, value: &str) {
    if !value.is_empty() {
        line(text, indent, name, value);
    }
}

fn engine(text: &mut String, info: &SystemInfo) {
    line(text, 1, "Containers", &info.containers.to_string());
    line(text, 2, "Running", &info.containers_running.to_string());
    line(text, 2, "Paused", &info.containers_paused.to_string());
    line(text, 2, "Stopped", &info.containers_stopped.to_string());
    line(text, 1, "Images", &info.images.to_string());
    filled(text, 1, "Server Version", &info.server_version);
    filled(text, 1, "Storage Driver", &info.driver);
    for [name, value] in info.driver_status.iter().flatten() {
        line(text, 2, name, value);
    }
    for [name, value] in &info.system_status {
        line(text, 1, name, value);
    }
    filled(text, 1, "Logging Driver", &info.logging_driver);
    filled(text, 1, "Cgroup Driver", &info.cgroup_driver);
    filled(text, 1, "Cgroup Version", &info.cgroup_version);
    let list = |items: &Option<Vec<String>>| items.as_deref().unwrap_or_default().join(" ");
    text.push_str(" Plugins:\n");
    line(text, 2, "Volume", &list(&info.plugins.volume));
    line(text, 2, "Network", &list(&info.plugins.network));
    filled(text, 2, "Authorization", &list(&info.plugins.authorization));
    line(text, 2, "Log", &list(&info.plugins.log));
    let directories = info.cdi_spec_dirs.as_deref().unwrap_or_default();
    if !directories.is_empty() {
        let _ = writeln!(text, " CDI spec directories:\n  {}", directories.join("\n  "));
    }
    if !info.discovered_devices.is_empty() {
        text.push_str(" Discovered Devices:\n");
    }
    for device in &info.discovered_devices {
        line(text, 2, &device.source, &device.id);
    }
    line(text, 1, "Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> =
        info.runtimes.iter().flatten().map(|(name, _)| name.as_str()).collect();
    if !runtimes.is_empty() {
        line(text, 1, "Runtimes", &runtimes.join(" "));
        line(text, 1, "Default Runtime", &info.default_runtime);
    }
}

fn security(text: &mut String, info: &SystemInfo) {
    if info.os_type != "linux" {
        return;
    }
    line(text, 1, "Init Binary", &info.init_binary);
    line(text, 1, "containerd version", &info.containerd_commit.id);
    line(text, 1, "runc version", &info.runc_commit.id);
    line(text, 1, "init version", &info.init_commit.id);
    let options = info.security_options.as_deref().unwrap_or_default();
    if options.is_empty() {
        return;
    }
    text.push_str(" Security Options:\n");
    // `name=seccomp,profile=builtin`: the name, and below it the profile.
    for option in options {
        let of = |key: &str| {
            let parts = option.split(',').filter_map(|part| part.split_once('='));
            parts.filter(|(name, _)| *name == key).map(|(_, value)| value).collect::<Vec<_>>()
        };
        let _ = writeln!(text, "  {}", of("name").first().unwrap_or(&option.as_str()));
        for profile in of("profile") {
            let _ = writeln!(text, "   Profile: {profile}");
        }
    }
}

fn machine(text: &mut String, info: &SystemInfo) {
    filled(text, 1, "Kernel Version", &info.kernel_version);
    filled(text, 1, "Operating System", &info.operating_system);
    filled(text, 1, "OSType", &info.os_type);
    filled(text, 1, "Architecture", &info.architecture);
    line(text, 1, "CPUs", &info.n_cpu.to_string());
    line(text, 1, "Total Memory", &format_binary(u64::try_from(info.mem_total).unwrap_or(0)));
    filled(text, 1, "Name", &info.name);
    filled(text, 1, "ID", &info.id);
    line(text, 1, "Docker Root Dir", &info.docker_root_dir);
    line(text, 1, "Debug Mode", &info.debug.to_string());
}

fn settings(text: &mut String, info: &SystemInfo, user: &str) {
    filled(text, 1, "HTTP Proxy", &info.http_proxy);
    filled(text, 1, "HTTPS Proxy", &info.https_proxy);
    filled(text, 1, "No Proxy", &info.no_proxy);
    filled(text, 1, "Username", user);
    let labels = info.labels.as_deref().unwrap_or_default();
    if !labels.is_empty() {
        let _ = writeln!(text, " Labels:\n  {}", labels.join("\n  "));
    }
    line(text, 1, "Experimental", &info.experimental_build.to_string());
}

fn registries(text: &mut String, info: &SystemInfo) {
    let Some(registries) = &info.registry_config else { return };
    let named = registries.index_configs.iter().flatten();
    let insecure = named.clone().filter(|(_, index)| !index.secure).map(|(name, _)| name);
    let networks = registries.insecure_registry_cidrs.iter().flatten();
    if named.count() > 0 || networks.clone().count() > 0 {
        text.push_str(" Insecure Registries:\n");
        for registry in insecure.chain(networks) {
            let _ = writeln!(text, "  {registry}");
        }
    }
    let mirrors = registries.mirrors.as_deref().unwrap_or_default();
    if !mirrors.is_empty() {
        let _ = writeln!(text, " Registry Mirrors:\n  {}", mirrors.join("\n  "));
    }
}

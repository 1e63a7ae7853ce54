//! The request to create a container, from flags.

use std::collections::BTreeMap;

use ferry_docker_api::{
    ContainerConfig, ContainerCreateRequest, DeviceRequest, HostConfig, LogConfig,
    NetworkingConfig, Resources, StrSlice,
};

use super::{
    devices::{self, devices},
    files::{key_values, lookup_env},
    health::{healthcheck, on_failure},
    mounts, networks,
    networks::Networks,
    ports::{self, Ports},
    security::{self, Security},
    values,
    volumes::{self, Volumes},
};
use crate::framework::{Cli, CliError, Matches, nano};

/// Reads the flags of `run` or `create`; what is wrong with them, in docker's words.
pub(crate) fn request(cli: &Cli, matches: &Matches) -> Result<ContainerCreateRequest, CliError> {
    let mac = matches.text("mac-address");
    if !mac.is_empty() && !values::is_mac(mac.trim()) {
        return Err(CliError::new(format!("{mac} is not a valid mac address")));
    }
    let volumes = volumes::parse(matches.texts("volume")).map_err(CliError::new)?;
    let ports =
        ports::parse(matches.texts("publish"), matches.texts("expose")).map_err(CliError::new)?;
    let networks = networks::networks(matches).map_err(CliError::new)?;
    let Volumes { binds, anonymous } = volumes;
    let Ports { exposed, published } = ports;
    let Networks { mode, endpoints } = networks;
    let mut config = config(cli, matches)?;
    config.exposed_ports = exposed;
    config.volumes = Some(anonymous);
    let mut host = host_config(matches)?;
    host.binds = (!binds.is_empty()).then_some(binds);
    host.port_bindings = Some(published);
    host.network_mode = mode;
    if host.auto_remove && !matches!(host.restart_policy.name.as_str(), "" | "no") {
        return Err(CliError::new("conflicting options: cannot specify both --restart and --rm"));
    }
    Ok(ContainerCreateRequest {
        config,
        host_config: Some(host),
        networking_config: Some(NetworkingConfig { endpoints_config: Some(endpoints) }),
    })
}

fn config(cli: &Cli, matches: &Matches) -> Result<ContainerConfig, CliError> {
    let attached =
        |stream: &str| matches.texts("attach").iter().any(|name| name.eq_ignore_ascii_case(stream));
    let all = !matches.is_set("attach");
    let stdin = matches.flag("interactive");
    let attach_stdin = stdin || attached("stdin");
    let entrypoint =
        matches.is_set("entrypoint").then(|| vec![matches.text("entrypoint").to_owned()]);
    let command: Vec<String> = matches.args().iter().skip(1).cloned().collect();
    Ok(ContainerConfig {
        hostname: matches.text("hostname").to_owned(),
        domainname: matches.text("domainname").to_owned(),
        user: matches.text("user").to_owned(),
        attach_stdin,
        attach_stdout: all || attached("stdout"),
        attach_stderr: all || attached("stderr"),
        tty: matches.flag("tty"),
        open_stdin: stdin,
        stdin_once: stdin && attach_stdin,
        env: Some(environment(cli, matches)?),
        cmd: StrSlice((!command.is_empty()).then_some(command)),
        healthcheck: healthcheck(matches).map_err(CliError::new)?,
        image: matches.arg(0).to_owned(),
        working_dir: matches.text("workdir").to_owned(),
        entrypoint: StrSlice(entrypoint),
        labels: Some(labels(matches)?),
        stop_signal: matches.text("stop-signal").to_owned(),
        stop_timeout: matches.is_set("stop-timeout").then(|| matches.int("stop-timeout")),
        ..Default::default()
    })
}

fn labels(matches: &Matches) -> Result<BTreeMap<String, String>, CliError> {
    let given = key_values(matches.texts("label-file"), matches.texts("label"), None)?;
    let mut labels = to_map(&given);
    labels.extend(on_failure(matches).map_err(CliError::new)?);
    Ok(labels)
}

/// Files, then flags; proxies from the configuration come where nobody says otherwise.
fn environment(cli: &Cli, matches: &Matches) -> Result<Vec<String>, CliError> {
    let mut variables =
        key_values(matches.texts("env-file"), matches.texts("env"), Some(lookup_env))?;
    let host = cli.client()?.endpoint().to_string();
    for (name, value) in cli.config().proxies(&host) {
        let known = |variable: &String| variable.split('=').next() == Some(name.as_str());
        if !matches.texts("env").iter().any(known) {
            variables.push(format!("{name}={value}"));
        }
    }
    Ok(variables)
}

fn host_config(matches: &Matches) -> Result<HostConfig, CliError> {
    let text = |flag: &str| matches.text(flag).to_owned();
    let list = |flag: &str| matches.texts(flag).to_vec();
    let some = |flag: &str| matches.is_set(flag).then(|| matches.texts(flag).to_vec());
    let security = security::parse(matches.texts("security-opt")).map_err(CliError::new)?;
    let Security { options, unconfined_paths } = security;
    let extra_hosts: Vec<String> = matches
        .texts("add-host")
        .iter()
        .map(|host| values::extra_host(host))
        .collect::<Result<_, _>>()
        .map_err(CliError::new)?;
    let mounts: Vec<_> = matches
        .texts("mount")
        .iter()
        .map(|mount| mounts::parse(mount))
        .collect::<Result<_, _>>()
        .map_err(CliError::new)?;
    Ok(HostConfig {
        container_id_file: text("cidfile"),
        log_config: log_config(matches)?,
        restart_policy: values::restart_policy(matches.text("restart")).map_err(CliError::new)?,
        auto_remove: matches.flag("rm"),
        volume_driver: text("volume-driver"),
        volumes_from: some("volumes-from"),
        annotations: to_map(matches.texts("annotation")),
        cap_add: StrSlice(capabilities(matches.texts("cap-add"))),
        cap_drop: StrSlice(capabilities(matches.texts("cap-drop"))),
        cgroupns_mode: mode(matches, "cgroupns", "CGROUP", &["", "private", "host"])?,
        dns: Some(list("dns").iter().map(|ip| ip.trim().to_owned()).collect()),
        dns_options: Some(list("dns-option")),
        dns_search: Some(list("dns-search")),
        extra_hosts: (!extra_hosts.is_empty()).then_some(extra_hosts),
        group_add: some("group-add"),
        ipc_mode: text("ipc"),
        links: some("link"),
        oom_score_adj: matches.int("oom-score-adj"),
        pid_mode: pid_mode(matches)?,
        privileged: matches.flag("privileged"),
        publish_all_ports: matches.flag("publish-all"),
        readonly_rootfs: matches.flag("read-only"),
        security_opt: (!options.is_empty()).then_some(options),
        storage_opt: storage_options(matches)?,
        tmpfs: volumes::tmpfs(matches.texts("tmpfs")),
        uts_mode: mode(matches, "uts", "UTS", &["", "host"])?,
        userns_mode: mode(matches, "userns", "USER", &["", "host", "auto"])?,
        shm_size: matches.bytes("shm-size"),
        sysctls: to_map(matches.texts("sysctl")),
        runtime: text("runtime"),
        isolation: text("isolation"),
        resources: resources(matches)?,
        mounts,
        masked_paths: unconfined_paths.then(Vec::new),
        readonly_paths: unconfined_paths.then(Vec::new),
        init: matches.is_set("init").then(|| matches.flag("init")),
        ..Default::default()
    })
}

fn resources(matches: &Matches) -> Result<Resources, CliError> {
    let swappiness = matches.int("memory-swappiness");
    if swappiness != -1 && !(0..=100).contains(&swappiness) {
        return Err(CliError::new(format!(
            "invalid value: {swappiness}. Valid memory swappiness range is 0-100"
        )));
    }
    let (devices, cdi) = devices(matches.texts("device")).map_err(CliError::new)?;
    let mut requests = each(matches, "gpus", devices::gpus)?;
    if !cdi.is_empty() {
        requests.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(cdi),
            ..Default::default()
        });
    }
    let cpus = matches.text("cpus");
    Ok(Resources {
        cpu_shares: matches.int("cpu-shares"),
        memory: matches.bytes("memory"),
        nano_cpus: if cpus.is_empty() { 0 } else { nano(cpus).map_err(CliError::new)? },
        cgroup_parent: matches.text("cgroup-parent").to_owned(),
        blkio_weight: u16::try_from(matches.int("blkio-weight")).unwrap_or_default(),
        blkio_weight_device: Some(each(matches, "blkio-weight-device", devices::weight)?),
        blkio_device_read_bps: Some(each(matches, "device-read-bps", devices::bytes_rate)?),
        blkio_device_write_bps: Some(each(matches, "device-write-bps", devices::bytes_rate)?),
        blkio_device_read_iops: Some(each(matches, "device-read-iops", devices::operations_rate)?),
        blkio_device_write_iops: Some(each(
            matches,
            "device-write-iops",
            devices::operations_rate,
        )?),
        cpu_period: matches.int("cpu-period"),
        cpu_quota: matches.int("cpu-quota"),
        cpu_realtime_period: matches.int("cpu-rt-period"),
        cpu_realtime_runtime: matches.int("cpu-rt-runtime"),
        cpuset_cpus: matches.text("cpuset-cpus").to_owned(),
        cpuset_mems: matches.text("cpuset-mems").to_owned(),
        devices: Some(devices),
        device_cgroup_rules: matches
            .is_set("device-cgroup-rule")
            .then(|| matches.texts("device-cgroup-rule").to_vec()),
        device_requests: (!requests.is_empty()).then_some(requests),
        kernel_memory: matches.bytes("kernel-memory"),
        memory_reservation: matches.bytes("memory-reservation"),
        memory_swap: matches.bytes("memory-swap"),
        memory_swappiness: Some(swappiness),
        oom_kill_disable: Some(matches.flag("oom-kill-disable")),
        pids_limit: Some(matches.int("pids-limit")),
        ulimits: Some(values::ulimits(matches.texts("ulimit")).map_err(CliError::new)?),
        cpu_count: matches.int("cpu-count"),
        cpu_percent: matches.int("cpu-percent"),
        io_maximum_iops: u64::try_from(matches.int("io-maxiops")).unwrap_or_default(),
        io_maximum_bandwidth: u64::try_from(matches.bytes("io-maxbandwidth")).unwrap_or_default(),
        ..Default::default()
    })
}

/// Capabilities as the kernel names them, sorted, each once.
fn capabilities(given: &[String]) -> Option<Vec<String>> {
    let normal = |name: &String| {
        let name = name.trim().to_uppercase();
        if name == "ALL" || name.starts_with("CAP_") { name } else { format!("CAP_{name}") }
    };
    let mut names: Vec<String> = given.iter().map(normal).collect();
    names.sort();
    names.dedup();
    (!names.is_empty()).then_some(names)
}

/// Every value of a flag, read.
fn each<T>(
    matches: &Matches,
    flag: &str,
    read: fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, CliError> {
    matches
        .texts(flag)
        .iter()
        .map(|text| read(text))
        .collect::<Result<_, _>>()
        .map_err(CliError::new)
}

fn mode(matches: &Matches, flag: &str, name: &str, known: &[&str]) -> Result<String, CliError> {
    let mode = matches.text(flag);
    if known.contains(&mode) {
        return Ok(mode.to_owned());
    }
    Err(CliError::new(format!("--{flag}: invalid {name} mode")))
}

fn pid_mode(matches: &Matches) -> Result<String, CliError> {
    let pid = matches.text("pid");
    let container = pid.strip_prefix("container:").is_some_and(|name| !name.is_empty());
    if container { Ok(pid.to_owned()) } else { mode(matches, "pid", "PID", &["", "host"]) }
}

fn log_config(matches: &Matches) -> Result<LogConfig, CliError> {
    let (driver, options) = (matches.text("log-driver"), matches.texts("log-opt"));
    if driver == "none" && !options.is_empty() {
        return Err(CliError::new(format!("invalid logging opts for driver {driver}")));
    }
    Ok(LogConfig { kind: driver.to_owned(), config: Some(to_map(options)) })
}

fn storage_options(matches: &Matches) -> Result<BTreeMap<String, String>, CliError> {
    let options = matches.texts("storage-opt");
    if options.iter().any(|option| !option.contains('=')) {
        return Err(CliError::new("invalid storage option"));
    }
    Ok(to_map(options))
}

/// `key=value` by key; a key alone has an empty value.
fn to_map(pairs: &[String]) -> BTreeMap<String, String> {
    let split = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), value.to_owned())
    };
    pairs.iter().map(split).collect()
}

//! Settings that Docker refuses or corrects when a container is made.

use ferry_container::{CpusetKind, Namespace, SpecInputs, UserNamespaceConflict, check_cpuset};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{
    Container, ContainerSpec, ON_FAILURE_LABEL, Resources, RestartPolicy,
};

use crate::Shared;

/// Docker's least memory limit.
const MIN_MEMORY: i64 = 6 << 20;

/// Checks limits and combinations. Returns warnings.
///
/// # Errors
/// The first setting that Docker refuses, in its words.
pub(crate) fn settings(shared: &Shared, spec: &mut ContainerSpec) -> Result<Vec<String>, Failure> {
    let invalid = |words: String| Err(Failure::new(ErrorKind::InvalidArgument, words));
    if let Err(word) = ferry_container::health_action(spec) {
        return invalid(format!(
            "invalid value \"{word}\" of label {ON_FAILURE_LABEL}: use none, restart, stop or kill"
        ));
    }
    let host = &spec.host;
    if host.auto_remove && host.restart_policy != RestartPolicy::Never {
        return invalid("can't create 'AutoRemove' container with restart policy".to_owned());
    }
    limits(shared, &host.resources, Moment::Create)?;
    if crate::userns::is_wanted(shared, spec) {
        check_user_namespace(spec)?;
    }
    if host.shm_size < 0 {
        return invalid("SHM size can not be less than 0".to_owned());
    }
    if !(-1000..=1000).contains(&host.oom_score_adj) {
        return invalid(format!(
            "Invalid value {}, range for oom score adj is [-1000, 1000]",
            host.oom_score_adj
        ));
    }
    shared.config.check_cgroup_parent(&host.cgroup_parent)?;
    if let Some(text) = host.dns.iter().find(|text| text.parse::<std::net::IpAddr>().is_err()) {
        return invalid(format!(
            "bad nameserver address {text}: ParseAddr(\"{text}\"): unable to parse IP"
        ));
    }
    if let Some(signal) = &spec.stop_signal {
        crate::signal::parse(signal)?;
    }
    if spec.pod.as_ref().is_some_and(|part| !part.unified.is_empty()) && !shared.hierarchy.is_v2() {
        return Err(no_unified());
    }
    unsupported(shared, spec)?;
    warnings_and_corrections(spec)
}

/// Version 1 has no files for such limits.
pub(crate) fn no_unified() -> Failure {
    let words = "limits by names of files (unified) need cgroup v2";
    Failure::new(ErrorKind::InvalidArgument, words)
}

/// Docker refuses privileged containers in a user namespace. Kubernetes does not: they are privileged over what their
/// namespaces own.
fn check_user_namespace(spec: &ContainerSpec) -> Result<(), Failure> {
    match ferry_container::check_user_namespace(&spec.host) {
        Err(UserNamespaceConflict::Privileged) if spec.pod.is_some() => Ok(()),
        other => Ok(other?),
    }
}

/// When limits are given: a new memory limit may rely on an earlier word about swap, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    Create,
    Update,
}

/// Checks limits alone.
///
/// # Errors
/// The first limit that Docker refuses, in its words.
pub(crate) fn limits(
    shared: &Shared,
    resources: &Resources,
    moment: Moment,
) -> Result<(), Failure> {
    let invalid = |words: String| Err(Failure::new(ErrorKind::InvalidArgument, words));
    if (1..MIN_MEMORY).contains(&resources.memory) || resources.memory < 0 {
        return invalid("Minimum memory limit allowed is 6MB".to_owned());
    }
    if resources.memory > 0 && resources.memory_swap > 0 && resources.memory_swap < resources.memory
    {
        return invalid(
            "Minimum memoryswap limit should be larger than memory limit, see usage".to_owned(),
        );
    }
    if resources.memory == 0 && resources.memory_swap > 0 && moment == Moment::Create {
        return invalid(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
                .to_owned(),
        );
    }
    if resources.memory > 0 && resources.memory_reservation > resources.memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
                .to_owned(),
        );
    }
    if resources.memory_swappiness.is_some_and(|value| !(-1..=100).contains(&value)) {
        let value = resources.memory_swappiness.unwrap_or_default();
        return invalid(format!("Invalid value: {value}, valid memory swappiness range is 0-100"));
    }
    if resources.nano_cpus > 0 && (resources.cpu_quota > 0 || resources.cpu_period > 0) {
        let other = if resources.cpu_quota > 0 { "CPU Quota" } else { "CPU Period" };
        return invalid(format!("Conflicting options: Nano CPUs and {other} cannot both be set"));
    }
    let cpus = i64::try_from(shared.cpus).unwrap_or(i64::MAX);
    if resources.nano_cpus < 0 || resources.nano_cpus > cpus.saturating_mul(1_000_000_000) {
        return invalid(format!(
            "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        ));
    }
    if resources.cpu_quota > 0 && resources.cpu_quota < 1000 {
        return invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)".to_owned());
    }
    if resources.cpu_period != 0 && !(1000..=1_000_000).contains(&resources.cpu_period) {
        return invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
                .to_owned(),
        );
    }
    if resources.blkio_weight != 0 && !(10..=1000).contains(&resources.blkio_weight) {
        return invalid("Range of blkio weight is from 10 to 1000".to_owned());
    }
    cpuset(shared, resources)
}

fn cpuset(shared: &Shared, resources: &Resources) -> Result<(), Failure> {
    let (cpus, mems) = (&resources.cpuset_cpus, &resources.cpuset_mems);
    if cpus.is_empty() && mems.is_empty() {
        return Ok(());
    }
    let (all_cpus, all_mems) = shared.hierarchy.cpuset();
    check_cpuset(CpusetKind::Cpus, cpus, &all_cpus)
        .and_then(|()| check_cpuset(CpusetKind::Mems, mems, &all_mems))
        .map_err(|words| Failure::new(ErrorKind::InvalidArgument, words))
}

/// What this version does not do is refused by name, never ignored.
fn unsupported(shared: &Shared, spec: &ContainerSpec) -> Result<(), Failure> {
    let host = &spec.host;
    crate::quota::check(shared, &host.storage_opt)?;
    shared.apparmor.check(spec)?;
    shared.selinux.check(spec)?;
    if !matches!(host.volume_driver.as_str(), "" | "local") {
        let driver = &host.volume_driver;
        let words =
            format!("error looking up volume plugin {driver}: plugin \"{driver}\" not found");
        // dockerd's 404 makes clients fetch the image, as if that were missing.
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let known = host.runtime.is_empty()
        || matches!(host.runtime.as_str(), "ferry")
        || shared.live().runtimes.contains_key(&host.runtime);
    if !known {
        let words = format!("unknown or invalid runtime name: {}", host.runtime);
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let settings = shared.log_settings(&host.log);
    ferry_logs::check_settings(&settings.driver, &settings.options)?;
    Ok(())
}

fn warnings_and_corrections(spec: &mut ContainerSpec) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    let resources = &mut spec.host.resources;
    if resources.oom_kill_disable == Some(true) && resources.memory == 0 {
        warnings.push(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.".to_owned(),
        );
    }
    if resources.kernel_memory > 0 {
        resources.kernel_memory = 0;
        warnings.push(
            "Your kernel does not support kernel memory limit. Kernel memory limit discarded."
                .to_owned(),
        );
    }
    let publishes = !spec.host.port_bindings.is_empty() || spec.host.publish_all_ports;
    if spec.host.network_mode == ferry_model::container::NetworkMode::Host && publishes {
        warnings.push("Published ports are discarded when using host network mode".to_owned());
    }
    Ok(warnings)
}

/// Plans the OCI specification once, only to see whether it can be planned.
pub(crate) fn specification(shared: &Shared, container: &Container) -> Result<(), Failure> {
    let namespace = |host: bool| if host { Namespace::Host } else { Namespace::New };
    let host = &container.spec.host;
    let network = namespace(host.network_mode == ferry_model::container::NetworkMode::Host);
    let pid = namespace(host.pid_mode == ferry_model::container::PidMode::Host);
    let ipc = namespace(host.ipc_mode == Some(ferry_model::container::IpcMode::Host));
    let uts = namespace(host.uts_host);
    ferry_container::plan_spec(&SpecInputs {
        container,
        rootfs: "",
        unified_cgroup: shared.hierarchy.is_v2(),
        cgroup_path: "",
        etc_files: ["", "", ""],
        network: &network,
        pid: &pid,
        ipc: &ipc,
        uts: &uts,
        user: None,
        joined_shm: None,
        host_name: "",
        bounding: &|name| shared.may(name),
        arch: std::env::consts::ARCH,
        apparmor: shared.apparmor.default_profile(),
        kernel: shared.kernel,
        owner: &|_| None,
        device: &crate::devices::look_up,
        all_devices: &crate::devices::all,
    })?;
    Ok(())
}

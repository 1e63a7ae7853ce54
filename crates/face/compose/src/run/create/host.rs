//! What a service may use of the machine: its limits, devices and rights.

use ferry_docker_api::{
    DeviceMapping, HostConfig, LogConfig, Resources, RestartPolicy, StrSlice, ThrottleDevice,
    Ulimit, WeightDevice,
};

use super::{some, values};
use crate::model::{self, Service};

pub(super) fn host_config(service: &Service) -> HostConfig {
    HostConfig {
        log_config: service.logging.as_ref().map_or_else(LogConfig::default, |logging| LogConfig {
            kind: logging.driver.clone(),
            config: Some(logging.options.clone()),
        }),
        restart_policy: restart(service),
        auto_remove: service.auto_remove,
        annotations: values(&service.annotations),
        cap_add: StrSlice(some(&service.cap_add)),
        cap_drop: StrSlice(some(&service.cap_drop)),
        cgroupns_mode: service.cgroup.clone(),
        dns: some(&service.dns),
        dns_options: some(&service.dns_opt),
        dns_search: some(&service.dns_search),
        extra_hosts: Some(
            service.extra_hosts.iter().map(|host| host.replacen('=', ":", 1)).collect(),
        ),
        group_add: some(&service.group_add),
        oom_score_adj: service.oom_score_adj,
        privileged: service.privileged,
        readonly_rootfs: service.read_only,
        security_opt: some(&service.security_opt),
        storage_opt: service.storage_opt.clone(),
        tmpfs: service
            .tmpfs
            .iter()
            .map(|entry| {
                let (path, options) = entry.split_once(':').unwrap_or((entry, ""));
                (path.to_owned(), options.to_owned())
            })
            .collect(),
        uts_mode: service.uts.clone(),
        userns_mode: service.userns_mode.clone(),
        shm_size: service.shm_size.0,
        sysctls: values(&service.sysctls),
        runtime: service.runtime.clone(),
        isolation: service.isolation.clone(),
        resources: resources(service),
        init: service.init,
        ..HostConfig::default()
    }
}

/// What `deploy` says is stronger.
fn restart(service: &Service) -> RestartPolicy {
    let policy = |name: &str, count: i64| {
        let name = match name {
            "" | "none" | "no" => "no",
            "any" | "always" => "always",
            other => other,
        };
        let count = if name == "on-failure" { count } else { 0 };
        RestartPolicy { name: name.to_owned(), maximum_retry_count: count }
    };
    let deployed = service.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
    if let Some(deployed) = deployed {
        return policy(&deployed.condition, deployed.max_attempts.unwrap_or(0));
    }
    let (name, count) = service.restart.split_once(':').unwrap_or((&service.restart, "0"));
    policy(name, count.parse().unwrap_or(0))
}

/// Billionths of a processor, from a number that people write with two digits.
fn nano(cpus: f64) -> i64 {
    // Limits are far below 2^53 billionths.
    (cpus * 1e9).round() as i64
}

fn resources(service: &Service) -> Resources {
    let limits = service.limits().cloned().unwrap_or_default();
    let kept = service.reservations().cloned().unwrap_or_default();
    let or = |own: i64, deployed: i64| if own != 0 { own } else { deployed };
    let blkio = service.blkio_config.clone().unwrap_or_default();
    let rates = |list: &[model::Rate]| -> Option<Vec<ThrottleDevice>> {
        let one = |rate: &model::Rate| ThrottleDevice {
            path: rate.path.clone(),
            rate: rate.rate.0.unsigned_abs(),
        };
        (!list.is_empty()).then(|| list.iter().map(one).collect())
    };
    let weights: Vec<WeightDevice> = blkio
        .weight_device
        .iter()
        .map(|weight| WeightDevice { path: weight.path.clone(), weight: weight.weight })
        .collect();
    let requests: Vec<_> = service.gpus.iter().chain(&kept.devices).map(device_request).collect();
    Resources {
        cpu_shares: service.cpu_shares,
        memory: or(service.mem_limit.0, limits.memory.0),
        nano_cpus: or(nano(service.cpus), nano(limits.cpus)),
        cgroup_parent: service.cgroup_parent.clone(),
        blkio_weight: blkio.weight,
        blkio_weight_device: (!weights.is_empty()).then_some(weights),
        blkio_device_read_bps: rates(&blkio.device_read_bps),
        blkio_device_write_bps: rates(&blkio.device_write_bps),
        blkio_device_read_iops: rates(&blkio.device_read_iops),
        blkio_device_write_iops: rates(&blkio.device_write_iops),
        cpu_period: service.cpu_period,
        cpu_quota: service.cpu_quota,
        cpu_realtime_period: service.cpu_rt_period,
        cpu_realtime_runtime: service.cpu_rt_runtime,
        cpuset_cpus: service.cpuset.clone(),
        devices: devices(service),
        device_cgroup_rules: some(&service.device_cgroup_rules),
        device_requests: (!requests.is_empty()).then_some(requests),
        memory_reservation: or(service.mem_reservation.0, kept.memory.0),
        memory_swap: service.memswap_limit.0,
        memory_swappiness: service.mem_swappiness.map(|percent| percent.0),
        oom_kill_disable: Some(service.oom_kill_disable),
        pids_limit: service.pids_limit.or(limits.pids),
        ulimits: ulimits(service),
        ..Resources::default()
    }
}

fn devices(service: &Service) -> Option<Vec<DeviceMapping>> {
    let one = |device: &model::Device| DeviceMapping {
        path_on_host: device.source.clone(),
        path_in_container: if device.target.is_empty() { &device.source } else { &device.target }
            .clone(),
        cgroup_permissions: device.permissions.clone(),
    };
    (!service.devices.is_empty()).then(|| service.devices.iter().map(one).collect())
}

fn device_request(request: &model::DeviceRequest) -> ferry_docker_api::DeviceRequest {
    let count = match request.count {
        None if request.device_ids.is_empty() => -1,
        None => 0,
        Some(count) => count,
    };
    let capabilities = if request.capabilities.is_empty() {
        vec!["gpu".to_owned()]
    } else {
        request.capabilities.clone()
    };
    ferry_docker_api::DeviceRequest {
        driver: request.driver.clone(),
        count,
        device_ids: some(&request.device_ids),
        capabilities: Some(vec![capabilities]),
        options: Some(values(&request.options)),
    }
}

fn ulimits(service: &Service) -> Option<Vec<Ulimit>> {
    let one = |(name, limit): (&String, &model::Ulimit)| {
        let (soft, hard) = match limit {
            model::Ulimit::Single(both) => (*both, *both),
            model::Ulimit::Pair { soft, hard } => (*soft, *hard),
        };
        Ulimit { name: name.clone(), soft, hard }
    };
    (!service.ulimits.is_empty()).then(|| service.ulimits.iter().map(one).collect())
}

//! Limits, both ways.

use ferry_docker_api::{
    DeviceMapping as WireDevice, DeviceRequest as WireDeviceRequest, Resources as WireResources,
    ThrottleDevice, Ulimit as WireUlimit, WeightDevice,
};
use ferry_errkind::Failure;
use ferry_model::container::{DeviceMapping, DeviceRate, DeviceRequest, Resources, Ulimit};

use super::{container::Defaults, host_out::Empty, nil_if_empty};
use crate::refuse::invalid;

/// Docker's least memory limit: below it nothing starts.
const LEAST_MEMORY: i64 = 6 << 20;

/// Limits that `setrlimit` knows, as `--ulimit` names them.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads limits. `cgroup_parent` and `ulimits` go elsewhere.
pub(super) fn limits(
    wire: WireResources,
    warnings: &mut Vec<String>,
) -> Result<Resources, Failure> {
    check_least(&wire)?;
    check_windows(&wire, warnings)?;
    let WireResources {
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent: _,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices,
        device_cgroup_rules,
        device_requests,
        kernel_memory,
        kernel_memory_tcp,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        oom_kill_disable,
        pids_limit,
        ulimits: _,
        cpu_count: _,
        cpu_percent: _,
        io_maximum_iops: _,
        io_maximum_bandwidth: _,
    } = wire;
    Ok(Resources {
        memory,
        memory_reservation,
        // Without a word on swap, a container may use as much of it as of memory.
        memory_swap: if memory > 0 && memory_swap == 0 {
            memory.saturating_mul(2)
        } else {
            memory_swap
        },
        // -1 is what clients send for the kernel's default.
        memory_swappiness: memory_swappiness.filter(|swappiness| *swappiness != -1),
        kernel_memory,
        kernel_memory_tcp,
        oom_kill_disable,
        nano_cpus,
        cpu_shares,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        pids_limit: pids_limit.filter(|limit| *limit > 0),
        blkio_weight,
        blkio_weight_device: blkio_weight_device
            .unwrap_or_default()
            .into_iter()
            .map(weight_in)
            .collect(),
        blkio_device_read_bps: rates_in(blkio_device_read_bps),
        blkio_device_write_bps: rates_in(blkio_device_write_bps),
        blkio_device_read_iops: rates_in(blkio_device_read_iops),
        blkio_device_write_iops: rates_in(blkio_device_write_iops),
        devices: devices.unwrap_or_default().into_iter().map(device_in).collect(),
        device_cgroup_rules: device_cgroup_rules.unwrap_or_default(),
        device_requests: device_requests
            .unwrap_or_default()
            .into_iter()
            .map(device_request_in)
            .collect(),
    })
}

/// What the engine does not check because only Docker's words make it an error. It checks the rest itself, for every face.
fn check_least(wire: &WireResources) -> Result<(), Failure> {
    let WireResources {
        memory_reservation,
        kernel_memory,
        cpu_shares,
        cpu_realtime_period,
        cpu_realtime_runtime,
        ..
    } = *wire;
    let words = if memory_reservation > 0 && memory_reservation < LEAST_MEMORY {
        "Minimum memory reservation allowed is 6MB".to_owned()
    } else if kernel_memory > 0 && kernel_memory < LEAST_MEMORY {
        "Minimum kernel memory limit allowed is 6MB".to_owned()
    } else if cpu_shares < 0 {
        format!("invalid CPU shares ({cpu_shares}): value must be a positive integer")
    } else if cpu_realtime_period != 0 && cpu_realtime_runtime > cpu_realtime_period {
        "cpu real-time runtime cannot be higher than cpu real-time period".to_owned()
    } else {
        return Ok(());
    };
    Err(invalid(words))
}

/// Limits that only Windows has.
fn check_windows(wire: &WireResources, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let WireResources { cpu_count, cpu_percent, io_maximum_iops, io_maximum_bandwidth, .. } = *wire;
    if io_maximum_bandwidth != 0 {
        return Err(invalid(
            "invalid option: QoS maximum bandwidth configuration is not supported on linux",
        ));
    }
    if io_maximum_iops != 0 {
        return Err(invalid(
            "invalid option: QoS maximum IOPs configuration is not supported on linux",
        ));
    }
    if cpu_count != 0 {
        return Err(invalid("invalid option: CPU count is not supported on linux"));
    }
    if cpu_percent > 0 {
        warnings.push("linux does not support CPU percent. Percent discarded.".to_owned());
    }
    Ok(())
}

/// Reads `--ulimit`s.
pub(super) fn ulimits(wire: &[WireUlimit]) -> Result<Vec<Ulimit>, Failure> {
    let read = |wire: &WireUlimit| {
        let WireUlimit { name, hard, soft } = wire.clone();
        if !ULIMITS.contains(&name.as_str()) {
            return Err(invalid(format!("invalid ulimit type: {name}")));
        }
        if hard != -1 && (soft > hard || soft == -1) {
            return Err(invalid(format!(
                "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
            )));
        }
        Ok(Ulimit { name, soft, hard })
    };
    wire.iter().map(read).collect()
}

/// Writes limits.
pub(super) fn to_wire(
    resources: &Resources,
    ulimits: &[Ulimit],
    cgroup_parent: &str,
    empty: &Empty<'_>,
    defaults: &Defaults,
) -> WireResources {
    let Resources {
        memory,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        kernel_memory,
        kernel_memory_tcp,
        oom_kill_disable,
        nano_cpus,
        cpu_shares,
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        pids_limit,
        blkio_weight,
        blkio_weight_device,
        blkio_device_read_bps,
        blkio_device_write_bps,
        blkio_device_read_iops,
        blkio_device_write_iops,
        devices,
        device_cgroup_rules,
        device_requests,
    } = resources.clone();
    WireResources {
        cpu_shares,
        memory,
        nano_cpus,
        cgroup_parent: cgroup_parent.to_owned(),
        blkio_weight,
        blkio_weight_device: empty
            .list("BlkioWeightDevice", blkio_weight_device.into_iter().map(weight_out).collect()),
        blkio_device_read_bps: empty.list("BlkioDeviceReadBps", rates_out(blkio_device_read_bps)),
        blkio_device_write_bps: empty
            .list("BlkioDeviceWriteBps", rates_out(blkio_device_write_bps)),
        blkio_device_read_iops: empty
            .list("BlkioDeviceReadIOps", rates_out(blkio_device_read_iops)),
        blkio_device_write_iops: empty
            .list("BlkioDeviceWriteIOps", rates_out(blkio_device_write_iops)),
        cpu_period,
        cpu_quota,
        cpu_realtime_period,
        cpu_realtime_runtime,
        cpuset_cpus,
        cpuset_mems,
        devices: empty.list("Devices", devices.into_iter().map(device_out).collect()),
        device_cgroup_rules: empty.list("DeviceCgroupRules", device_cgroup_rules),
        device_requests: empty
            .list("DeviceRequests", device_requests.into_iter().map(device_request_out).collect()),
        kernel_memory,
        kernel_memory_tcp,
        memory_reservation,
        memory_swap,
        memory_swappiness,
        // cgroup v2 has no such thing.
        oom_kill_disable: oom_kill_disable.or((!defaults.cgroup_v2).then_some(false)),
        pids_limit,
        ulimits: empty.list("Ulimits", ulimits.iter().cloned().map(ulimit_out).collect()),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
    }
}

fn ulimit_out(Ulimit { name, soft, hard }: Ulimit) -> WireUlimit {
    WireUlimit { name, hard, soft }
}

fn weight_in(WeightDevice { path, weight }: WeightDevice) -> DeviceRate {
    DeviceRate { path, rate: u64::from(weight) }
}

fn weight_out(DeviceRate { path, rate }: DeviceRate) -> WeightDevice {
    // It was a u16 when it came in.
    WeightDevice { path, weight: u16::try_from(rate).unwrap_or(u16::MAX) }
}

fn rates_in(list: Option<Vec<ThrottleDevice>>) -> Vec<DeviceRate> {
    let read = |ThrottleDevice { path, rate }| DeviceRate { path, rate };
    list.unwrap_or_default().into_iter().map(read).collect()
}

fn rates_out(list: Vec<DeviceRate>) -> Vec<ThrottleDevice> {
    list.into_iter().map(|DeviceRate { path, rate }| ThrottleDevice { path, rate }).collect()
}

fn device_in(wire: WireDevice) -> DeviceMapping {
    let WireDevice { path_on_host, path_in_container, cgroup_permissions } = wire;
    DeviceMapping {
        container_path: if path_in_container.is_empty() {
            path_on_host.clone()
        } else {
            path_in_container
        },
        host_path: path_on_host,
        permissions: if cgroup_permissions.is_empty() {
            "rwm".to_owned()
        } else {
            cgroup_permissions
        },
    }
}

fn device_out(device: DeviceMapping) -> WireDevice {
    let DeviceMapping { host_path, container_path, permissions } = device;
    WireDevice {
        path_on_host: host_path,
        path_in_container: container_path,
        cgroup_permissions: permissions,
    }
}

fn device_request_in(wire: WireDeviceRequest) -> DeviceRequest {
    let WireDeviceRequest { driver, count, device_ids, capabilities, options } = wire;
    DeviceRequest {
        driver,
        count,
        device_ids: device_ids.unwrap_or_default(),
        capabilities: capabilities.unwrap_or_default(),
        options: options.unwrap_or_default(),
    }
}

fn device_request_out(request: DeviceRequest) -> WireDeviceRequest {
    let DeviceRequest { driver, count, device_ids, capabilities, options } = request;
    let by_name = driver == "cdi";
    WireDeviceRequest {
        driver,
        count,
        device_ids: nil_if_empty(device_ids),
        // As the two ways of asking send them: `--device NAME` without, `--gpus` with.
        capabilities: nil_if_empty(capabilities),
        options: (!by_name || !options.is_empty()).then_some(options),
    }
}

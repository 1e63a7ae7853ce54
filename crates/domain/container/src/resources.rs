//! `-m`, `--cpus` and their kin as the OCI specification has them.

use ferry_model::container::{DeviceRate, Resources};
use ferry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxMemory, LinuxPids, LinuxResources,
    LinuxThrottleDevice, LinuxWeightDevice,
};

use crate::spec::{DeviceNumbers, HostDevice, SpecError};

/// The period that `--cpus` is counted in, microseconds.
const CPU_PERIOD: i64 = 100_000;

/// Limits without device rules.
pub(crate) fn plan_limits(
    resources: &Resources,
    numbers: DeviceNumbers<'_>,
) -> Result<LinuxResources, SpecError> {
    Ok(LinuxResources {
        memory: memory(resources),
        cpu: cpu(resources),
        pids: resources.pids_limit.filter(|limit| *limit > 0).map(|limit| LinuxPids { limit }),
        block_io: block_io(resources, numbers)?,
        ..LinuxResources::default()
    })
}

fn memory(resources: &Resources) -> Option<LinuxMemory> {
    let positive = |value: i64| (value > 0).then_some(value);
    let swap = match (resources.memory, resources.memory_swap) {
        // Docker: without a word on swap, as much again.
        (limit, 0) if limit > 0 => limit.checked_mul(2),
        (_, 0) => None,
        (_, swap) => Some(swap),
    };
    let memory = LinuxMemory {
        limit: positive(resources.memory),
        reservation: positive(resources.memory_reservation),
        swap,
        kernel: positive(resources.kernel_memory),
        kernel_tcp: positive(resources.kernel_memory_tcp),
        swappiness: resources.memory_swappiness.and_then(|value| u64::try_from(value).ok()),
        disable_oom_killer: resources.oom_kill_disable.filter(|disable| *disable),
        ..LinuxMemory::default()
    };
    (memory != LinuxMemory::default()).then_some(memory)
}

fn cpu(resources: &Resources) -> Option<LinuxCpu> {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let (quota, period) = if resources.nano_cpus > 0 {
        let quota = i128::from(resources.nano_cpus) * i128::from(CPU_PERIOD) / 1_000_000_000;
        (i64::try_from(quota).ok(), positive(CPU_PERIOD))
    } else {
        ((resources.cpu_quota != 0).then_some(resources.cpu_quota), positive(resources.cpu_period))
    };
    let cpu = LinuxCpu {
        shares: positive(resources.cpu_shares),
        quota,
        period,
        realtime_runtime: (resources.cpu_realtime_runtime != 0)
            .then_some(resources.cpu_realtime_runtime),
        realtime_period: positive(resources.cpu_realtime_period),
        cpus: text(&resources.cpuset_cpus),
        mems: text(&resources.cpuset_mems),
        ..LinuxCpu::default()
    };
    (cpu != LinuxCpu::default()).then_some(cpu)
}

fn block_io(
    resources: &Resources,
    numbers: DeviceNumbers<'_>,
) -> Result<Option<LinuxBlockIo>, SpecError> {
    let throttle = |rates: &[DeviceRate]| -> Result<Vec<LinuxThrottleDevice>, SpecError> {
        rates
            .iter()
            .map(|rate| {
                let device = limited(numbers, &rate.path)?;
                Ok(LinuxThrottleDevice {
                    major: device.major,
                    minor: device.minor,
                    rate: rate.rate,
                })
            })
            .collect()
    };
    let weights = resources.blkio_weight_device.iter().map(|rate| {
        let device = limited(numbers, &rate.path)?;
        Ok(LinuxWeightDevice {
            major: device.major,
            minor: device.minor,
            weight: u16::try_from(rate.rate).ok(),
            leaf_weight: None,
        })
    });
    let block = LinuxBlockIo {
        weight: (resources.blkio_weight > 0).then_some(resources.blkio_weight),
        leaf_weight: None,
        weight_device: weights.collect::<Result<_, SpecError>>()?,
        throttle_read_bps_device: throttle(&resources.blkio_device_read_bps)?,
        throttle_write_bps_device: throttle(&resources.blkio_device_write_bps)?,
        throttle_read_iops_device: throttle(&resources.blkio_device_read_iops)?,
        throttle_write_iops_device: throttle(&resources.blkio_device_write_iops)?,
    };
    Ok((block != LinuxBlockIo::default()).then_some(block))
}

/// A device whose use is limited. Docker has other words for one that is missing than where a device is added.
fn limited(numbers: DeviceNumbers<'_>, path: &str) -> Result<HostDevice, SpecError> {
    numbers(path).map_err(|error| match error {
        SpecError::Device { path, reason } => SpecError::LimitedDevice { path, reason },
        other => other,
    })
}

/// Docker's device rules: nothing, then what every container has. `mknod` of anything is allowed, use of it is not (runc's
/// `AllowedDevices`).
pub(crate) fn default_device_rules() -> Vec<LinuxDeviceCgroup> {
    let rule =
        |kind: &str, major: Option<i64>, minor: Option<i64>, access: &str| LinuxDeviceCgroup {
            allow: true,
            kind: Some(kind.to_owned()),
            major,
            minor,
            access: Some(access.to_owned()),
        };
    let deny_all =
        LinuxDeviceCgroup { access: Some("rwm".to_owned()), ..LinuxDeviceCgroup::default() };
    vec![
        deny_all,
        rule("c", None, None, "m"),
        rule("b", None, None, "m"),
        rule("c", Some(1), Some(3), "rwm"), // null
        rule("c", Some(1), Some(5), "rwm"), // zero
        rule("c", Some(1), Some(7), "rwm"), // full
        rule("c", Some(1), Some(8), "rwm"), // random
        rule("c", Some(1), Some(9), "rwm"), // urandom
        rule("c", Some(5), Some(0), "rwm"), // tty
        rule("c", Some(5), Some(1), "rwm"), // console
        rule("c", Some(5), Some(2), "rwm"), // ptmx
        rule("c", Some(136), None, "rwm"),  // pts
    ]
}

/// `--device-cgroup-rule`: `c 1:3 rwm`, `a *:* r`.
pub(crate) fn parse_device_rule(text: &str) -> Result<LinuxDeviceCgroup, SpecError> {
    let invalid = || SpecError::DeviceRule(text.to_owned());
    let mut words = text.split_whitespace();
    let (Some(kind), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(invalid());
    };
    let number = |word: &str| match word {
        "*" => Ok(None),
        word => word.parse::<i64>().map(Some).map_err(|_| invalid()),
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
    let access_ok = !access.is_empty() && access.bytes().all(|byte| b"rwm".contains(&byte));
    if !matches!(kind, "a" | "b" | "c") || !access_ok {
        return Err(invalid());
    }
    Ok(LinuxDeviceCgroup {
        allow: true,
        kind: Some(kind.to_owned()),
        major: number(major)?,
        minor: number(minor)?,
        access: Some(access.to_owned()),
    })
}

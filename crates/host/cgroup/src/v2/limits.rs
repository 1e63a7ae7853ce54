//! Resources to files of version 2. The numbers of the OCI configuration are version 1's, so some are converted.

use ferry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use crate::ApplyError;
use crate::setting::{Setting, words};

pub(super) const WEIGHT: &str = "io.weight";
pub(super) const MEMORY: &str = "memory.max";

/// What to write, in order.
pub(crate) fn plan(resources: &LinuxResources) -> Result<Vec<Setting>, ApplyError> {
    let mut plan = Vec::new();
    if let Some(memory) = &resources.memory {
        plan_memory(memory, &mut plan)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(cpu, &mut plan);
    }
    if let Some(pids) = &resources.pids
        && pids.limit != 0
    {
        plan.push(Setting::new("pids", "pids.max", or_max(pids.limit), words::PIDS));
    }
    if let Some(block) = &resources.block_io {
        plan_block(block, &mut plan);
    }
    for page in &resources.hugepage_limits {
        for kind in ["max", "rsvd.max"] {
            let file = check_name(format!("hugetlb.{}.{kind}", page.page_size))?;
            plan.push(Setting::new("hugetlb", file, page.limit, words::HUGEPAGES));
        }
    }
    for (device, limit) in &resources.rdma {
        let mut line = device.clone();
        for (key, value) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        plan.push(Setting::new("rdma", "rdma.max", line, words::RDMA));
    }
    // Last: what is named by file wins over what was converted.
    for (file, value) in &resources.unified {
        plan.push(Setting::required("unified", check_name(file.clone())?, value));
    }
    Ok(plan)
}

fn check_name(name: String) -> Result<String, ApplyError> {
    if name.contains('/') || name.contains('\0') || name.contains("..") || !name.contains('.') {
        return Err(ApplyError::FileName(name));
    }
    Ok(name)
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

fn plan_memory(memory: &LinuxMemory, plan: &mut Vec<Setting>) -> Result<(), ApplyError> {
    let limit = memory.limit.filter(|&limit| limit != 0);
    if let Some(swap) = swap_alone(limit, memory.swap.filter(|&swap| swap != 0))? {
        plan.push(Setting::new("memory", "memory.swap.max", or_max(swap), words::SWAP));
    }
    if let Some(limit) = limit {
        plan.push(Setting::new("memory", MEMORY, or_max(limit), words::MEMORY));
    }
    if let Some(low) = memory.reservation.filter(|&low| low != 0) {
        plan.push(Setting::new("memory", "memory.low", or_max(low), words::RESERVATION));
    }
    let discarded = [
        (memory.swappiness.is_some(), words::SWAPPINESS),
        (memory.disable_oom_killer == Some(true), words::OOM_DISABLE),
        (memory.kernel.is_some_and(|k| k != 0), words::KERNEL_MEMORY),
        (memory.kernel_tcp.is_some_and(|k| k != 0), words::KERNEL_MEMORY),
    ];
    for (asked, words) in discarded {
        if asked {
            // Version 2 has no such file, so the write finds none and the words are said.
            plan.push(Setting::new("memory", "memory.not-in-version-2", "", words));
        }
    }
    Ok(())
}

/// The configuration counts memory and swap together, version 2 swap alone.
fn swap_alone(limit: Option<i64>, both: Option<i64>) -> Result<Option<i64>, ApplyError> {
    match (limit, both) {
        (Some(-1), None) | (_, Some(-1)) => Ok(Some(-1)),
        (_, None) => Ok(None),
        (None | Some(-1), Some(_)) => Err(ApplyError::SwapWithoutMemory),
        (Some(limit), Some(both)) if both < limit => Err(ApplyError::SwapBelowMemory),
        (Some(limit), Some(both)) => Ok(Some(both - limit)),
    }
}

fn plan_cpu(cpu: &LinuxCpu, plan: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        plan.push(Setting::new("cpu", "cpu.weight", weight_of_shares(shares), words::SHARES));
    }
    if let Some(max) = cpu_max(cpu) {
        plan.push(Setting::new("cpu", "cpu.max", max, words::CFS));
    }
    if let Some(burst) = cpu.burst {
        plan.push(Setting::new("cpu", "cpu.max.burst", burst, words::BURST));
    }
    if let Some(idle) = cpu.idle {
        plan.push(Setting::new("cpu", "cpu.idle", idle, words::IDLE));
    }
    let realtime = cpu.realtime_runtime.is_some_and(|value| value != 0)
        || cpu.realtime_period.is_some_and(|value| value != 0);
    if realtime {
        plan.push(Setting::new("cpu", "cpu.not-in-version-2", "", words::REALTIME));
    }
    let cpus = cpu.cpus.as_deref().filter(|list| !list.is_empty());
    if let Some(cpus) = cpus {
        plan.push(Setting::new("cpuset", "cpuset.cpus", cpus, words::CPUSET));
    }
    let mems = cpu.mems.as_deref().filter(|list| !list.is_empty());
    if let Some(mems) = mems {
        plan.push(Setting::new("cpuset", "cpuset.mems", mems, words::CPUSET));
    }
}

/// `quota period`, as far as they are given.
fn cpu_max(cpu: &LinuxCpu) -> Option<String> {
    let quota = cpu.quota.filter(|&quota| quota != 0);
    let period = cpu.period.filter(|&period| period != 0);
    if quota.is_none() && period.is_none() {
        return None;
    }
    let quota = quota.filter(|&quota| quota > 0).map_or("max".to_owned(), |q| q.to_string());
    // The kernel's default, which must be written with a quota that has none.
    Some(format!("{quota} {}", period.unwrap_or(100_000)))
}

/// Shares 2 to 262144 (1024 by default) to a weight 1 to 10000 (100 by default): the curve through all three points that
/// runc and crun use since 2025.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// The other way round: the most shares that have no greater weight.
pub(crate) fn shares_of_weight(weight: u64) -> u64 {
    let (mut shares, mut beyond) = (2, 262_145);
    while beyond - shares > 1 {
        let middle = (shares + beyond) / 2;
        if weight_of_shares(middle) <= weight { shares = middle } else { beyond = middle }
    }
    shares
}

/// blkio weights (10 to 1000) to io weights (1 to 10000), linearly.
fn weight_of_block(weight: u16) -> u64 {
    let weight = u64::from(weight.clamp(10, 1000));
    1 + (weight - 10) * 9999 / 990
}

fn plan_block(block: &LinuxBlockIo, plan: &mut Vec<Setting>) {
    if let Some(weight) = block.weight.filter(|&weight| weight != 0) {
        plan.push(Setting::new("io", WEIGHT, weight_of_block(weight), words::WEIGHT));
    }
    for device in &block.weight_device {
        if let Some(weight) = device.weight.filter(|&weight| weight != 0) {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            plan.push(Setting::new("io", "io.bfq.weight", line, words::WEIGHT_DEVICE));
        }
    }
    let mut throttle = |devices: &[LinuxThrottleDevice], key: &str, otherwise| {
        for device in devices {
            let line = format!("{}:{} {key}={}", device.major, device.minor, device.rate);
            plan.push(Setting::new("io", "io.max", line, otherwise));
        }
    };
    throttle(&block.throttle_read_bps_device, "rbps", words::READ_BPS);
    throttle(&block.throttle_write_bps_device, "wbps", words::WRITE_BPS);
    throttle(&block.throttle_read_iops_device, "riops", words::READ_IOPS);
    throttle(&block.throttle_write_iops_device, "wiops", words::WRITE_IOPS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_the_weights_that_runc_gives() {
        let cases = [(1, 1), (2, 1), (1024, 100), (262_144, 10_000), (300_000, 10_000)];
        for (shares, weight) in cases {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        for (shares, weight) in [(2, 1), (1024, 100), (262_144, 10_000)] {
            assert_eq!(shares_of_weight(weight), shares, "{weight}");
        }
        for weight in [2, 39, 101, 5000] {
            assert_eq!(weight_of_shares(shares_of_weight(weight)), weight);
        }
    }

    #[test]
    fn swap_is_counted_alone() {
        assert_eq!(swap_alone(Some(100), Some(300)).unwrap(), Some(200));
        assert_eq!(swap_alone(Some(100), Some(-1)).unwrap(), Some(-1));
        assert_eq!(swap_alone(Some(100), None).unwrap(), None);
        assert_eq!(swap_alone(Some(-1), None).unwrap(), Some(-1));
        assert!(matches!(swap_alone(None, Some(1)), Err(ApplyError::SwapWithoutMemory)));
        assert!(matches!(swap_alone(Some(9), Some(1)), Err(ApplyError::SwapBelowMemory)));
    }

    #[test]
    fn block_weights_are_spread_over_the_larger_scale() {
        assert_eq!(weight_of_block(10), 1);
        assert_eq!(weight_of_block(1000), 10_000);
    }
}

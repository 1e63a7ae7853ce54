//! Resources to files of version 1.

use ferry_oci::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice,
};

use crate::ApplyError;
use crate::setting::{Setting, words};

pub(super) const MEMORY_LIMIT: &str = "memory.limit_in_bytes";
pub(super) const SWAP_LIMIT: &str = "memory.memsw.limit_in_bytes";

/// What to write, in order.
pub(crate) fn plan(resources: &LinuxResources) -> Result<Vec<Setting>, ApplyError> {
    let mut plan = Vec::new();
    if let Some(memory) = &resources.memory {
        plan_memory(memory, &mut plan)?;
    }
    if let Some(cpu) = &resources.cpu {
        plan_cpu(cpu, &mut plan);
    }
    if let Some(pids) = &resources.pids {
        match pids.limit {
            0 => {}
            limit if limit < 0 => plan.push(Setting::new("pids", "pids.max", "max", words::PIDS)),
            limit => plan.push(Setting::new("pids", "pids.max", limit, words::PIDS)),
        }
    }
    if let Some(block) = &resources.block_io {
        plan_block(block, &mut plan);
    }
    for page in &resources.hugepage_limits {
        let file = format!("hugetlb.{}.limit_in_bytes", page.page_size);
        plan.push(Setting::new("hugetlb", check_name(file)?, page.limit, words::HUGEPAGES));
    }
    plan_network(resources, &mut plan);
    for (device, limit) in &resources.rdma {
        let mut line = device.clone();
        for (key, value) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
            if let Some(value) = value {
                line.push_str(&format!(" {key}={value}"));
            }
        }
        plan.push(Setting::new("rdma", "rdma.max", line, words::RDMA));
    }
    Ok(plan)
}

pub(crate) fn check_name(name: String) -> Result<String, ApplyError> {
    if name.contains('/') || name.contains('\0') || name.contains("..") {
        return Err(ApplyError::FileName(name));
    }
    Ok(name)
}

fn plan_memory(memory: &LinuxMemory, plan: &mut Vec<Setting>) -> Result<(), ApplyError> {
    let limit = memory.limit.filter(|&limit| limit != 0);
    // Without a word about swap, lifting the memory limit lifts both (runc does the same).
    let swap = match (limit, memory.swap.filter(|&swap| swap != 0)) {
        (Some(-1), None) => Some(-1),
        (_, swap) => swap,
    };
    if let (Some(limit), Some(swap)) = (limit, swap)
        && swap != -1
        && limit != -1
        && swap < limit
    {
        return Err(ApplyError::SwapBelowMemory);
    }
    if let Some(limit) = limit {
        plan.push(Setting::new("memory", MEMORY_LIMIT, limit, words::MEMORY));
    }
    if let Some(swap) = swap {
        plan.push(Setting::new("memory", SWAP_LIMIT, swap, words::SWAP));
    }
    if let Some(soft) = memory.reservation.filter(|&soft| soft != 0) {
        let file = "memory.soft_limit_in_bytes";
        plan.push(Setting::new("memory", file, soft, words::RESERVATION));
    }
    if let Some(kernel) = memory.kernel.filter(|&kernel| kernel != 0) {
        let file = "memory.kmem.limit_in_bytes";
        plan.push(Setting::new("memory", file, kernel, words::KERNEL_MEMORY));
    }
    if let Some(tcp) = memory.kernel_tcp.filter(|&tcp| tcp != 0) {
        let file = "memory.kmem.tcp.limit_in_bytes";
        plan.push(Setting::new("memory", file, tcp, words::KERNEL_MEMORY));
    }
    if let Some(swappiness) = memory.swappiness {
        plan.push(Setting::new("memory", "memory.swappiness", swappiness, words::SWAPPINESS));
    }
    if memory.disable_oom_killer == Some(true) {
        plan.push(Setting::new("memory", "memory.oom_control", 1, words::OOM_DISABLE));
    }
    Ok(())
}

fn plan_cpu(cpu: &LinuxCpu, plan: &mut Vec<Setting>) {
    if let Some(shares) = cpu.shares.filter(|&shares| shares != 0) {
        plan.push(Setting::new("cpu", "cpu.shares", shares, words::SHARES));
    }
    if let Some(period) = cpu.period.filter(|&period| period != 0) {
        plan.push(Setting::new("cpu", "cpu.cfs_period_us", period, words::CFS));
    }
    if let Some(quota) = cpu.quota.filter(|&quota| quota != 0) {
        plan.push(Setting::new("cpu", "cpu.cfs_quota_us", quota, words::CFS));
    }
    if let Some(burst) = cpu.burst {
        plan.push(Setting::new("cpu", "cpu.cfs_burst_us", burst, words::BURST));
    }
    if let Some(period) = cpu.realtime_period.filter(|&period| period != 0) {
        plan.push(Setting::new("cpu", "cpu.rt_period_us", period, words::REALTIME));
    }
    if let Some(runtime) = cpu.realtime_runtime.filter(|&runtime| runtime != 0) {
        plan.push(Setting::new("cpu", "cpu.rt_runtime_us", runtime, words::REALTIME));
    }
    if let Some(idle) = cpu.idle {
        plan.push(Setting::new("cpu", "cpu.idle", idle, words::IDLE));
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

fn plan_block(block: &LinuxBlockIo, plan: &mut Vec<Setting>) {
    // With the BFQ scheduler the files are called blkio.bfq.*: both are tried, see `Setting::write`'s caller for v2.
    if let Some(weight) = block.weight.filter(|&weight| weight != 0) {
        plan.push(Setting::new("blkio", "blkio.weight", weight, words::WEIGHT));
    }
    if let Some(leaf) = block.leaf_weight.filter(|&leaf| leaf != 0) {
        plan.push(Setting::new("blkio", "blkio.leaf_weight", leaf, words::WEIGHT));
    }
    for device in &block.weight_device {
        if let Some(weight) = device.weight.filter(|&weight| weight != 0) {
            let line = format!("{}:{} {weight}", device.major, device.minor);
            let file = "blkio.weight_device";
            plan.push(Setting::new("blkio", file, line, words::WEIGHT_DEVICE));
        }
    }
    let mut throttle = |devices: &[LinuxThrottleDevice], file: &str, otherwise| {
        for device in devices {
            let line = format!("{}:{} {}", device.major, device.minor, device.rate);
            plan.push(Setting::new("blkio", file, line, otherwise));
        }
    };
    let read_bps = &block.throttle_read_bps_device;
    throttle(read_bps, "blkio.throttle.read_bps_device", words::READ_BPS);
    let write_bps = &block.throttle_write_bps_device;
    throttle(write_bps, "blkio.throttle.write_bps_device", words::WRITE_BPS);
    let read_iops = &block.throttle_read_iops_device;
    throttle(read_iops, "blkio.throttle.read_iops_device", words::READ_IOPS);
    let write_iops = &block.throttle_write_iops_device;
    throttle(write_iops, "blkio.throttle.write_iops_device", words::WRITE_IOPS);
}

fn plan_network(resources: &LinuxResources, plan: &mut Vec<Setting>) {
    let Some(network) = &resources.network else { return };
    if let Some(class) = network.class_id {
        plan.push(Setting::new("net_cls", "net_cls.classid", class, words::NETWORK));
    }
    for priority in &network.priorities {
        let line = format!("{} {}", priority.name, priority.priority);
        plan.push(Setting::new("net_prio", "net_prio.ifpriomap", line, words::NETWORK));
    }
}

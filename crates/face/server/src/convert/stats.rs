//! Samples of what a container uses, as `/containers/{id}/stats` has them.

use std::collections::BTreeMap;

use ferry_docker_api::{
    BlkioEntry as WireEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats,
    StatsResponse, ThrottlingData, ZERO_TIME,
};
use ferry_engine::{
    CgroupStats,
    ops::container::{Counters, Figures, Sample},
};

/// Keys of version 1's `memory.stat` that Docker shows, and shows again with `total_` before them.
const KEYS_V1: [&str; 15] = [
    "cache",
    "rss",
    "rss_huge",
    "mapped_file",
    "dirty",
    "writeback",
    "pgpgin",
    "pgpgout",
    "pgfault",
    "pgmajfault",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
];

/// Keys of version 2's `memory.stat` that Docker shows.
const KEYS_V2: [&str; 31] = [
    "anon",
    "file",
    "kernel_stack",
    "slab",
    "sock",
    "shmem",
    "file_mapped",
    "file_dirty",
    "file_writeback",
    "anon_thp",
    "inactive_anon",
    "active_anon",
    "inactive_file",
    "active_file",
    "unevictable",
    "slab_reclaimable",
    "slab_unreclaimable",
    "pgfault",
    "pgmajfault",
    "workingset_refault",
    "workingset_activate",
    "workingset_nodereclaim",
    "pgrefill",
    "pgscan",
    "pgsteal",
    "pgactivate",
    "pgdeactivate",
    "pglazyfree",
    "pglazyfreed",
    "thp_fault_alloc",
    "thp_collapse_alloc",
];

/// Writes a sample, next to the one before it. A single sample (`one-shot`) comes without names, as from Docker.
pub(crate) fn response(sample: &Sample, before: Option<&Sample>, named: bool) -> StatsResponse {
    let Sample { id, name, figures } = sample;
    let before = before.and_then(|sample| sample.figures.as_ref());
    let names = if named { (format!("/{name}"), id.clone()) } else { Default::default() };
    let time = |figures: Option<&Figures>| {
        figures.map_or_else(|| ZERO_TIME.to_owned(), |figures| figures.read.format_rfc3339_nano())
    };
    let mut response = StatsResponse {
        name: names.0,
        id: names.1,
        read: time(figures.as_ref()),
        preread: time(before),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        ..StatsResponse::default()
    };
    if let Some(figures) = figures {
        response.pids_stats = pids(figures);
        response.blkio_stats = blkio(figures);
        response.cpu_stats = cpu(figures);
        response.memory_stats = memory(figures);
        let networks = figures.networks.iter();
        response.networks =
            networks.map(|(name, counters)| (name.clone(), network(*counters))).collect();
    }
    response
}

fn pids(figures: &Figures) -> PidsStats {
    let CgroupStats { pids, pids_limit, .. } = figures.usage;
    // Docker shows "no limit" as nothing in version 1 and as the largest number in version 2.
    let limit = if pids_limit == u64::MAX && !figures.unified { 0 } else { pids_limit };
    PidsStats { current: pids, limit }
}

fn blkio(figures: &Figures) -> BlkioStats {
    let entries = |list: &[ferry_engine::CgroupBlkio]| {
        let entry = |entry: &ferry_engine::CgroupBlkio| WireEntry {
            major: entry.major,
            minor: entry.minor,
            op: entry.op.clone(),
            value: entry.value,
        };
        Some(list.iter().map(entry).collect())
    };
    let bytes = entries(&figures.usage.io_bytes);
    if figures.unified {
        let some = bytes.filter(|list: &Vec<WireEntry>| !list.is_empty());
        return BlkioStats { io_service_bytes_recursive: some, ..BlkioStats::default() };
    }
    BlkioStats {
        io_service_bytes_recursive: bytes,
        io_serviced_recursive: entries(&figures.usage.io_operations),
        io_queue_recursive: Some(Vec::new()),
        io_service_time_recursive: Some(Vec::new()),
        io_wait_time_recursive: Some(Vec::new()),
        io_merged_recursive: Some(Vec::new()),
        io_time_recursive: Some(Vec::new()),
        sectors_recursive: Some(Vec::new()),
    }
}

fn cpu(figures: &Figures) -> CpuStats {
    let usage = &figures.usage;
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: usage.cpu_total,
            percpu_usage: usage.cpu_each.clone(),
            usage_in_kernelmode: usage.cpu_system,
            usage_in_usermode: usage.cpu_user,
        },
        system_cpu_usage: figures.system_cpu,
        online_cpus: figures.online_cpus,
        throttling_data: ThrottlingData {
            periods: usage.periods,
            throttled_periods: usage.throttled_periods,
            throttled_time: usage.throttled_time,
        },
    }
}

fn memory(figures: &Figures) -> MemoryStats {
    let usage = &figures.usage;
    let shown = |key: &str| {
        if figures.unified {
            return KEYS_V2.contains(&key);
        }
        KEYS_V1.contains(&key.strip_prefix("total_").unwrap_or(key))
            || key.starts_with("hierarchical_")
    };
    let detail = usage.memory_detail.iter().filter(|(key, _)| shown(key));
    let stats: BTreeMap<_, _> = detail.map(|(key, value)| (key.clone(), *value)).collect();
    MemoryStats {
        usage: usage.memory_usage,
        max_usage: if figures.unified { 0 } else { usage.memory_peak },
        stats,
        failcnt: usage.memory_failures,
        limit: usage.memory_limit,
        ..MemoryStats::default()
    }
}

fn network(Counters { rx, tx }: Counters) -> NetworkStats {
    NetworkStats {
        rx_bytes: rx.bytes,
        rx_packets: rx.packets,
        rx_errors: rx.errors,
        rx_dropped: rx.dropped,
        tx_bytes: tx.bytes,
        tx_packets: tx.packets,
        tx_errors: tx.errors,
        tx_dropped: tx.dropped,
        ..NetworkStats::default()
    }
}

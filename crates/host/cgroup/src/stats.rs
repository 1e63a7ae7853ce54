//! What a group uses. A file that is missing leaves its figure at zero: statistics never fail.

use std::collections::BTreeMap;
use std::path::Path;

use crate::file::{number, pair, pairs, read};
use crate::{v1, v2};

/// Figures as `docker stats` wants them; times in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time, all processors.
    pub cpu_total: u64,
    /// CPU time of each processor (version 1 only).
    pub cpu_each: Vec<u64>,
    /// CPU time in user mode.
    pub cpu_user: u64,
    /// CPU time in the kernel.
    pub cpu_system: u64,
    /// Periods in which the quota could run out.
    pub periods: u64,
    /// Periods in which it did.
    pub throttled_periods: u64,
    /// Time spent waiting for the next period.
    pub throttled_time: u64,
    /// Memory in use, page cache included.
    pub memory_usage: u64,
    /// Its highest value.
    pub memory_peak: u64,
    /// The limit; `u64::MAX` for none.
    pub memory_limit: u64,
    /// How often the limit was hit.
    pub memory_failures: u64,
    /// The kernel's own breakdown.
    pub memory_detail: BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Their limit; `u64::MAX` for none.
    pub pids_limit: u64,
    /// Bytes read and written per device.
    pub io_bytes: Vec<BlkioEntry>,
    /// Operations per device.
    pub io_operations: Vec<BlkioEntry>,
}

/// A figure for one device and one kind of operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device number.
    pub major: u64,
    /// Device number.
    pub minor: u64,
    /// `read`, `write`, …, in lower case.
    pub op: String,
    /// Bytes or operations.
    pub value: u64,
}

/// USER_HZ: cpuacct.stat counts in ticks of ten milliseconds.
const TICK: u64 = 10_000_000;

pub(crate) fn v1(group: &v1::Group) -> Stats {
    let mut stats = Stats { memory_limit: u64::MAX, pids_limit: u64::MAX, ..Stats::default() };
    if let Some(dir) = group.dir("cpuacct") {
        stats.cpu_total = number(&dir.join("cpuacct.usage")).unwrap_or(0);
        let each = read(&dir.join("cpuacct.usage_percpu")).unwrap_or_default();
        stats.cpu_each = each.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let split = dir.join("cpuacct.stat");
        stats.cpu_user = pair(&split, "user").unwrap_or(0) * TICK;
        stats.cpu_system = pair(&split, "system").unwrap_or(0) * TICK;
    }
    if let Some(dir) = group.dir("cpu") {
        let file = dir.join("cpu.stat");
        stats.periods = pair(&file, "nr_periods").unwrap_or(0);
        stats.throttled_periods = pair(&file, "nr_throttled").unwrap_or(0);
        stats.throttled_time = pair(&file, "throttled_time").unwrap_or(0);
    }
    if let Some(dir) = group.dir("memory") {
        stats.memory_usage = number(&dir.join("memory.usage_in_bytes")).unwrap_or(0);
        stats.memory_peak = number(&dir.join("memory.max_usage_in_bytes")).unwrap_or(0);
        stats.memory_limit = number(&dir.join("memory.limit_in_bytes")).map_or(u64::MAX, limit);
        stats.memory_failures = number(&dir.join("memory.failcnt")).unwrap_or(0);
        stats.memory_detail = pairs(&dir.join("memory.stat")).into_iter().collect();
    }
    if let Some(dir) = group.dir("pids") {
        read_pids(dir, &mut stats);
    }
    if let Some(dir) = group.dir("blkio") {
        stats.io_bytes = blkio(dir, "io_service_bytes_recursive");
        stats.io_operations = blkio(dir, "io_serviced_recursive");
    }
    stats
}

/// A limit of version 1, where "no limit" is the largest multiple of a page.
pub(crate) fn limit(bytes: u64) -> u64 {
    if bytes > i64::MAX as u64 - (1 << 20) { u64::MAX } else { bytes }
}

fn read_pids(dir: &Path, stats: &mut Stats) {
    stats.pids = number(&dir.join("pids.current")).unwrap_or(0);
    stats.pids_limit = number(&dir.join("pids.max")).unwrap_or(u64::MAX);
}

/// BFQ's own figures where it schedules, the throttling layer's otherwise.
fn blkio(dir: &Path, name: &str) -> Vec<BlkioEntry> {
    let own = entries(&dir.join(format!("blkio.bfq.{name}")));
    if own.is_empty() { entries(&dir.join(format!("blkio.throttle.{name}"))) } else { own }
}

/// Lines of `8:0 Read 4096`.
fn entries(path: &Path) -> Vec<BlkioEntry> {
    let Ok(text) = read(path) else { return Vec::new() };
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = device(words.next()?)?;
        let op = words.next()?.to_ascii_lowercase();
        Some(BlkioEntry { major, minor, op, value: words.next()?.parse().ok()? })
    };
    text.lines().filter_map(entry).collect()
}

fn device(word: &str) -> Option<(u64, u64)> {
    let (major, minor) = word.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

pub(crate) fn v2(group: &v2::Group) -> Stats {
    let dir = group.dir();
    let mut stats = Stats { memory_limit: u64::MAX, pids_limit: u64::MAX, ..Stats::default() };
    let cpu: BTreeMap<String, u64> = pairs(&dir.join("cpu.stat")).into_iter().collect();
    let micro = |key: &str| cpu.get(key).copied().unwrap_or(0).saturating_mul(1000);
    stats.cpu_total = micro("usage_usec");
    stats.cpu_user = micro("user_usec");
    stats.cpu_system = micro("system_usec");
    stats.periods = cpu.get("nr_periods").copied().unwrap_or(0);
    stats.throttled_periods = cpu.get("nr_throttled").copied().unwrap_or(0);
    stats.throttled_time = micro("throttled_usec");
    stats.memory_usage = number(&dir.join("memory.current")).unwrap_or(0);
    stats.memory_peak = number(&dir.join("memory.peak")).unwrap_or(0);
    stats.memory_limit = number(&dir.join("memory.max")).unwrap_or(u64::MAX);
    stats.memory_failures = pair(&dir.join("memory.events"), "oom").unwrap_or(0);
    stats.memory_detail = pairs(&dir.join("memory.stat")).into_iter().collect();
    read_pids(dir, &mut stats);
    read_io(&dir.join("io.stat"), &mut stats);
    stats
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn read_io(path: &Path, stats: &mut Stats) {
    let Ok(text) = read(path) else { return };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let Some((major, minor)) = words.next().and_then(device) else { continue };
        for word in words {
            let Some((key, value)) = word.split_once('=') else { continue };
            let Ok(value) = value.parse() else { continue };
            let (list, op) = match key {
                "rbytes" => (&mut stats.io_bytes, "read"),
                "wbytes" => (&mut stats.io_bytes, "write"),
                "rios" => (&mut stats.io_operations, "read"),
                "wios" => (&mut stats.io_operations, "write"),
                _ => continue,
            };
            list.push(BlkioEntry { major, minor, op: op.to_owned(), value });
        }
    }
}

//! What pods cost in memory: the proportional share of every process that a runtime has, without the containers' own programs.

use std::{collections::BTreeMap, fs};

use super::client::PROGRAM;

/// Kilobytes of each process that is no container's program, by process id.
pub(super) fn processes() -> BTreeMap<u32, u64> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter_map(|pid| Some((pid, share(pid)?))).collect()
}

fn share(pid: u32) -> Option<u64> {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    if line.split('\0').take(2).eq(PROGRAM) {
        return None;
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Kilobytes that came with processes that were not there before, and those by which the daemon grew.
pub(super) fn grown(
    before: &BTreeMap<u32, u64>,
    after: &BTreeMap<u32, u64>,
    daemon: u32,
) -> (u64, u64) {
    let new = after.iter().filter(|(pid, _)| !before.contains_key(pid)).map(|(_, share)| share);
    let own = |all: &BTreeMap<u32, u64>| all.get(&daemon).copied().unwrap_or_default();
    (new.sum(), own(after).saturating_sub(own(before)))
}

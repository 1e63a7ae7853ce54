//! What a daemon's work costs: its time on the processors, and in memory the proportional share of every process that holds them, without the containers' own programs.

use std::{collections::BTreeMap, fs};

use super::client::PROGRAM;

/// Kilobytes of the daemon and of each process that holds pods, by process id.
pub(super) fn processes(daemon: u32) -> BTreeMap<u32, u64> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let own = pids.filter(|pid| *pid == daemon || holds_pods(*pid));
    own.filter_map(|pid| Some((pid, share(pid)?))).collect()
}

/// Whether a process is a shim, or what it started besides the containers' programs. The machine may run other things, too.
fn holds_pods(pid: u32) -> bool {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if line.split('\0').take(2).eq(PROGRAM) {
        return false;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
    is_shim(pid) || parent.and_then(|parent| parent.parse().ok()).is_some_and(is_shim)
}

/// containerd's by its name; ours by its name and by its daemon's log, as other tests may have some.
fn is_shim(pid: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let log = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    let own = format!("/var/tmp/ferry-test-{}-", std::process::id());
    match name.trim_end() {
        "containerd-shim" => true,
        "ferry-shim" => log.to_string_lossy().starts_with(&own),
        _ => false,
    }
}

fn share(pid: u32) -> Option<u64> {
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
    let new = after.iter().filter(|(pid, _)| !before.contains_key(pid)).map(|(_, share)| *share);
    let own = |all: &BTreeMap<u32, u64>| all.get(&daemon).copied().unwrap_or_default();
    (new.sum::<u64>(), own(after).saturating_sub(own(before)))
}

/// Time that a process has had on the processors, in nanoseconds.
pub(super) fn processor_time(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let stats = threads.filter_map(|one| fs::read_to_string(one.path().join("schedstat")).ok());
    let times = stats.filter_map(|stat| stat.split_whitespace().next()?.parse::<u64>().ok());
    times.sum()
}

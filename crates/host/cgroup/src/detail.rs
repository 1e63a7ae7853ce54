//! What a group uses and may use, beyond what `docker stats` shows. A figure that the kernel does not keep is `None`, never zero.

use std::path::Path;

use crate::file::{number, pair, pairs, read};
use crate::stats::{self, Stats, limit};
use crate::v2::limits::shares_of_weight;
use crate::{v1, v2};

/// Figures of a group with all that the kernel tells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detail {
    /// What is asked for most.
    pub stats: Stats,
    /// How often memory was at its limit.
    pub memory_hits: Option<u64>,
    /// Processes that the kernel killed for lack of memory.
    pub oom_kills: Option<u64>,
    /// Memory of the kernel's own.
    pub kernel_memory: Option<u64>,
    /// Memory that was swapped out.
    pub swap: Option<u64>,
    /// By size of the pages; empty without that controller.
    pub huge_pages: Vec<HugePages>,
    /// Waiting for processors.
    pub cpu_pressure: Option<Pressure>,
    /// Waiting for memory.
    pub memory_pressure: Option<Pressure>,
    /// Waiting for devices.
    pub io_pressure: Option<Pressure>,
    /// What it may use.
    pub limits: Limits,
}

/// Huge pages of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HugePages {
    /// As the kernel names the size: `2MB`.
    pub size: String,
    /// Bytes in use.
    pub usage: u64,
    /// The most that there were; version 1 only.
    pub peak: Option<u64>,
}

/// How long tasks waited for something (PSI; version 2 only).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Pressure {
    /// One of them at least.
    pub some: Stall,
    /// All of them at once.
    pub full: Option<Stall>,
}

/// Time spent waiting.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stall {
    /// Microseconds in all.
    pub total: u64,
    /// Percent of the last 10, 60 and 300 seconds.
    pub averages: [f64; 3],
}

/// What a group may use, as the kernel has it; `u64::MAX` where there is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Its part of busy processors, 1024 being the ordinary one. Version 2 keeps a weight, of which this is made.
    pub cpu_shares: Option<u64>,
    /// Microseconds of a period.
    pub cpu_period: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes that it keeps when memory is short.
    pub memory_reservation: Option<u64>,
    /// Bytes: memory and swap together in version 1, swap alone in version 2.
    pub memory_swap: Option<u64>,
}

pub(crate) fn v1(group: &v1::Group) -> Detail {
    let stats = stats::v1(group);
    let mut detail =
        Detail { swap: stats.memory_detail.get("total_swap").copied(), ..Detail::default() };
    if let Some(dir) = group.dir("cpu") {
        detail.limits.cpu_shares = number(&dir.join("cpu.shares"));
        detail.limits.cpu_period = number(&dir.join("cpu.cfs_period_us"));
        let quota = read(&dir.join("cpu.cfs_quota_us")).ok();
        detail.limits.cpu_quota = quota.and_then(|text| match text.trim() {
            "-1" => Some(u64::MAX),
            digits => digits.parse().ok(),
        });
    }
    if let Some(dir) = group.dir("memory") {
        detail.memory_hits = number(&dir.join("memory.failcnt"));
        detail.oom_kills = pair(&dir.join("memory.oom_control"), "oom_kill");
        detail.kernel_memory = number(&dir.join("memory.kmem.usage_in_bytes"));
        let bytes = |name: &str| number(&dir.join(name)).map(limit);
        detail.limits.memory = bytes("memory.limit_in_bytes");
        detail.limits.memory_reservation = bytes("memory.soft_limit_in_bytes");
        detail.limits.memory_swap = bytes("memory.memsw.limit_in_bytes");
    }
    if let Some(dir) = group.dir("hugetlb") {
        detail.huge_pages = huge_pages(dir, "usage_in_bytes", "max_usage_in_bytes");
    }
    Detail { stats, ..detail }
}

pub(crate) fn v2(group: &v2::Group) -> Detail {
    let dir = group.dir();
    let stats = stats::v2(group);
    let events = pairs(&dir.join("memory.events"));
    let event = |name: &str| events.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    let (cpu_quota, cpu_period) = cpu_max(&dir.join("cpu.max")).unzip();
    Detail {
        memory_hits: event("max"),
        oom_kills: event("oom_kill"),
        kernel_memory: stats.memory_detail.get("kernel").copied(),
        swap: number(&dir.join("memory.swap.current")),
        huge_pages: huge_pages(dir, "current", "peak"),
        cpu_pressure: pressure(&dir.join("cpu.pressure")),
        memory_pressure: pressure(&dir.join("memory.pressure")),
        io_pressure: pressure(&dir.join("io.pressure")),
        limits: Limits {
            cpu_shares: number(&dir.join("cpu.weight")).map(shares_of_weight),
            cpu_period,
            cpu_quota,
            memory: number(&dir.join("memory.max")),
            memory_reservation: number(&dir.join("memory.low")),
            memory_swap: number(&dir.join("memory.swap.max")),
        },
        stats,
    }
}

/// `max 100000`: the quota and the period.
fn cpu_max(path: &Path) -> Option<(u64, u64)> {
    let text = read(path).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    let quota = if quota == "max" { u64::MAX } else { quota.parse().ok()? };
    Some((quota, period.parse().ok()?))
}

/// What there is of `hugetlb.2MB.current` and its like.
fn huge_pages(dir: &Path, usage: &str, peak: &str) -> Vec<HugePages> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let size = name.to_str().and_then(|name| name.strip_prefix("hugetlb."));
        // `2MB.rsvd.current` is what is reserved.
        let size = size.and_then(|rest| rest.strip_suffix(usage)?.strip_suffix('.'));
        let Some(size) = size.filter(|size| !size.contains('.')) else { continue };
        let Some(usage) = number(&entry.path()) else { continue };
        let peak = number(&dir.join(format!("hugetlb.{size}.{peak}")));
        found.push(HugePages { size: size.to_owned(), usage, peak });
    }
    found.sort_by(|a, b| a.size.cmp(&b.size));
    found
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
fn pressure(path: &Path) -> Option<Pressure> {
    let text = read(path).ok()?;
    let line = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))?;
        let value = |key: &str| {
            line.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        };
        let average = |key: &str| value(key)?.parse::<f64>().ok();
        Some(Stall {
            total: value("total")?.parse().ok()?,
            averages: [average("avg10")?, average("avg60")?, average("avg300")?],
        })
    };
    Some(Pressure { some: line("some")?, full: line("full") })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::{Cgroup, Hierarchy};

    /// A made-up tree with a group `g`; `(controller, file, text)`.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str, &str)]) -> Fake {
            let root =
                std::env::temp_dir().join(format!("ferry-cgd-{name}-{}", std::process::id()));
            for (controller, file, text) in files {
                let dir = root.join(controller);
                fs::create_dir_all(dir.join("g")).unwrap();
                fs::write(dir.join("cgroup.procs"), "").unwrap();
                fs::write(dir.join("g").join(file), text).unwrap();
            }
            Fake(root)
        }

        fn detail(&self) -> Detail {
            let hierarchy = Hierarchy::detect_at(&self.0).unwrap();
            Cgroup::open(&hierarchy, "g").unwrap().detail()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn version_1_in_detail() {
        let fake = Fake::new(
            "v1",
            &[
                ("cpu", "cpu.shares", "512\n"),
                ("cpu", "cpu.cfs_period_us", "50000\n"),
                ("cpu", "cpu.cfs_quota_us", "20000\n"),
                ("memory", "memory.failcnt", "7\n"),
                ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
                ("memory", "memory.kmem.usage_in_bytes", "4096\n"),
                ("memory", "memory.limit_in_bytes", "67108864\n"),
                ("memory", "memory.soft_limit_in_bytes", "9223372036854771712\n"),
                ("memory", "memory.stat", "cache 1\nswap 5\ntotal_cache 2\ntotal_swap 6\n"),
                ("hugetlb", "hugetlb.2MB.usage_in_bytes", "2097152\n"),
                ("hugetlb", "hugetlb.2MB.max_usage_in_bytes", "4194304\n"),
                ("hugetlb", "hugetlb.2MB.rsvd.usage_in_bytes", "1\n"),
            ],
        );
        let found = fake.detail();
        let limits = Limits {
            cpu_shares: Some(512),
            cpu_period: Some(50_000),
            cpu_quota: Some(20_000),
            memory: Some(64 << 20),
            memory_reservation: Some(u64::MAX),
            memory_swap: None,
        };
        assert_eq!(found.limits, limits);
        assert_eq!((found.memory_hits, found.oom_kills), (Some(7), Some(3)));
        assert_eq!((found.kernel_memory, found.swap), (Some(4096), Some(6)));
        let huge = HugePages { size: "2MB".into(), usage: 2 << 20, peak: Some(4 << 20) };
        assert_eq!(found.huge_pages, [huge]);
        assert_eq!((found.cpu_pressure, found.stats.memory_detail["total_cache"]), (None, 2));

        fs::write(fake.0.join("cpu/g/cpu.cfs_quota_us"), "-1\n").unwrap();
        assert_eq!(fake.detail().limits.cpu_quota, Some(u64::MAX));
    }

    #[test]
    fn version_2_in_detail() {
        let fake = Fake::new(
            "v2",
            &[
                ("", "cpu.weight", "100\n"),
                ("", "cpu.max", "max 100000\n"),
                ("", "cpu.pressure", "some avg10=1.50 avg60=0.20 avg300=0.00 total=2500000\n"),
                (
                    "",
                    "memory.pressure",
                    "some avg10=0.00 avg60=0.00 avg300=0.00 total=9\n\
                     full avg10=0.00 avg60=0.00 avg300=3.25 total=8\n",
                ),
                ("", "memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n"),
                ("", "memory.max", "67108864\n"),
                ("", "memory.low", "0\n"),
                ("", "memory.swap.max", "max\n"),
                ("", "memory.swap.current", "8192\n"),
                ("", "memory.stat", "anon 1\nfile 2\nkernel 3\nkernel_stack 1\n"),
                ("", "hugetlb.1GB.current", "0\n"),
                ("", "hugetlb.2MB.current", "2097152\n"),
            ],
        );
        fs::write(fake.0.join("cgroup.controllers"), "cpu memory hugetlb\n").unwrap();
        let found = fake.detail();
        let limits = Limits {
            cpu_shares: Some(1024),
            cpu_period: Some(100_000),
            cpu_quota: Some(u64::MAX),
            memory: Some(64 << 20),
            memory_reservation: Some(0),
            memory_swap: Some(u64::MAX),
        };
        assert_eq!(found.limits, limits);
        assert_eq!((found.memory_hits, found.oom_kills), (Some(9), Some(1)));
        assert_eq!((found.kernel_memory, found.swap), (Some(3), Some(8192)));
        let some = Stall { total: 2_500_000, averages: [1.5, 0.2, 0.0] };
        assert_eq!(found.cpu_pressure, Some(Pressure { some, full: None }));
        let memory = found.memory_pressure.unwrap();
        let full = Stall { total: 8, averages: [0.0, 0.0, 3.25] };
        assert_eq!((memory.some.total, memory.full), (9, Some(full)));
        assert_eq!(found.io_pressure, None);
        let sizes: Vec<_> =
            found.huge_pages.iter().map(|it| (&*it.size, it.usage, it.peak)).collect();
        assert_eq!(sizes, [("1GB", 0, None), ("2MB", 2 << 20, None)]);

        fs::write(fake.0.join("g/cpu.max"), "20000 50000\n").unwrap();
        let limits = fake.detail().limits;
        assert_eq!((limits.cpu_quota, limits.cpu_period), (Some(20_000), Some(50_000)));
    }

    /// A kernel that keeps nothing of all this.
    #[test]
    fn what_is_not_kept_is_left_out() {
        let fake = Fake::new("bare", &[("pids", "pids.current", "1\n")]);
        let stats = fake.detail().stats;
        assert_eq!(fake.detail(), Detail { stats, ..Detail::default() });
    }
}

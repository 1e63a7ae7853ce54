//! Memory, huge pages among it.

use ferry_engine::{CgroupStats, ops::pod::ContainerFigures};

use super::{super::stats::working_set, Family, Values, one};

pub(super) static FAMILIES: [Family<ContainerFigures>; 13] = [
    Family::gauge("container_memory_usage_bytes", "Memory in use, page cache included.", |it| {
        one(counted(it).map(|stats| stats.memory_usage))
    }),
    Family::gauge("container_memory_max_usage_bytes", "The most memory in use so far.", |it| {
        one(counted(it).map(|stats| stats.memory_peak).filter(|&peak| peak != 0))
    }),
    Family::gauge(
        "container_memory_working_set_bytes",
        "Memory in use without page cache that was not used of late.",
        |it| one(counted(it).map(working_set)),
    ),
    Family::gauge("container_memory_rss", "Memory that is no page cache.", |it| {
        kept(it, &["total_rss", "anon"])
    }),
    Family::gauge("container_memory_cache", "Page cache.", |it| kept(it, &["total_cache", "file"])),
    Family::gauge("container_memory_mapped_file", "Files mapped into memory.", |it| {
        kept(it, &["total_mapped_file", "file_mapped"])
    }),
    Family::gauge("container_memory_kernel_usage", "Memory of the kernel's own.", |it| {
        one(it.usage.kernel_memory)
    }),
    Family::gauge("container_memory_swap", "Memory that was swapped out.", |it| one(it.usage.swap)),
    Family::counter("container_memory_failcnt", "How often memory was at its limit.", |it| {
        one(it.usage.memory_hits)
    }),
    Family::counter(
        "container_memory_failures_total",
        "Page faults, in the container's cgroup and with those below it.",
        faults,
    )
    .by(&["failure_type", "scope"]),
    Family::counter(
        "container_oom_events_total",
        "Processes that the kernel killed for lack of memory.",
        |it| one(it.usage.oom_kills),
    ),
    Family::gauge(
        "container_hugetlb_usage_bytes",
        "Huge pages in use, bytes.",
        |it: &ContainerFigures| {
            it.usage.huge_pages.iter().map(|page| (vec![page.size.clone()], page.usage)).collect()
        },
    )
    .by(&["pagesize"]),
    Family::gauge(
        "container_hugetlb_max_usage_bytes",
        "The most huge pages in use so far, bytes.",
        |it: &ContainerFigures| {
            let pages = it.usage.huge_pages.iter();
            pages.filter_map(|page| Some((vec![page.size.clone()], page.peak?))).collect()
        },
    )
    .by(&["pagesize"]),
];

/// The figures, where the kernel counts memory.
fn counted(it: &ContainerFigures) -> Option<&CgroupStats> {
    Some(&it.usage.stats).filter(|stats| !stats.memory_detail.is_empty())
}

/// The first of these that `memory.stat` has: cgroup v1's name, then v2's.
fn kept(it: &ContainerFigures, names: &[&str]) -> Values {
    let detail = &it.usage.stats.memory_detail;
    one(names.iter().find_map(|name| detail.get(*name)).copied())
}

/// Version 2 counts the groups below always.
fn faults(it: &ContainerFigures) -> Values {
    let detail = &it.usage.stats.memory_detail;
    let mut values = Values::new();
    for (kind, with_below) in [("pgfault", "total_pgfault"), ("pgmajfault", "total_pgmajfault")] {
        let own = detail.get(kind).copied();
        let all = detail.get(with_below).copied().or(own);
        for (scope, value) in [("container", own), ("hierarchy", all)] {
            values.extend(value.map(|value| (vec![kind.to_owned(), scope.to_owned()], value)));
        }
    }
    values
}

//! Processors, what waits for them and for the rest, processes, and times.

use ferry_engine::{CgroupPressure, CgroupStall, ops::pod::ContainerFigures};
use ferry_stdx::time::Timestamp;

use super::{Family, Values, limit, one};

const SECOND: u64 = 1_000_000_000;

pub(super) static FAMILIES: [Family<ContainerFigures>; 20] = [
    Family::counter("container_cpu_usage_seconds_total", "Processor time used, seconds.", |it| {
        let used = seconds(it, it.usage.stats.cpu_total);
        used.into_iter().map(|seconds| (vec!["total".to_owned()], seconds)).collect()
    })
    .by(&["cpu"]),
    Family::counter(
        "container_cpu_user_seconds_total",
        "Processor time used by programs, seconds.",
        |it| one(seconds(it, it.usage.stats.cpu_user)),
    ),
    Family::counter(
        "container_cpu_system_seconds_total",
        "Processor time used by the kernel on behalf of programs, seconds.",
        |it| one(seconds(it, it.usage.stats.cpu_system)),
    ),
    Family::counter(
        "container_cpu_cfs_periods_total",
        "Periods in which the quota of processor time could run out.",
        |it| quota(it, it.usage.stats.periods),
    ),
    Family::counter(
        "container_cpu_cfs_throttled_periods_total",
        "Periods in which the quota of processor time ran out.",
        |it| quota(it, it.usage.stats.throttled_periods),
    ),
    Family::counter(
        "container_cpu_cfs_throttled_seconds_total",
        "Time spent without a processor because the quota had run out, seconds.",
        |it| quota(it, it.usage.stats.throttled_time / SECOND),
    ),
    Family::counter(
        "container_pressure_cpu_stalled_seconds_total",
        "Time in which all tasks waited for a processor, seconds.",
        |it| stalled(it.usage.cpu_pressure),
    ),
    Family::counter(
        "container_pressure_cpu_waiting_seconds_total",
        "Time in which a task waited for a processor, seconds.",
        |it| waiting(it.usage.cpu_pressure),
    ),
    Family::counter(
        "container_pressure_io_stalled_seconds_total",
        "Time in which all tasks waited for devices, seconds.",
        |it| stalled(it.usage.io_pressure),
    ),
    Family::counter(
        "container_pressure_io_waiting_seconds_total",
        "Time in which a task waited for devices, seconds.",
        |it| waiting(it.usage.io_pressure),
    ),
    Family::counter(
        "container_pressure_memory_stalled_seconds_total",
        "Time in which all tasks waited for memory, seconds.",
        |it| stalled(it.usage.memory_pressure),
    ),
    Family::counter(
        "container_pressure_memory_waiting_seconds_total",
        "Time in which a task waited for memory, seconds.",
        |it| waiting(it.usage.memory_pressure),
    ),
    Family::gauge("container_processes", "Processes.", |it| one(it.processes.count)),
    Family::gauge("container_threads", "Threads of all processes.", |it| {
        one(Some(it.usage.stats.pids).filter(|&tasks| tasks != 0))
    }),
    Family::gauge("container_threads_max", "Threads that there may be; 0 without limit.", |it| {
        limit(Some(it.usage.stats.pids_limit).filter(|_| it.usage.stats.pids != 0))
    }),
    Family::gauge("container_file_descriptors", "Open files of all processes.", |it| {
        one(it.processes.descriptors)
    }),
    Family::gauge("container_sockets", "Open sockets of all processes.", |it| {
        one(it.processes.sockets)
    }),
    Family::gauge(
        "container_ulimits_soft",
        "Soft limits of the first process; one that has no limit is left out.",
        |it: &ContainerFigures| {
            let files = it.processes.descriptors_max;
            files.into_iter().map(|most| (vec!["max_open_files".to_owned()], most)).collect()
        },
    )
    .by(&["ulimit"]),
    Family::gauge("container_last_seen", "When this was read, seconds since 1970.", |it| {
        one(since_1970(it.read))
    }),
    Family::gauge(
        "container_start_time_seconds",
        "When the container was started, seconds since 1970.",
        |it| one(it.container.state.started_at.and_then(since_1970)),
    ),
];

/// What runs has used some processor time: there is none where the kernel does not count.
fn seconds(it: &ContainerFigures, nanos: u64) -> Option<u64> {
    (it.usage.stats.cpu_total != 0).then_some(nanos / SECOND)
}

/// A kernel that has quotas has a period.
fn quota(it: &ContainerFigures, value: u64) -> Values {
    one(it.usage.limits.cpu_period.map(|_| value))
}

fn waiting(pressure: Option<CgroupPressure>) -> Values {
    one(pressure.map(|it| whole_seconds(it.some)))
}

fn stalled(pressure: Option<CgroupPressure>) -> Values {
    one(pressure.and_then(|it| it.full).map(whole_seconds))
}

fn whole_seconds(stall: CgroupStall) -> u64 {
    stall.total / 1_000_000
}

fn since_1970(moment: Timestamp) -> Option<u64> {
    u64::try_from(moment.seconds()).ok()
}

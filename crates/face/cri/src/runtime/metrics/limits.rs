//! What a container may use.

use ferry_engine::ops::pod::ContainerFigures;

use super::{Family, limit, one};

pub(super) static FAMILIES: [Family<ContainerFigures>; 6] = [
    Family::gauge("container_spec_cpu_period", "A period of processor time, microseconds.", |it| {
        one(it.usage.limits.cpu_period)
    }),
    Family::gauge(
        "container_spec_cpu_quota",
        "Processor time in a period, microseconds; left out without limit.",
        |it| one(it.usage.limits.cpu_quota.filter(|&quota| quota != u64::MAX)),
    ),
    Family::gauge("container_spec_cpu_shares", "Part of processors that are busy.", |it| {
        one(it.usage.limits.cpu_shares)
    }),
    Family::gauge(
        "container_spec_memory_limit_bytes",
        "Memory that may be used; 0 without limit.",
        |it| limit(it.usage.limits.memory),
    ),
    Family::gauge(
        "container_spec_memory_reservation_limit_bytes",
        "Memory that is kept when it is short; 0 without.",
        |it| limit(it.usage.limits.memory_reservation),
    ),
    Family::gauge(
        "container_spec_memory_swap_limit_bytes",
        "Swap that may be used, with cgroup v1 together with memory; 0 without limit.",
        |it| limit(it.usage.limits.memory_swap),
    ),
];

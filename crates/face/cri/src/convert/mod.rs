//! Between CRI's messages and the engine's nouns. What cannot be honoured is refused here, by name.

pub(crate) mod container;
pub(crate) mod ids;
pub(crate) mod image;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod status;

use std::collections::BTreeMap;

use ferry_model::container::Resources;
use tonic::Status;

use crate::{answer::invalid, api};

/// Limits as the engine has them. No word on swap means none beyond the memory.
pub(crate) fn resources(limits: &api::LinuxContainerResources) -> Result<Resources, Status> {
    let api::LinuxContainerResources {
        cpu_period,
        cpu_quota,
        cpu_shares,
        memory_limit_in_bytes,
        oom_score_adj: _,
        cpuset_cpus,
        cpuset_mems,
        // In the pod's part of a new container, and in updates.
        hugepage_limits: _,
        unified: _,
        memory_swap_limit_in_bytes,
    } = limits;
    let memory = (*memory_limit_in_bytes).max(0);
    Ok(Resources {
        cpu_period: *cpu_period,
        cpu_quota: *cpu_quota,
        cpu_shares: *cpu_shares,
        memory,
        memory_swap: match *memory_swap_limit_in_bytes {
            0 => memory,
            swap => swap,
        },
        cpuset_cpus: cpuset_cpus.clone(),
        cpuset_mems: cpuset_mems.clone(),
        ..Resources::default()
    })
}

/// Limits of huge pages by their size; 0 is no word on it.
pub(crate) fn hugepages(limits: &api::LinuxContainerResources) -> BTreeMap<String, u64> {
    let given = limits.hugepage_limits.iter().filter(|page| page.limit > 0);
    given.map(|page| (page.page_size.clone(), page.limit)).collect()
}

/// A part of a message that must be there.
pub(crate) fn required<T>(part: Option<T>, name: &str) -> Result<T, Status> {
    part.ok_or_else(|| invalid(format!("{name} is required")))
}

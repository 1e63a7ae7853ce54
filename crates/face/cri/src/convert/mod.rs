//! Between CRI's messages and the engine's nouns. What cannot be honoured is refused here, by name.

pub(crate) mod container;
pub(crate) mod image;
pub(crate) mod sandbox;
pub(crate) mod security;
pub(crate) mod status;

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
        hugepage_limits: _,
        // In the pod's part of a new container; refused in updates.
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

/// A field that Ferry does not honour yet.
pub(crate) fn unsupported(field: &str) -> Status {
    Status::unimplemented(format!("{field} is not supported"))
}

/// A part of a message that must be there.
pub(crate) fn required<T>(part: Option<T>, name: &str) -> Result<T, Status> {
    part.ok_or_else(|| invalid(format!("{name} is required")))
}

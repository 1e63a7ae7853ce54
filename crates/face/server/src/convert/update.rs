//! Container update: `UpdateConfig` to `UpdateContainer`.

use ferry_docker_api::UpdateConfig;
use ferry_errkind::Failure;
use ferry_model::container::{Resources, UpdateContainer};

use super::{host_in, resources};

/// What to change, and what the user should know.
pub(crate) fn request(wire: UpdateConfig) -> Result<(UpdateContainer, Vec<String>), Failure> {
    let UpdateConfig { resources: limits, restart_policy } = wire;
    let mut warnings = Vec::new();
    let (memory_swap, pids_limit) = (limits.memory_swap, limits.pids_limit);
    let resources = Resources {
        // What is 0 here stays as it is, whatever it means at create.
        memory_swap,
        pids_limit: pids_limit.map(|limit| limit.max(0)),
        // Removed in 1.42, and there is no kernel left that has it.
        kernel_memory: 0,
        ..resources::limits(limits, &mut warnings)?
    };
    let restart_policy = match restart_policy.name.as_str() {
        "" => None,
        _ => Some(host_in::parse_restart(&restart_policy)?),
    };
    Ok((UpdateContainer { resources, restart_policy, ..UpdateContainer::default() }, warnings))
}

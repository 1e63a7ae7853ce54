//! `update`: new limits over those that a container has, by Docker's rules (moby's `UpdateContainer`).

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::container::{HostSettings, Resources, RestartPolicy, UpdateContainer};
use ferry_oci::runtime::{LinuxPids, LinuxResources};

use crate::{
    resources,
    spec::{DeviceNumbers, SpecError},
};

/// What a container was given before does not go with what it shall be given now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the words say it")]
pub enum UpdateError {
    #[error("Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set")]
    NanoCpusAfterPeriod,
    #[error("Conflicting options: Nano CPUs cannot be updated as CPU Quota has already been set")]
    NanoCpusAfterQuota,
    #[error("Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set")]
    PeriodAfterNanoCpus,
    #[error("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set")]
    QuotaAfterNanoCpus,
    #[error(
        "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time"
    )]
    MemoryAboveSwap,
    #[error("Restart policy cannot be updated because AutoRemove is enabled for the container")]
    RestartOfAutoRemove,
}

impl Kinded for UpdateError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }
}

/// Changes `host`; zeros and empty texts leave a setting alone.
///
/// # Errors
/// What is asked does not go with what is there: then `host` is as it was.
pub fn apply_update(host: &mut HostSettings, update: &UpdateContainer) -> Result<(), UpdateError> {
    let new = &update.resources;
    check(&host.resources, new)?;
    if let Some(policy) = update.restart_policy {
        if host.auto_remove && policy != RestartPolicy::Never {
            return Err(UpdateError::RestartOfAutoRemove);
        }
        host.restart_policy = policy;
    }
    let own = &mut host.resources;
    let numbers = [
        (&mut own.cpu_shares, new.cpu_shares),
        (&mut own.nano_cpus, new.nano_cpus),
        (&mut own.cpu_period, new.cpu_period),
        (&mut own.cpu_quota, new.cpu_quota),
        (&mut own.cpu_realtime_period, new.cpu_realtime_period),
        (&mut own.cpu_realtime_runtime, new.cpu_realtime_runtime),
        (&mut own.memory, new.memory),
        (&mut own.memory_swap, new.memory_swap),
        (&mut own.memory_reservation, new.memory_reservation),
    ];
    for (own, new) in numbers.into_iter().filter(|(_, new)| *new != 0) {
        *own = new;
    }
    for (own, new) in
        [(&mut own.cpuset_cpus, &new.cpuset_cpus), (&mut own.cpuset_mems, &new.cpuset_mems)]
    {
        if !new.is_empty() {
            own.clone_from(new);
        }
    }
    if new.blkio_weight != 0 {
        own.blkio_weight = new.blkio_weight;
    }
    own.pids_limit = new.pids_limit.or(own.pids_limit);
    Ok(())
}

fn check(own: &Resources, new: &Resources) -> Result<(), UpdateError> {
    if new.nano_cpus > 0 && own.cpu_period > 0 {
        return Err(UpdateError::NanoCpusAfterPeriod);
    }
    if new.nano_cpus > 0 && own.cpu_quota > 0 {
        return Err(UpdateError::NanoCpusAfterQuota);
    }
    if new.cpu_period > 0 && own.nano_cpus > 0 {
        return Err(UpdateError::PeriodAfterNanoCpus);
    }
    if new.cpu_quota > 0 && own.nano_cpus > 0 {
        return Err(UpdateError::QuotaAfterNanoCpus);
    }
    // Docker compares with "unlimited" (-1), too.
    if new.memory != 0 && new.memory > own.memory_swap && new.memory_swap == 0 {
        return Err(UpdateError::MemoryAboveSwap);
    }
    Ok(())
}

/// The limits to set in the cgroup of a container that runs. `resources` is everything that it may use now, since version 2
/// counts swap without memory and so needs both.
///
/// # Errors
/// A device that a rate is for is gone.
pub fn plan_update(
    resources: &Resources,
    update: &UpdateContainer,
    numbers: DeviceNumbers<'_>,
) -> Result<LinuxResources, SpecError> {
    let lifted = update.resources.pids_limit.is_some_and(|limit| limit <= 0);
    let mut limits = resources::plan_limits(resources, numbers)?;
    if lifted {
        limits.pids = Some(LinuxPids { limit: -1 });
    }
    if let Some(memory) = &mut limits.memory
        && resources.memory_swap == 0
    {
        // At create, no word on swap means as much again. Here it was said before, or never.
        memory.swap = None;
    }
    Ok(limits)
}

/// Checks `--cpuset-cpus` or `--cpuset-mems` against what the machine has; the error is in Docker's words.
///
/// # Errors
/// The list does not read, or names what is not there.
pub fn check_cpuset(kind: CpusetKind, wanted: &str, available: &str) -> Result<(), String> {
    let read = |text: &str| {
        parse_list(text).map_err(|part| {
            format!("Invalid value {text} for cpuset {}: invalid format: {part}", kind.short())
        })
    };
    let (wanted_set, there) = (read(wanted)?, read(available)?);
    if wanted_set.iter().all(|&(first, last)| (first..=last).all(|one| contains(&there, one))) {
        return Ok(());
    }
    Err(format!(
        "Requested {} are not available - requested {wanted}, available: {available}",
        kind.long()
    ))
}

/// What a cpuset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CpusetKind {
    /// Processors.
    Cpus,
    /// Memory nodes.
    Mems,
}

impl CpusetKind {
    fn short(self) -> &'static str {
        match self {
            CpusetKind::Cpus => "cpus",
            CpusetKind::Mems => "mems",
        }
    }

    fn long(self) -> &'static str {
        match self {
            CpusetKind::Cpus => "CPUs",
            CpusetKind::Mems => "memory nodes",
        }
    }
}

/// Docker's limit of numbers in such lists.
const MOST: u32 = 8191;

/// `0-3,5` as ranges; the part that does not read is the error.
fn parse_list(text: &str) -> Result<Vec<(u32, u32)>, &str> {
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |word: &str| word.parse::<u32>().ok().filter(|number| *number <= MOST);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => ranges.push((first, last)),
            _ => return Err(text),
        }
    }
    Ok(ranges)
}

fn contains(ranges: &[(u32, u32)], one: u32) -> bool {
    ranges.iter().any(|&(first, last)| (first..=last).contains(&one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(change: impl FnOnce(&mut Resources)) -> UpdateContainer {
        let mut update = UpdateContainer::default();
        change(&mut update.resources);
        update
    }

    fn limited() -> HostSettings {
        let mut host = HostSettings::default();
        host.resources.memory = 100;
        host.resources.memory_swap = 200;
        host
    }

    #[test]
    fn zero_leaves_alone() {
        let mut host = limited();
        host.resources.pids_limit = Some(5);
        let before = host.clone();
        apply_update(&mut host, &UpdateContainer::default()).unwrap();
        assert_eq!(host, before);
        apply_update(&mut host, &update(|new| new.pids_limit = Some(0))).unwrap();
        assert_eq!(host.resources.pids_limit, Some(0));
    }

    #[test]
    fn memory_and_swap() {
        let mut host = limited();
        assert_eq!(
            apply_update(&mut host, &update(|new| new.memory = 201)),
            Err(UpdateError::MemoryAboveSwap)
        );
        let both = update(|new| (new.memory, new.memory_swap) = (300, -1));
        apply_update(&mut host, &both).unwrap();
        assert_eq!((host.resources.memory, host.resources.memory_swap), (300, -1));
        let plan = plan_update(&host.resources, &both, &|_| unreachable!()).unwrap();
        let memory = plan.memory.unwrap();
        assert_eq!((memory.limit, memory.swap), (Some(300), Some(-1)));
    }

    #[test]
    fn one_way_to_say_cpus() {
        let mut host = HostSettings::default();
        apply_update(&mut host, &update(|new| new.nano_cpus = 1)).unwrap();
        for (change, error) in [
            (update(|new| new.cpu_period = 1), UpdateError::PeriodAfterNanoCpus),
            (update(|new| new.cpu_quota = 1), UpdateError::QuotaAfterNanoCpus),
        ] {
            assert_eq!(apply_update(&mut host, &change), Err(error));
        }
        let mut host = HostSettings::default();
        apply_update(&mut host, &update(|new| new.cpu_quota = 1)).unwrap();
        let again = apply_update(&mut host, &update(|new| new.nano_cpus = 1));
        assert_eq!(again, Err(UpdateError::NanoCpusAfterQuota));
    }

    #[test]
    fn restart_policies_of_what_removes_itself() {
        let mut host = HostSettings { auto_remove: true, ..HostSettings::default() };
        let with = |policy| UpdateContainer { restart_policy: Some(policy), ..Default::default() };
        assert_eq!(
            apply_update(&mut host, &with(RestartPolicy::Always)),
            Err(UpdateError::RestartOfAutoRemove)
        );
        apply_update(&mut host, &with(RestartPolicy::Never)).unwrap();
    }

    #[test]
    fn lifted_limits_are_written() {
        let none = update(|new| new.pids_limit = Some(0));
        let plan = plan_update(&Resources::default(), &none, &|_| unreachable!()).unwrap();
        assert_eq!(plan.pids, Some(LinuxPids { limit: -1 }));
    }

    #[test]
    fn cpusets() {
        let check = |wanted| check_cpuset(CpusetKind::Cpus, wanted, "0-1,4");
        assert_eq!(check("0,4"), Ok(()));
        assert_eq!(check("0-1"), Ok(()));
        assert_eq!(
            check("0-2").unwrap_err(),
            "Requested CPUs are not available - requested 0-2, available: 0-1,4"
        );
        assert_eq!(check("x").unwrap_err(), "Invalid value x for cpuset cpus: invalid format: x");
        for odd in ["3-1", "1,", "99999", "-1"] {
            assert!(check(odd).is_err(), "{odd}");
        }
    }
}

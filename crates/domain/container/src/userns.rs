//! User namespaces: which ids of the host a container's ids are, and what cannot go together with one.

use ferry_errkind::{ErrorKind, Kinded};
pub use ferry_model::container::IdMaps;
use ferry_model::container::{HostSettings, ID_RANGE as RANGE, NetworkMode, PidMode};
use ferry_oci::runtime::LinuxIdMapping;

use crate::spec::Namespace;

/// Where ranges of containers with `--userns=auto` begin: above those that distributions and systemd give away.
const FIRST_AUTO: u32 = 0x7000_0000;

/// How many such ranges there are below 2^31.
const AUTO_RANGES: u32 = 4096;

/// The user namespace of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserNamespace {
    /// A new one, or one that exists.
    pub from: Namespace,
    /// Its maps.
    pub maps: IdMaps,
}

/// What a user namespace cannot be combined with. Docker's words (moby `daemon/container_unix.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserNamespaceConflict {
    /// Rights over the machine that root of the namespace does not have.
    #[error(
        "privileged mode is incompatible with user namespaces.  You must run the container in the host namespace when running privileged mode"
    )]
    Privileged,
    /// A network namespace that root of the namespace does not own.
    #[error("cannot share the host's network namespace when user namespaces are enabled")]
    HostNetwork,
    /// Processes of others.
    #[error("cannot share the host PID namespace when user namespaces are enabled")]
    HostPid,
}

impl Kinded for UserNamespaceConflict {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Checks the settings of a container that is to have a user namespace.
///
/// # Errors
/// The first setting that cannot be had there.
pub fn check_user_namespace(host: &HostSettings) -> Result<(), UserNamespaceConflict> {
    if host.privileged {
        return Err(UserNamespaceConflict::Privileged);
    }
    if host.network_mode == NetworkMode::Host {
        return Err(UserNamespaceConflict::HostNetwork);
    }
    if host.pid_mode == PidMode::Host {
        return Err(UserNamespaceConflict::HostPid);
    }
    Ok(())
}

/// The first id of a range for `--userns=auto` that none of `taken` begins with; the search begins at a place that `seed`
/// names. `None` when all 4096 are in use.
pub fn free_range(seed: u32, taken: &dyn Fn(u32) -> bool) -> Option<u32> {
    let candidate = |step: u32| FIRST_AUTO + (seed.wrapping_add(step) % AUTO_RANGES) * RANGE;
    (0..AUTO_RANGES).map(candidate).find(|first| !taken(*first))
}

/// The ranges that a file such as `/etc/subuid` (subuid(5): `name:first:count`) gives to a name or a numeric id.
/// Lines that do not read are skipped, as shadow's own tools do.
pub fn subordinate_ranges(text: &str, name: &str, id: Option<u32>) -> Vec<LinuxIdMapping> {
    let number: Option<u32> = id.or_else(|| name.parse().ok());
    let mut inside = 0_u32;
    let mut maps = Vec::new();
    for (owner, first, count) in text.lines().filter_map(subordinate_line) {
        let by_number = number.is_some_and(|number| owner.parse() == Ok(number));
        if owner != name && !by_number {
            continue;
        }
        let Some(next) = inside.checked_add(count) else { break };
        maps.push(LinuxIdMapping { container_id: inside, host_id: first, size: count });
        inside = next;
    }
    maps
}

/// The first id from 100000 on, at a multiple of 65536, above everything that these files give away.
pub fn unclaimed_range(files: &[&str]) -> u32 {
    let ends = files.iter().flat_map(|text| text.lines()).filter_map(subordinate_line);
    let end = ends.map(|(_, first, count)| first.saturating_add(count)).max().unwrap_or(0);
    end.max(100_000).div_ceil(RANGE).saturating_mul(RANGE)
}

fn subordinate_line(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.trim().split(':');
    let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
    let (first, count) = (first.parse().ok()?, count.parse().ok()?);
    (count > 0 && !owner.is_empty() && fields.next().is_none()).then_some((owner, first, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# none\ndev:100000:65536\n1000:300000:10\ndev:500000:5\nbroken:1\nx:0:0\n";

    fn triples(maps: &[LinuxIdMapping]) -> Vec<(u32, u32, u32)> {
        maps.iter().map(|map| (map.container_id, map.host_id, map.size)).collect()
    }

    #[test]
    fn a_user_has_all_ranges_of_its_name_and_number_one_after_the_other() {
        let dev = subordinate_ranges(FILE, "dev", None);
        assert_eq!(triples(&dev), [(0, 100_000, 65_536), (65_536, 500_000, 5)]);
        assert_eq!(triples(&subordinate_ranges(FILE, "joe", Some(1000))), [(0, 300_000, 10)]);
        assert_eq!(triples(&subordinate_ranges(FILE, "1000", None)), [(0, 300_000, 10)]);
        assert!(subordinate_ranges(FILE, "x", None).is_empty());
        assert!(subordinate_ranges(FILE, "nobody", None).is_empty());
    }

    #[test]
    fn an_unclaimed_range_is_above_all_others() {
        assert_eq!(unclaimed_range(&["", ""]), 131_072);
        assert_eq!(unclaimed_range(&[FILE]), 524_288);
    }

    #[test]
    fn ranges_of_containers_do_not_meet() {
        let first = free_range(7, &|_| false).unwrap();
        let second = free_range(7, &|taken| taken == first).unwrap();
        assert_eq!(second - first, RANGE);
        assert_eq!(free_range(0, &|_| true), None);
        assert!(
            free_range(u32::MAX, &|_| false).unwrap().checked_add(RANGE - 1).unwrap() < 1 << 31
        );
    }
}

//! Ids as a container sees them and as the host does, for trees that are reached past the container's own mounts.

/// The id that the kernel shows for one that is not mapped (`/proc/sys/fs/overflowuid`).
const NOBODY: u32 = 65_534;

/// A range: its first id in the container, its first on the host, how many.
pub type IdRange = (u32, u32, u32);

/// How a user namespace translates ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdShift {
    /// User ids.
    pub users: Vec<IdRange>,
    /// Group ids.
    pub groups: Vec<IdRange>,
}

impl IdShift {
    /// The host's user and group for a container's; `None` if one of them is not mapped.
    pub fn to_host(&self, (user, group): (u32, u32)) -> Option<(u32, u32)> {
        let find = |ranges: &[IdRange], id: u32| {
            let range = ranges.iter().find(|(inside, _, count)| id.wrapping_sub(*inside) < *count);
            range.map(|(inside, outside, _)| outside + (id - inside))
        };
        Some((find(&self.users, user)?, find(&self.groups, group)?))
    }

    /// A container's user and group for the host's; the kernel's "nobody" for one that is not mapped.
    pub fn to_container(&self, (user, group): (u32, u32)) -> (u32, u32) {
        let find = |ranges: &[IdRange], id: u32| {
            let range =
                ranges.iter().find(|(_, outside, count)| id.wrapping_sub(*outside) < *count);
            range.map_or(NOBODY, |(inside, outside, _)| inside + (id - outside))
        };
        (find(&self.users, user), find(&self.groups, group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_there_and_back() {
        let ranges = vec![(0, 100_000, 1000), (1000, 500_000, 10)];
        let shift = IdShift { users: ranges.clone(), groups: ranges };
        for (inside, outside) in
            [((0, 999), (100_000, 100_999)), ((1000, 1009), (500_000, 500_009))]
        {
            assert_eq!(shift.to_host(inside), Some(outside));
            assert_eq!(shift.to_container(outside), inside);
        }
        assert_eq!(shift.to_host((1010, 0)), None);
        assert_eq!(shift.to_container((0, 100_000)), (NOBODY, 0));
    }
}

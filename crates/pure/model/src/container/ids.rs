//! Which ids of the host stand for the ids that a container or a mount shows.

use ferry_oci::runtime::LinuxIdMapping;
use serde::{Deserialize, Serialize};

/// Ids of a user namespace that nobody gave a range: as many as a user gets in `/etc/subuid`.
pub const ID_RANGE: u32 = 1 << 16;

/// Ids inside and what they are on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMaps {
    /// User ids.
    pub uids: Vec<LinuxIdMapping>,
    /// Group ids.
    pub gids: Vec<LinuxIdMapping>,
}

impl IdMaps {
    /// 65536 ids from `first` on, for users and groups alike.
    pub fn from_first(first: u32) -> IdMaps {
        let map = vec![LinuxIdMapping { container_id: 0, host_id: first, size: ID_RANGE }];
        IdMaps { uids: map.clone(), gids: map }
    }
}

//! The commands, by the noun they are about.

mod container;
mod image;
mod network;
mod system;
mod volume;

use crate::framework::Group;

/// All of them. The group without a name has the commands that are at top level only.
pub(crate) static GROUPS: &[Group] =
    &[container::GROUP, image::GROUP, network::GROUP, system::GROUP, volume::GROUP, system::TOP];

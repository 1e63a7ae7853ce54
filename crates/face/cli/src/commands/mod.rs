//! The commands, by the noun they are about.

mod container;

use crate::framework::Group;

/// All of them.
pub(crate) static GROUPS: &[Group] = &[container::GROUP];

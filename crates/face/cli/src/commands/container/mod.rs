//! `docker container`: one file for each command.

mod rename;

use crate::framework::Group;

/// The group.
pub(crate) const GROUP: Group =
    Group { name: "container", short: "Manage containers", commands: COMMANDS };

const COMMANDS: &[crate::framework::Command] = &[rename::COMMAND];

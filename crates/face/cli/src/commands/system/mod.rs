//! `docker system`, and what belongs to no noun: one file for each command.

pub(super) mod cache;
mod completion;
pub(crate) mod credential_helper;
mod df;
mod dial;
mod events;
mod info;
mod inspect;
mod login;
mod names;
mod ourselves;
mod plan;
mod prune;
mod refused;
mod report;
mod search;
mod version;

use crate::framework::Group;

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "system",
    short: "Manage Docker",
    commands: &[df::COMMAND, dial::COMMAND, events::COMMAND, info::COMMAND, prune::COMMAND],
};

/// Commands at top level only.
pub(crate) const TOP: Group = Group {
    name: "",
    short: "",
    commands: &[
        completion::COMMAND,
        inspect::COMMAND,
        login::LOGIN,
        login::LOGOUT,
        names::COMMAND,
        search::COMMAND,
        version::COMMAND,
    ],
};

/// Groups of docker that are not here.
pub(crate) const REFUSED: [Group; 2] = [
    Group { name: "", short: "", commands: &refused::LATER },
    Group { name: "", short: "", commands: &refused::SWARM },
];

//! `docker network`: one file for each command.

mod connect;
mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

use ferry_client::path_segment;

use crate::framework::Group;

pub(crate) use prune::told;

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "network",
    short: "Manage networks",
    commands: &[
        connect::CONNECT,
        connect::DISCONNECT,
        create::COMMAND,
        inspect::COMMAND,
        ls::COMMAND,
        prune::COMMAND,
        rm::COMMAND,
    ],
};

/// The path of something about a network.
fn path(network: &str, what: &str) -> String {
    format!("/networks/{}{what}", path_segment(network))
}

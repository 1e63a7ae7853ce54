//! `docker volume`: one file for each command.

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
    name: "volume",
    short: "Manage volumes",
    commands: &[create::COMMAND, inspect::COMMAND, ls::COMMAND, prune::COMMAND, rm::COMMAND],
};

/// The path of a volume.
fn path(volume: &str) -> String {
    format!("/volumes/{}", path_segment(volume))
}

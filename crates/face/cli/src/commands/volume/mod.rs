//! `docker volume`: one file for each command.

mod clone;
mod create;
mod export;
mod import;
mod inspect;
mod ls;
mod prune;
mod rename;
mod restore;
mod rm;
mod snapshot;

use ferry_client::path_segment;

use crate::framework::Group;

pub(crate) use prune::told;

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "volume",
    short: "Manage volumes",
    commands: &[
        clone::COMMAND,
        create::COMMAND,
        export::COMMAND,
        import::COMMAND,
        inspect::COMMAND,
        ls::COMMAND,
        prune::COMMAND,
        rename::COMMAND,
        restore::COMMAND,
        rm::COMMAND,
        snapshot::COMMAND,
    ],
};

/// The path of a volume.
fn path(volume: &str) -> String {
    format!("/volumes/{}", path_segment(volume))
}

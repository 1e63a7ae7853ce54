//! `docker image`: one file for each command.

mod history;
mod import;
mod inspect;
mod load;
mod ls;
mod prune;
mod pull;
mod refused;
mod rm;
mod save;
mod tag;

use ferry_client::path_segment;

use crate::framework::Group;

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "image",
    short: "Manage images",
    commands: &[
        refused::BUILD,
        refused::PUSH,
        history::COMMAND,
        import::COMMAND,
        inspect::COMMAND,
        load::COMMAND,
        ls::COMMAND,
        prune::COMMAND,
        pull::COMMAND,
        rm::COMMAND,
        save::COMMAND,
        tag::COMMAND,
    ],
};

/// The path of something about an image.
fn path(image: &str, what: &str) -> String {
    format!("/images/{}{what}", path_segment(image))
}

//! `docker context`: named daemons.

mod archive;
mod create;
mod inspect;
mod ls;
mod rm;
mod store;
mod switch;

use crate::framework::Group;

pub(crate) use store::{current_field, names};

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "context",
    short: "Manage contexts",
    commands: &[
        create::CREATE,
        archive::EXPORT,
        archive::IMPORT,
        inspect::COMMAND,
        ls::COMMAND,
        rm::COMMAND,
        switch::SHOW,
        create::UPDATE,
        switch::USE,
    ],
};

//! `docker context`: named daemons.

mod create;
mod inspect;
mod ls;
mod rm;
mod store;
mod switch;

use crate::framework::{Args, Cli, CliError, Command, Group, Matches, Outcome};

pub(crate) use store::{current_field, names};

/// The group.
pub(crate) const GROUP: Group = Group {
    name: "context",
    short: "Manage contexts",
    commands: &[
        create::CREATE,
        EXPORT,
        IMPORT,
        inspect::COMMAND,
        ls::COMMAND,
        rm::COMMAND,
        switch::SHOW,
        create::UPDATE,
        switch::USE,
    ],
};

const EXPORT: Command = Command {
    name: "export",
    short: "Export a context to a tar archive FILE or a tar stream on STDOUT.",
    usage: "[OPTIONS] CONTEXT [FILE|-]",
    args: Args::Between(1, 2),
    hidden: true,
    run: refused,
    ..Command::NEW
};

const IMPORT: Command = Command {
    name: "import",
    short: "Import a context from a tar or zip file",
    usage: "CONTEXT FILE|-",
    args: Args::Exactly(2),
    hidden: true,
    run: refused,
    ..Command::NEW
};

fn refused(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path())))
}

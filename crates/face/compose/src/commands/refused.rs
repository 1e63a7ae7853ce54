//! Commands of Docker Compose that this program does not have: they are told by name, not taken for mistakes of the user's.

use ferry_cli::face::{Args, CliError, Command};

use super::{DRY, Verb};

pub(super) static BRIDGE: Verb = Verb {
    command: Command {
        name: "bridge",
        short: "Convert compose files into another model",
        usage: "[OPTIONS] COMMAND",
        args: Args::Any,
        flags: &[DRY],
        hidden: true,
        interspersed: false,
        ..Command::NEW
    },
    run: |_, _| Err(CliError::new("not supported yet: compose bridge")),
};

//! Commands of docker that are not here, refused by name: better than to be called unknown.

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

/// Not here yet.
pub(super) const LATER: [Command; 3] =
    [refused("checkpoint", later), refused("plugin", later), refused("trust", later)];

/// Of Swarm, which nobody plans.
pub(super) const SWARM: [Command; 6] = [
    refused("config", swarm),
    refused("node", swarm),
    refused("secret", swarm),
    refused("service", swarm),
    refused("stack", swarm),
    refused("swarm", swarm),
];

const fn refused(name: &'static str, run: fn(&Cli, &Matches) -> Outcome) -> Command {
    Command {
        name,
        top: Some(name),
        hidden: true,
        interspersed: false,
        args: Args::Any,
        run,
        ..Command::NEW
    }
}

fn later(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path())))
}

fn swarm(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported: {} (there is no Swarm here)", cli.path())))
}

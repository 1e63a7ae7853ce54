//! `docker search`, which only Docker Hub understands.

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "search",
    top: Some("search"),
    short: "Search Docker Hub for images",
    usage: "[OPTIONS] TERM",
    common: Some(9),
    interspersed: false,
    args: Args::Any,
    run,
    ..Command::NEW
};

fn run(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("'{} search' is not supported yet", cli.program()))
        .with_hint("search at https://hub.docker.com"))
}

//! `docker pause`.

use super::{each, path};
use crate::framework::{Args, Cli, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "pause",
    top: Some("pause"),
    short: "Pause all processes within one or more containers",
    usage: "CONTAINER [CONTAINER...]",
    aliases_help: "docker container pause, docker pause",
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    each(
        cli,
        matches,
        |client, name| async move { client.post(path(&name, "/pause")).done().await },
    )
}

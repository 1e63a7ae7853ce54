//! `docker kill`.

use super::{each, path};
use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "kill",
    top: Some("kill"),
    short: "Kill one or more running containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    aliases_help: "docker container kill, docker kill",
    flags: FLAGS,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[Flag::string("signal", "Signal to send to the container").short('s')];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let signal = matches.text("signal");
    each(cli, matches, |client, name| {
        let call = client.post(path(&name, "/kill")).query_if(!signal.is_empty(), "signal", signal);
        call.done()
    })
}

//! `docker volume inspect`.

use super::path;
use crate::{
    format::{inspect, structures},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "inspect",
    short: "Display detailed information on one or more volumes",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("format", "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").short('f'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    inspect::show(cli, matches.text("format"), matches.args(), |name| {
        let call = cli.client()?.get(path(name));
        Ok(inspect::fetch(cli, call, structures::TYPED_VOLUME)?)
    })
}

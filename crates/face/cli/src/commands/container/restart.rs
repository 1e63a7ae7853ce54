//! `docker restart`.

use super::{each, path};
use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "restart",
    top: Some("restart"),
    short: "Restart one or more containers",
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    aliases_help: "docker container restart, docker restart",
    flags: FLAGS,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string("signal", "Signal to send to the container").short('s'),
    Flag::int("timeout", "Seconds to wait before killing the container").short('t'),
    Flag::int("time", "Seconds to wait before killing the container (deprecated: use --timeout)")
        .same_as("timeout")
        .deprecated("use --timeout instead"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let signal = matches.text("signal");
    each(cli, matches, |client, name| {
        let call = client
            .post(path(&name, "/restart"))
            .query_if(!signal.is_empty(), "signal", signal)
            .query_if(matches.is_set("timeout"), "t", matches.int("timeout"));
        call.done()
    })
}

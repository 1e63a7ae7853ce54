//! `docker network rm`.

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    aliases: &["remove"],
    short: "Remove one or more networks",
    usage: "NETWORK [NETWORK...]",
    aliases_help: "docker network rm, docker network remove",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] =
    &[Flag::bool("force", "Do not error if the network does not exist").short('f')];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut failed = false;
    for name in matches.args() {
        match cli.wait(client.delete(path(name, "")).done()) {
            Ok(()) => cli.println(name)?,
            Err(error) if matches.flag("force") && error.is_not_found() => {}
            Err(error) => {
                failed = true;
                cli.warn(CliError::from(error).message());
            }
        }
    }
    // As docker, which says this behind the reasons.
    if failed { Err(CliError::new("exit status 1")) } else { Ok(0) }
}

//! `docker volume rm`.

use super::path;
use crate::framework::{Args, Cli, Command, Failures, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rm",
    aliases: &["remove"],
    short: "Remove one or more volumes",
    long: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    aliases_help: "docker volume rm, docker volume remove",
    args: Args::AtLeast(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] =
    &[Flag::bool("force", "Force the removal of one or more volumes").short('f')];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let mut failures = Failures::default();
    for name in matches.args() {
        let call = client.delete(path(name)).query_if(matches.flag("force"), "force", 1);
        match cli.wait(call.done()) {
            Ok(()) => cli.println(name)?,
            Err(error) => failures.push(error),
        }
    }
    failures.outcome()
}

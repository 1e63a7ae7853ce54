//! `ferry volume rename`: beyond Docker.

use super::path;
use crate::framework::{Args, Cli, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rename",
    short: "Give a volume that no container has another name (beyond Docker)",
    usage: "VOLUME NEW_NAME",
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let call = client.post(path(matches.arg(0)) + "/rename").query("name", matches.arg(1));
    cli.wait(call.done())?;
    Ok(0)
}

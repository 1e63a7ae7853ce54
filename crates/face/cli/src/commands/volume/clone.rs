//! `ferry volume clone`: beyond Docker.

use ferry_docker_api::Volume;

use super::path;
use crate::framework::{Args, Cli, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "clone",
    short: "Make a volume with the content of another (beyond Docker)",
    long: "Make a volume with the content of another. Where the file system can, both share what neither has changed. Containers that may write to the volume stand still for the moment it takes.",
    usage: "VOLUME NEW_VOLUME",
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let call = client.post(path(matches.arg(0)) + "/clone").query("name", matches.arg(1));
    let volume: Volume = cli.wait(call.json())?;
    cli.println(&volume.name)?;
    Ok(0)
}

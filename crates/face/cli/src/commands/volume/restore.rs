//! `ferry volume restore`: beyond Docker.

use super::path;
use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "restore",
    short: "Put a snapshot in the place of a volume's content (beyond Docker)",
    long: "Put a snapshot in the place of a volume's content, which is lost. No container may be running on the volume. The snapshot stays.",
    usage: "[OPTIONS] VOLUME SNAPSHOT",
    flags: &[Flag::bool("force", "Do not prompt for confirmation").short('f')],
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (volume, snapshot) = (matches.arg(0), matches.arg(1));
    let question = format!(
        "WARNING! What is in volume {volume} now will be lost.\nAre you sure you want to continue?"
    );
    if !matches.flag("force") && !cli.confirm(&question)? {
        return Ok(0);
    }
    let client = cli.client()?;
    cli.wait(client.post(path(volume) + "/restore").query("name", snapshot).done())?;
    cli.println(volume)?;
    Ok(0)
}

//! `ferry volume snapshot`: beyond Docker.

use ferry_docker_api::VolumeSnapshot;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "snapshot",
    short: "Keep a volume's content as it is now (beyond Docker)",
    long: "Keep a volume's content as it is now. Where the file system can, the snapshot takes no room for what does not change. Containers that may write to the volume stand still for the moment it takes. Snapshots go with their volume.",
    usage: "[OPTIONS] VOLUME [SNAPSHOT]",
    flags: &[
        Flag::bool("ls", "List the volume's snapshots, the oldest first"),
        Flag::bool("rm", "Remove the snapshot instead"),
    ],
    args: Args::Between(1, 2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (volume, name) = (matches.arg(0), matches.arg(1));
    let client = cli.client()?;
    let place = path(volume) + "/snapshots";
    match (matches.flag("ls"), matches.flag("rm"), name) {
        (true, true, _) => {
            return Err(CliError::new("conflicting options: cannot specify both --ls and --rm"));
        }
        (true, false, "") => {
            let found: Vec<VolumeSnapshot> = cli.wait(client.get(place).json())?;
            for snapshot in found {
                cli.println(&format!("{}  {}", snapshot.created_at, snapshot.name))?;
            }
        }
        (true, false, _) => return Err(CliError::new("--ls takes a volume and no snapshot")),
        (false, true, "") => return Err(CliError::new("--rm needs the name of a snapshot")),
        (false, true, name) => {
            cli.wait(client.delete(place).query("name", name).done())?;
            cli.println(name)?;
        }
        (false, false, name) => {
            let call = client.post(place).query_if(!name.is_empty(), "name", name);
            let made: VolumeSnapshot = cli.wait(call.json())?;
            cli.println(&made.name)?;
        }
    }
    Ok(0)
}

//! `ferry volume import`: beyond Docker.

use ferry_docker_api::Volume;

use super::path;
use crate::{
    framework::{Args, Cli, Command, Matches, Outcome},
    run::upload,
};

pub(crate) const COMMAND: Command = Command {
    name: "import",
    short: "Make a volume from a tar archive (beyond Docker)",
    usage: "FILE|- NEW_VOLUME",
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let volume: Volume = cli.wait(async {
        let (input, length) = upload::open(matches.arg(0)).await?;
        let call = client.post(path(matches.arg(1)) + "/import");
        Ok::<_, crate::framework::CliError>(
            call.upload("application/x-tar", input, length).json().await?,
        )
    })?;
    cli.println(&volume.name)?;
    Ok(0)
}

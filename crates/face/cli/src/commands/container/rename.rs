//! `docker rename`.

use ferry_client::path_segment;

use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "rename",
    top: Some("rename"),
    short: "Rename a container",
    usage: "CONTAINER NEW_NAME",
    aliases_help: "docker container rename, docker rename",
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (old, new) = (matches.arg(0).trim(), matches.arg(1).trim());
    if old.is_empty() || new.is_empty() {
        return Err(CliError::new("Error: Neither old nor new names may be empty"));
    }
    let call = cli.client()?.post(format!("/containers/{}/rename", path_segment(old)));
    cli.wait(call.query("name", new).done())?;
    Ok(0)
}

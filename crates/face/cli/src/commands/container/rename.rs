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
    let Err(error) = cli.wait(call.query("name", new).done()) else { return Ok(0) };
    cli.warn(&error.to_string());
    let failed = CliError::new(format!("Error: failed to rename container named {old}"));
    Err(match error.hint() {
        Some(hint) => failed.with_hint(hint),
        None => failed,
    })
}

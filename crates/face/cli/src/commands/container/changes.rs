//! `docker diff`.

use ferry_docker_api::FilesystemChange;

use super::path;
use crate::framework::{Args, Cli, CliError, Command, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "diff",
    top: Some("diff"),
    short: "Inspect changes to files or directories on a container's filesystem",
    usage: "CONTAINER",
    aliases_help: "docker container diff, docker diff",
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if matches.arg(0).is_empty() {
        return Err(CliError::new("container name cannot be empty"));
    }
    let client = cli.client()?;
    let changes: Option<Vec<FilesystemChange>> =
        cli.wait(client.get(path(matches.arg(0), "/changes")).json())?;
    let mut text = String::new();
    for change in changes.unwrap_or_default() {
        let kind = match change.kind {
            0 => 'C',
            1 => 'A',
            2 => 'D',
            other => return Err(CliError::new(format!("unknown kind of change: {other}"))),
        };
        text.push_str(&format!("{kind} {}\n", change.path));
    }
    cli.print(&text)?;
    Ok(0)
}

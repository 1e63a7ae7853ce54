//! `docker create`.

use crate::{
    framework::{Args, Cli, Command, Matches, Outcome},
    run::{
        create::{check_pull, check_unsupported, create, with_help},
        options::{CREATE_FLAGS, request},
    },
};

pub(crate) const COMMAND: Command = Command {
    name: "create",
    top: Some("create"),
    short: "Create a new container",
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    aliases_help: "docker container create, docker create",
    flags: CREATE_FLAGS,
    interspersed: false,
    args: Args::AtLeast(1),
    run,
    ..Command::NEW
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let misused = |error| with_help(cli, "create", error).with_code(125);
    check_pull(matches).and_then(|()| check_unsupported(cli, matches)).map_err(misused)?;
    let client = cli.client()?;
    let mut request = request(cli, matches).map_err(misused)?;
    let id = cli.wait(create(cli, client, &mut request, matches))?;
    cli.println(&id)?;
    Ok(0)
}

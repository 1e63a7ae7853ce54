//! `docker cp`.

use crate::{
    copying::{self, Copy},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "cp",
    top: Some("cp"),
    short: "Copy files/folders between a container and the local filesystem",
    long: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    aliases_help: "docker container cp, docker cp",
    flags: FLAGS,
    args: Args::Exactly(2),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("archive", "Archive mode (copy all uid/gid information)").short('a'),
    Flag::bool("follow-link", "Always follow symbol link in SRC_PATH").short('L'),
    Flag::bool("quiet", "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached").short('q'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    for (index, what) in ["source", "destination"].into_iter().enumerate() {
        if matches.arg(index).is_empty() {
            return Err(CliError::new(format!("{what} can not be empty")));
        }
    }
    let (from, source) = copying::split(matches.arg(0));
    let (to, destination) = copying::split(matches.arg(1));
    let quiet = match matches.is_set("quiet") {
        true => matches.flag("quiet"),
        false => !cli.stdout_is_terminal(),
    };
    let copy = |container| Copy {
        container,
        source,
        destination,
        follow_link: matches.flag("follow-link"),
        archive: matches.flag("archive"),
        quiet,
    };
    match (from.is_empty(), to.is_empty()) {
        (false, true) => {
            let client = cli.client()?;
            cli.wait(copying::from_container(cli, client, &copy(from)))?;
        }
        (true, false) => {
            let client = cli.client()?;
            cli.wait(copying::to_container(cli, client, &copy(to)))?;
        }
        (false, false) => {
            return Err(CliError::new("copying between containers is not supported"));
        }
        (true, true) => return Err(CliError::new("must specify at least one container source")),
    }
    Ok(0)
}

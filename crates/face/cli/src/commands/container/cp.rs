//! `docker cp`.

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

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

fn run(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path())))
}

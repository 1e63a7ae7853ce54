//! `docker stats`.

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "stats",
    top: Some("stats"),
    short: "Display a live stream of container(s) resource usage statistics",
    usage: "[OPTIONS] [CONTAINER...]",
    aliases_help: "docker container stats, docker stats",
    flags: FLAGS,
    args: Args::Any,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all containers (default shows just running)").short('a'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("no-stream", "Disable streaming stats and only pull the first result"),
    Flag::bool("no-trunc", "Do not truncate output"),
];

fn run(cli: &Cli, _: &Matches) -> Outcome {
    Err(CliError::new(format!("not supported yet: {}", cli.path())))
}

//! `docker volume ls`.

use ferry_docker_api::VolumeList;

use crate::{
    format::{render, units, volume},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    aliases: &["list"],
    short: "List volumes",
    usage: "[OPTIONS]",
    aliases_help: "docker volume ls, docker volume list",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("cluster", "Display only cluster volumes, and use cluster volume list formatting")
        .hidden(),
    Flag::filter("filter", "Provide filter values (e.g. \"dangling=true\")").short('f'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("quiet", "Only display volume names").short('q'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if matches.flag("cluster") {
        return Err(CliError::new("cluster volumes are not supported: there is no Swarm here"));
    }
    let client = cli.client()?;
    let call = client.get("/volumes").filters(&matches.filters("filter"));
    let list: VolumeList = cli.wait(call.json())?;
    let mut volumes = list.volumes.unwrap_or_default();
    volumes.sort_by_cached_key(|volume| units::natural(&volume.name));
    let quiet = matches.flag("quiet");
    let format = match matches.text("format") {
        "" if quiet => "table".to_owned(),
        "" => cli.config().volumes_format().unwrap_or_else(|| "table".to_owned()),
        format => format.to_owned(),
    };
    let rows: Vec<_> = volumes.iter().map(volume::row).collect();
    cli.print(&render(&volume::KIND, &volume::format(&format, quiet), &rows)?)?;
    Ok(0)
}

//! `docker ps`.

use ferry_docker_api::ContainerSummary;
use ferry_gotemplate::Template;

use crate::{
    format::{
        container::{self, Wants},
        render, rows_fail,
    },
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    top: Some("ps"),
    aliases: &["list", "ps"],
    short: "List containers",
    usage: "[OPTIONS]",
    aliases_help: "docker container ls, docker container list, docker container ps, docker ps",
    common: Some(2),
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all containers (default shows just running)").short('a'),
    Flag::bool("all-namespaces", "Show the containers of Kubernetes' pods, too").beyond_docker(),
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::int("last", "Show n last created containers (includes all states)")
        .short('n')
        .default("-1"),
    Flag::bool("latest", "Show the latest created container (includes all states)").short('l'),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::bool("quiet", "Only display container IDs").short('q'),
    Flag::bool("size", "Display total file sizes").short('s'),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let quiet = matches.flag("quiet");
    let mut format = matches.text("format").to_owned();
    if format.is_empty() {
        format = cli.config().ps_format().unwrap_or_default();
    } else if quiet {
        cli.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    let size = wants_size(matches, &format)?;
    let last = match matches.int("last") {
        -1 if matches.flag("latest") => 1,
        last => last,
    };
    let client = cli.client()?;
    let call = client
        .get("/containers/json")
        .query_if(matches.flag("all"), "all", 1)
        .query_if(matches.flag("all-namespaces"), "all-namespaces", 1)
        .query_if(last > 0, "limit", last)
        .query_if(size, "size", 1)
        .filters(&matches.filters("filter"));
    let containers: Vec<ContainerSummary> = cli.wait(call.json())?;
    let trunc = !matches.flag("no-trunc");
    let format = container::format(&format, quiet, size);
    let wants = Wants::of(&format)?;
    let rows: Vec<_> = containers.iter().map(|one| container::row(one, trunc, &wants)).collect();
    cli.print(&render(&container::KIND, &format, &rows)?)?;
    Ok(0)
}

/// Sizes are counted file by file: only for those who look at them. A format that does not work is found here, too, before
/// the daemon is asked.
fn wants_size(matches: &Matches, format: &str) -> Result<bool, CliError> {
    let asked = matches.flag("size");
    if format.is_empty() {
        return Ok(asked);
    }
    let empty = container::row(&ContainerSummary::default(), false, &Wants::all());
    rows_fail(&container::KIND, format, &empty)?;
    if asked || matches.flag("quiet") || matches.is_set("size") {
        return Ok(asked);
    }
    // `json` alone is a word to this check, as it is to docker.
    Ok(Template::parse(format).is_ok_and(|template| template.mentions("Size")))
}

//! `docker network ls`.

use ferry_docker_api::Network;

use crate::{
    format::{Kind, Row, render, units},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "ls",
    aliases: &["list"],
    short: "List networks",
    usage: "[OPTIONS]",
    aliases_help: "docker network ls, docker network list",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::filter("filter", "Provide filter values (e.g. \"driver=bridge\")").short('f'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("no-trunc", "Do not truncate the output"),
    Flag::bool("quiet", "Only display network IDs").short('q'),
];

const KIND: Kind = Kind {
    name: "*network.networkContext",
    titles: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let call = client.get("/networks").filters(&matches.filters("filter"));
    let mut networks: Vec<Network> = cli.wait(call.json())?;
    networks.sort_by_cached_key(|network| units::natural(&network.name));
    let quiet = matches.flag("quiet");
    let format = match matches.text("format") {
        "" if quiet => "table".to_owned(),
        "" => cli.config().networks_format().unwrap_or_else(|| "table".to_owned()),
        format => format.to_owned(),
    };
    let format = match format.as_str() {
        "table" if quiet => "{{.ID}}",
        "table" => "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
        "raw" if quiet => "network_id: {{.ID}}",
        "raw" => "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
        format => format,
    };
    let trunc = !matches.flag("no-trunc");
    let rows: Vec<Row> = networks.iter().map(|network| row(network, trunc)).collect();
    cli.print(&render(&KIND, format, &rows)?)?;
    Ok(0)
}

fn row(network: &Network, trunc: bool) -> Row {
    Row::default()
        .with("ID", if trunc { units::short(&network.id) } else { &network.id })
        .with("Name", network.name.as_str())
        .with("Driver", network.driver.as_str())
        .with("Scope", network.scope.as_str())
        .with("IPv4", network.enable_ipv4.to_string())
        .with("IPv6", network.enable_ipv6.to_string())
        .with("Internal", network.internal.to_string())
        .with("Labels", units::labels(network.labels.as_ref()))
        .with("CreatedAt", units::go_time_of(&network.created))
        .labelled(network.labels.clone())
}

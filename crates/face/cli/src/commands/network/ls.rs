//! `docker network ls`.

use ferry_docker_api::Network;
use ferry_stdx::time::Timestamp;

use crate::{
    format::{List, Row, show, units},
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
    Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"),
    Flag::bool("no-trunc", "Do not truncate the output"),
    Flag::bool("quiet", "Only display network IDs").short('q'),
];

const LIST: List = List {
    kind: "*network.networkContext",
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
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    raw: "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n",
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let client = cli.client()?;
    let call = client.get("/networks").filters(&matches.filters("filter"));
    let mut networks: Vec<Network> = cli.wait(call.json())?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let full = matches.flag("no-trunc");
    let quiet = matches.flag("quiet");
    let mut format = matches.text("format").to_owned();
    if format.is_empty() && !quiet {
        format = cli.config().networks_format().unwrap_or_default();
    }
    let rows: Vec<Row> = networks.iter().map(|network| row(network, full)).collect();
    let format = match format.as_str() {
        "" | "table" if quiet => "{{.ID}}",
        "raw" if quiet => "network_id: {{.ID}}",
        format => format,
    };
    show(cli, &LIST, format, &rows)?;
    Ok(0)
}

fn row(network: &Network, full: bool) -> Row {
    let labels = network.labels.clone().unwrap_or_default();
    let id = if full { network.id.as_str() } else { units::short(&network.id) };
    let created = Timestamp::parse_rfc3339(&network.created).unwrap_or_default();
    Row {
        labels: labels.clone(),
        ..Row::default()
            .with("CreatedAt", created.format_go_string())
            .with("Driver", network.driver.as_str())
            .with("ID", id)
            .with("IPv4", network.enable_ipv4.to_string())
            .with("IPv6", network.enable_ipv6.to_string())
            .with("Internal", network.internal.to_string())
            .with("Labels", units::labels(labels.iter()))
            .with("Name", network.name.as_str())
            .with("Scope", network.scope.as_str())
    }
}

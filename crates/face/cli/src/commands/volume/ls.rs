//! `docker volume ls`.

use ferry_docker_api::{Volume, VolumeList};
use ferry_stdx::size::format_decimal;

use crate::{
    format::{List, Row, show, units},
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
    Flag::bool("cluster", "Display only cluster volumes, and use cluster volume list formatting"),
    Flag::filter("filter", "Provide filter values (e.g. \"dangling=true\")").short('f'),
    Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"),
    Flag::bool("quiet", "Only display volume names").short('q'),
];

const LIST: List = List {
    kind: "*formatter.volumeContext",
    titles: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
        ("Status", "STATUS"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    raw: "name: {{.Name}}\ndriver: {{.Driver}}\n",
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if matches.flag("cluster") {
        return Err(CliError::new("cluster volumes are not supported: there is no Swarm in ferry"));
    }
    let client = cli.client()?;
    let call = client.get("/volumes").filters(&matches.filters("filter"));
    let list: VolumeList = cli.wait(call.json())?;
    let mut volumes = list.volumes.unwrap_or_default();
    volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let quiet = matches.flag("quiet");
    let mut format = matches.text("format").to_owned();
    if format.is_empty() && !quiet {
        format = cli.config().volumes_format().unwrap_or_default();
    }
    let rows: Vec<Row> = volumes.iter().map(row).collect();
    let format = match format.as_str() {
        "" | "table" if quiet => "{{.Name}}",
        "raw" if quiet => "name: {{.Name}}",
        format => format,
    };
    show(cli, &LIST, format, &rows)?;
    Ok(0)
}

fn row(volume: &Volume) -> Row {
    let labels = volume.labels.clone().unwrap_or_default();
    let (links, size) = match &volume.usage_data {
        Some(usage) => (
            usage.ref_count.to_string(),
            format_decimal(u64::try_from(usage.size).unwrap_or(0)),
        ),
        None => ("N/A".to_owned(), "N/A".to_owned()),
    };
    Row {
        labels: labels.clone(),
        ..Row::default()
            .with("Availability", "N/A")
            .with("Driver", volume.driver.as_str())
            .with("Group", "N/A")
            .with("Labels", units::labels(labels.iter()))
            .with("Links", links)
            .with("Mountpoint", volume.mountpoint.as_str())
            .with("Name", volume.name.as_str())
            .with("Scope", volume.scope.as_str())
            .with("Size", size)
            .with("Status", "N/A")
    }
}

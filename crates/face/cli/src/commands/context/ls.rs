//! `docker context ls`.

use super::{create, store};
use crate::{
    format::{Kind, Row, render},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(super) const COMMAND: Command = Command {
    name: "ls",
    aliases: &["list"],
    short: "List contexts",
    usage: "[OPTIONS]",
    aliases_help: "docker context ls, docker context list",
    args: Args::None,
    flags: &[
        Flag::string(
            "format",
            "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
        ),
        Flag::bool("quiet", "Only show context names").short('q'),
    ],
    run,
    ..Command::NEW
};

const KIND: Kind = Kind {
    name: "*formatter.clientContextContext",
    titles: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Current", "CURRENT"),
        ("Error", "ERROR"),
    ],
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let current = store::current(cli);
    let host = cli.env("DOCKER_HOST").unwrap_or_else(|| create::default_host(cli));
    let mut rows =
        vec![row(store::DEFAULT, "Current DOCKER_HOST based configuration", &host, &current)];
    let all = store::list(cli);
    rows.extend(all.iter().map(|own| row(&own.name, own.description(), own.host(), &current)));
    let format = match matches.text("format") {
        _ if matches.flag("quiet") => "{{.Name}}",
        "" | "table" => {
            "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}"
        }
        format => format,
    };
    cli.print(&render(&KIND, format, &rows)?)?;
    let over = ["FERRY_HOST", "DOCKER_HOST"].into_iter().find(|name| cli.env(name).is_some());
    if let Some(name) = over {
        cli.warn(&format!(
            "Warning: {name} environment variable overrides the active context. To use a context, either set the global --context flag, or unset {name} environment variable."
        ));
    }
    Ok(0)
}

fn row(name: &str, description: &str, host: &str, current: &str) -> Row {
    Row::default()
        .with("Name", name)
        .with("Description", description)
        .with("DockerEndpoint", host)
        .with("Current", name == current)
        .with("Error", "")
}

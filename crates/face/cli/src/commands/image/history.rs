//! `docker history`.

use ferry_docker_api::HistoryItem;
use ferry_stdx::time::Timestamp;

use super::{named_platform_json, path};
use crate::{
    format::{Kind, Row, render, units},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "history",
    top: Some("history"),
    short: "Show the history of an image",
    usage: "[OPTIONS] IMAGE",
    aliases_help: "docker image history, docker history",
    args: Args::Exactly(1),
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("human", "Print sizes and dates in human readable format")
        .short('H')
        .default("true"),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::string(
        "platform",
        "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
    ),
    Flag::bool("quiet", "Only show image IDs").short('q'),
];

const KIND: Kind = Kind {
    name: "*image.historyContext",
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
};

/// The first of January 2000: what is older has no date.
const EPOCH: i64 = 946_684_800;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let platform = named_platform_json(matches.text("platform"))?;
    let client = cli.client()?;
    let call = client.get(path(matches.arg(0), "/history"));
    let call = call.query_if(!platform.is_empty(), "platform", platform);
    let items: Vec<HistoryItem> = cli.wait(call.json())?;
    let (trunc, human) = (!matches.flag("no-trunc"), matches.flag("human"));
    let rows: Vec<Row> = items.iter().map(|item| row(item, trunc, human)).collect();
    let format = match matches.text("format") {
        "" | "table" if matches.flag("quiet") => "{{.ID}}",
        "" | "table" if human => {
            "table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        }
        "" | "table" => "table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
        format => format,
    };
    cli.print(&render(&KIND, format, &rows)?)?;
    Ok(0)
}

fn row(item: &HistoryItem, trunc: bool, human: bool) -> Row {
    let at = match units::is_zero_time(item.created) {
        true => "0001-01-01T00:00:00Z".to_owned(),
        false => Timestamp::from_seconds(item.created).format_rfc3339_nano(),
    };
    let since = match item.created {
        _ if !human => at.clone(),
        created if created <= EPOCH => "N/A".to_owned(),
        created => units::ago(created),
    };
    let by = item.created_by.replace('\t', " ");
    Row::default()
        .with("ID", if trunc { units::short(&item.id) } else { &item.id })
        .with("CreatedAt", at)
        .with("CreatedSince", since)
        .with("CreatedBy", if trunc { units::ellipsis(&by, 45) } else { by })
        .with("Size", if human { units::short_size(item.size) } else { item.size.to_string() })
        .with("Comment", item.comment.as_str())
}

//! `docker history`.

use ferry_docker_api::HistoryItem;
use ferry_stdx::{size::format_decimal_short, time::Timestamp};

use super::path;
use crate::{
    format::{List, Row, show, units},
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
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
    Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates"),
    Flag::bool("human", "Print sizes and dates in human readable format").short('H').default("true"),
    Flag::bool("no-trunc", "Don't truncate output"),
    Flag::string("platform", "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")"),
    Flag::bool("quiet", "Only show image IDs").short('q'),
];

const LIST: List = List {
    kind: "*formatter.historyContext",
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: "{{.ID}}\t{{if .CreatedSince }}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    raw: "{{.ID}}",
};

const BARE: List = List {
    titles: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED AT"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    ..LIST
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if !matches.text("platform").is_empty() {
        return Err(CliError::new("--platform is not supported yet"));
    }
    let client = cli.client()?;
    let items: Vec<HistoryItem> = cli.wait(client.get(path(matches.arg(0), "/history")).json())?;
    let (full, human) = (matches.flag("no-trunc"), matches.flag("human"));
    let rows: Vec<Row> = items.iter().map(|item| row(item, full, human)).collect();
    let format = match matches.text("format") {
        "" | "table" if matches.flag("quiet") => "{{.ID}}",
        format => format,
    };
    show(cli, if human { &LIST } else { &BARE }, format, &rows)?;
    Ok(0)
}

fn row(item: &HistoryItem, full: bool, human: bool) -> Row {
    let id = if full { item.id.as_str() } else { units::short(&item.id) };
    let created = (item.created > 0).then(|| Timestamp::from_seconds(item.created));
    let at = created.map(Timestamp::format_rfc3339_nano).unwrap_or_default();
    let since = match (human, created) {
        (true, Some(created)) => units::ago(Some(created)),
        (true, None) => String::new(),
        (false, _) => at.clone(),
    };
    let by = item.created_by.replace('\t', " ");
    let bytes = u64::try_from(item.size).unwrap_or(0);
    Row::default()
        .with("Comment", item.comment.as_str())
        .with("CreatedAt", at)
        .with("CreatedBy", if full { by } else { units::ellipsis(&by, 45) })
        .with("CreatedSince", since)
        .with("ID", id)
        .with("Size", if human { format_decimal_short(bytes) } else { bytes.to_string() })
}

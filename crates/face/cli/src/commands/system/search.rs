//! `docker search`: Docker Hub, or a registry that the term names.

use ferry_docker_api::SearchResult;

use crate::{
    config::registry_auth,
    format::{Kind, Row, render, units},
    framework::{Args, Cli, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "search",
    top: Some("search"),
    short: "Search Docker Hub for images",
    usage: "[OPTIONS] TERM",
    common: Some(9),
    flags: FLAGS,
    args: Args::Exactly(1),
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string("format", "Pretty-print search using a Go template"),
    Flag::int("limit", "Max number of search results"),
    Flag::bool("no-trunc", "Don't truncate output"),
];

const KIND: Kind = Kind {
    name: "*registry.searchContext",
    titles: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ],
};

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let term = matches.arg(0);
    // Credentials are those of the registry that the term names.
    let registry = match term.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => "docker.io",
    };
    let auth = registry_auth(cli, &format!("{registry}/search"))?;
    let limit = matches.int("limit");
    let call = cli
        .client()?
        .get("/images/search")
        .query("term", term)
        .query_if(limit != 0, "limit", limit)
        .filters(&matches.filters("filter"));
    let call = if auth.is_empty() { call } else { call.header("X-Registry-Auth", auth) };
    let mut found: Vec<SearchResult> = cli.wait(call.json())?;
    found.sort_by_key(|result| std::cmp::Reverse(result.star_count));
    let format = match matches.text("format") {
        "" | "table" => "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}",
        format => format,
    };
    let json = format.contains("json");
    let rows: Vec<Row> =
        found.iter().map(|result| row(result, !matches.flag("no-trunc"), json)).collect();
    cli.print(&render(&KIND, format, &rows)?)?;
    Ok(0)
}

fn row(result: &SearchResult, trunc: bool, json: bool) -> Row {
    let description = result.description.replace(['\n', '\r'], " ");
    let official = match (result.is_official, json) {
        (official, true) => official.to_string(),
        (true, false) => "[OK]".to_owned(),
        (false, false) => String::new(),
    };
    Row::default()
        .with("Name", result.name.as_str())
        .with("Description", if trunc { units::ellipsis(&description, 45) } else { description })
        .with("StarCount", result.star_count.to_string())
        .with("IsOfficial", official)
}

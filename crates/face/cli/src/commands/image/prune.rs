//! `docker image prune`.

use ferry_docker_api::ImagePruneReport;
use ferry_stdx::size::format_decimal;

use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove unused images",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Remove all unused images, not just dangling ones").short('a'),
    Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
];

const DANGLING: &str =
    "WARNING! This will remove all dangling images.\nAre you sure you want to continue?";
const ALL: &str = "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let all = matches.flag("all");
    if !matches.flag("force") && !cli.confirm(if all { ALL } else { DANGLING })? {
        return Ok(0);
    }
    let mut filters = matches.filters("filter");
    filters.add("dangling", if all { "false" } else { "true" });
    let client = cli.client()?;
    let report: ImagePruneReport =
        cli.wait(client.post("/images/prune").filters(&filters).json())?;
    let text = told(&report);
    // What was freed without anything being deleted does not count, as in docker.
    let freed = if text.is_empty() { 0 } else { report.space_reclaimed };
    cli.print(&format!("{text}Total reclaimed space: {}\n", format_decimal(freed)))?;
    Ok(0)
}

/// What was removed.
pub(crate) fn told(report: &ImagePruneReport) -> String {
    let deleted = report.images_deleted.iter().flatten();
    let lines: Vec<String> = deleted
        .map(|item| match item.untagged.as_str() {
            "" => format!("deleted: {}\n", item.deleted),
            name => format!("untagged: {name}\n"),
        })
        .collect();
    if lines.is_empty() { String::new() } else { format!("Deleted Images:\n{}\n", lines.concat()) }
}

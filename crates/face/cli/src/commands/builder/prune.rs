//! `docker builder prune`.

use ferry_docker_api::BuildPruneReport;
use ferry_stdx::size::format_decimal;

use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove build cache",
    usage: "",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

/// What `docker buildx prune` is said to do.
pub(super) const SHORT_OF_BUILDX: &str = "Remove build cache";

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Remove all unused build cache, not just dangling ones").short('a'),
    Flag::filter("filter", "Provide filter values (e.g. \"until=24h\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
    Flag::bytes("keep-storage", "Amount of disk space to keep for cache"),
    Flag::bytes("max-used-space", "Maximum amount of disk space allowed to keep for cache")
        .beyond_docker(),
    Flag::bytes("min-free-space", "Target amount of free disk space after pruning").beyond_docker(),
    Flag::bytes("reserved-space", "Amount of disk space always allowed to keep for cache")
        .beyond_docker(),
];

const DANGLING: &str =
    "WARNING! This will remove all dangling build cache. Are you sure you want to continue?";
const ALL: &str = "WARNING! This will remove all build cache. Are you sure you want to continue?";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let all = matches.flag("all");
    if !matches.flag("force") && !cli.confirm(if all { ALL } else { DANGLING })? {
        return Ok(0);
    }
    let mut call = cli
        .client()?
        .post("/build/prune")
        .query_if(all, "all", 1)
        .filters(&matches.filters("filter"));
    for name in ["keep-storage", "max-used-space", "min-free-space", "reserved-space"] {
        let bytes = matches.bytes(name);
        call = call.query_if(bytes > 0, name, bytes);
    }
    let report: BuildPruneReport = cli.wait(call.json())?;
    let ids = report.caches_deleted.unwrap_or_default();
    let mut text = String::new();
    if !ids.is_empty() {
        text = format!("Deleted build cache objects:\n{}\n\n", ids.join("\n"));
    }
    cli.print(&format!(
        "{text}Total reclaimed space: {}\n",
        format_decimal(report.space_reclaimed)
    ))?;
    Ok(0)
}

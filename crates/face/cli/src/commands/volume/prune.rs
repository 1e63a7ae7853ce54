//! `docker volume prune`.

use ferry_docker_api::VolumePruneReport;
use ferry_stdx::size::format_decimal;

use crate::framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove unused local volumes",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Remove all unused volumes, not just anonymous ones").short('a'),
    Flag::filter("filter", "Provide filter values (e.g. \"label=<label>\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
];

const ANONYMOUS: &str = "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?";
const ALL: &str = "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let all = matches.flag("all");
    let mut filters = matches.filters("filter");
    if all {
        if !filters.get("all").is_empty() {
            return Err(CliError::new(
                "conflicting options: cannot specify both --all and --filter all=1",
            ));
        }
        filters.add("all", "true");
    }
    if !matches.flag("force") && !cli.confirm(if all { ALL } else { ANONYMOUS })? {
        return Ok(0);
    }
    let client = cli.client()?;
    let report: VolumePruneReport =
        cli.wait(client.post("/volumes/prune").filters(&filters).json())?;
    let text = told(&report);
    let freed = if text.is_empty() { 0 } else { report.space_reclaimed };
    cli.print(&format!("{text}Total reclaimed space: {}\n", format_decimal(freed)))?;
    Ok(0)
}

/// What was removed.
pub(crate) fn told(report: &VolumePruneReport) -> String {
    let lines: Vec<String> =
        report.volumes_deleted.iter().flatten().map(|name| format!("{name}\n")).collect();
    if lines.is_empty() { String::new() } else { format!("Deleted Volumes:\n{}\n", lines.concat()) }
}

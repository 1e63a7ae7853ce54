//! `docker network prune`.

use ferry_docker_api::NetworkPruneReport;

use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove all unused networks",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
];

const WARNING: &str = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if !matches.flag("force") && !cli.confirm(WARNING)? {
        return Ok(0);
    }
    let client = cli.client()?;
    let call = client.post("/networks/prune").filters(&matches.filters("filter"));
    let report: NetworkPruneReport = cli.wait(call.json())?;
    cli.print(&told(&report))?;
    Ok(0)
}

/// What was removed.
pub(crate) fn told(report: &NetworkPruneReport) -> String {
    let lines: Vec<String> =
        report.networks_deleted.iter().flatten().map(|name| format!("{name}\n")).collect();
    if lines.is_empty() {
        String::new()
    } else {
        format!("Deleted Networks:\n{}\n", lines.concat())
    }
}

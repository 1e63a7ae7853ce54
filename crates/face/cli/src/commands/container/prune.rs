//! `docker container prune`.

use ferry_docker_api::ContainerPruneReport;
use ferry_stdx::size::format_decimal;

use crate::framework::{Args, Cli, Command, Flag, Matches, Outcome};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove all stopped containers",
    usage: "[OPTIONS]",
    flags: FLAGS,
    args: Args::None,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::filter("filter", "Provide filter values (e.g. \"until=<timestamp>\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
];

const WARNING: &str =
    "WARNING! This will remove all stopped containers.\nAre you sure you want to continue?";

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    if !matches.flag("force") && !cli.confirm(WARNING)? {
        return Ok(0);
    }
    let client = cli.client()?;
    let report: ContainerPruneReport =
        cli.wait(client.post("/containers/prune").filters(&matches.filters("filter")).json())?;
    let mut text = String::new();
    let deleted = report.containers_deleted.unwrap_or_default();
    if !deleted.is_empty() {
        text.push_str("Deleted Containers:\n");
        for id in deleted {
            text.push_str(&id);
            text.push('\n');
        }
        text.push('\n');
    }
    let reclaimed = report.space_reclaimed;
    text.push_str(&format!("Total reclaimed space: {}\n", format_decimal(reclaimed)));
    cli.print(&text)?;
    Ok(0)
}

//! `docker system prune`.

use ferry_docker_api::{
    ContainerPruneReport, Filters, ImagePruneReport, NetworkPruneReport, VolumePruneReport,
};
use ferry_stdx::size::format_decimal;
use serde::Deserialize;

use super::plan;
use crate::{
    format::units,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "prune",
    short: "Remove unused data",
    usage: "[OPTIONS]",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Remove all unused images not just dangling ones").short('a'),
    Flag::bool("dry-run", "Show what would be removed, and remove nothing").beyond_docker(),
    Flag::filter("filter", "Provide filter values (e.g. \"label=<key>=<value>\")"),
    Flag::bool("force", "Do not prompt for confirmation").short('f'),
    Flag::bool("volumes", "Prune anonymous volumes"),
];

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let (all, volumes) = (matches.flag("all"), matches.flag("volumes"));
    let filters = matches.filters("filter");
    if volumes && !filters.get("until").is_empty() {
        return Err(CliError::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    if matches.flag("dry-run") {
        return plan::show(cli, all, volumes, &filters);
    }
    if !matches.flag("force") && !cli.confirm(&warning(all, volumes, &filters))? {
        return Ok(0);
    }
    let client = cli.client()?;
    let containers: ContainerPruneReport =
        cli.wait(client.post("/containers/prune").filters(&filters).json())?;
    let mut freed = containers.space_reclaimed;
    let ids = containers.containers_deleted.unwrap_or_default();
    cli.print(&section("Deleted Containers", ids))?;
    let networks: NetworkPruneReport =
        cli.wait(client.post("/networks/prune").filters(&filters).json())?;
    cli.print(&crate::commands::network::told(&networks))?;
    if volumes {
        let report: VolumePruneReport =
            cli.wait(client.post("/volumes/prune").filters(&filters).json())?;
        let text = crate::commands::volume::told(&report);
        freed += if text.is_empty() { 0 } else { report.space_reclaimed };
        cli.print(&text)?;
    }
    let mut of_images = filters.clone();
    of_images.add("dangling", if all { "false" } else { "true" });
    let images: ImagePruneReport =
        cli.wait(client.post("/images/prune").filters(&of_images).json())?;
    let text = crate::commands::image::told(&images);
    freed += if text.is_empty() { 0 } else { images.space_reclaimed };
    cli.print(&text)?;
    freed += prune_cache(cli, &filters, all)?;
    cli.println(&format!("Total reclaimed space: {}", format_decimal(freed)))?;
    Ok(0)
}

/// `Deleted build cache objects`, and what is deleted of volumes and the like.
pub(super) fn section(title: &str, ids: Vec<String>) -> String {
    if ids.is_empty() { String::new() } else { format!("{title}:\n{}\n\n", ids.join("\n")) }
}

#[derive(Deserialize)]
struct CacheReport {
    #[serde(rename = "CachesDeleted", default)]
    deleted: Option<Vec<String>>,
    #[serde(rename = "SpaceReclaimed", default)]
    freed: u64,
}

/// The build cache, of a daemon that has one.
fn prune_cache(cli: &Cli, filters: &Filters, all: bool) -> Result<u64, CliError> {
    let call = cli.client()?.post("/build/prune").query_if(all, "all", 1).filters(filters);
    match cli.wait(call.json::<CacheReport>()) {
        Ok(report) => {
            let ids = report.deleted.unwrap_or_default();
            let freed = if ids.is_empty() { 0 } else { report.freed };
            cli.print(&section("Deleted build cache objects", ids))?;
            Ok(freed)
        }
        Err(error) if matches!(error.status(), Some(404 | 501)) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// What is about to be lost.
fn warning(all: bool, volumes: bool, filters: &Filters) -> String {
    let mut what =
        vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        what.push("all anonymous volumes not used by at least one container");
    }
    what.extend(match all {
        true => ["all images without at least one container associated to them", "all build cache"],
        false => ["all dangling images", "unused build cache"],
    });
    let mut text = "WARNING! This will remove:".to_owned();
    for line in what {
        text += &format!("\n  - {line}");
    }
    text.push('\n');
    let mut chosen: Vec<String> = ["label", "label!", "until"]
        .iter()
        .flat_map(|name| filters.get(name).iter().map(move |value| format!("{name}={value}")))
        .collect();
    chosen.sort_by_cached_key(|filter| units::natural(filter));
    if !filters.0.is_empty() && !chosen.is_empty() {
        text += "\n  Items to be pruned will be filtered with:";
        for filter in chosen {
            text += &format!("\n  - {filter}");
        }
        text.push('\n');
    }
    text + "\nAre you sure you want to continue?"
}

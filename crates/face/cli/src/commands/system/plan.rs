//! `system prune --dry-run`: what a prune would remove, worked out from what the daemon shows. Nothing but questions is sent,
//! so that it is safe with every daemon, also one that has never heard of a dry run.

use std::collections::{BTreeMap, BTreeSet};

use ferry_docker_api::{ContainerSummary, DiskUsage, Filters, ImageSummary, Network, Volume};
use ferry_stdx::time::Timestamp;

use super::prune::section;
use crate::{
    format::{image, units},
    framework::{Cli, CliError, Outcome},
};

/// The label of volumes that nobody gave a name.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Prints what would go, and how much room that is.
pub(super) fn show(cli: &Cli, all: bool, volumes: bool, filters: &Filters) -> Outcome {
    let client = cli.client()?;
    let usage: DiskUsage = cli.wait(client.get("/system/df").json())?;
    let mut unused = Filters::default();
    unused.add("dangling", "true");
    let networks: Vec<Network> = cli.wait(client.get("/networks").filters(&unused).json())?;
    let filter = Filter::read(filters, units::now())?;
    let plan = Plan::new(&usage, &networks, &filter, all, volumes);
    cli.print(&plan.text())?;
    Ok(0)
}

/// What goes, by kind.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plan {
    containers: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
    images: Vec<String>,
    bytes: i64,
}

impl Plan {
    fn new(
        usage: &DiskUsage,
        networks: &[Network],
        filter: &Filter<'_>,
        all: bool,
        volumes: bool,
    ) -> Plan {
        let mut plan = Plan::default();
        let (gone, kept): (Vec<_>, Vec<_>) =
            usage.containers.iter().flatten().partition(|one| container_goes(one, filter));
        for one in gone {
            plan.containers.push(one.id.clone());
            plan.bytes = plan.bytes.saturating_add(one.size_rw);
        }
        plan.networks = networks
            .iter()
            .filter(|one| network_goes(one, filter))
            .map(|one| one.name.clone())
            .collect();
        if volumes {
            plan.add_volumes(usage.volumes.iter().flatten(), &kept, filter);
        }
        let images: BTreeSet<&str> = kept.iter().map(|one| one.image_id.as_str()).collect();
        for one in usage.images.iter().flatten() {
            if images.contains(one.id.as_str()) || !image_goes(one, filter, all) {
                continue;
            }
            let name = match one.repo_tags.iter().flatten().next() {
                Some(name) if !image::is_dangling(one) => name.clone(),
                _ => one.id.clone(),
            };
            plan.images.push(name);
            plan.bytes = plan.bytes.saturating_add(one.size - one.shared_size.max(0));
        }
        plan
    }

    fn add_volumes<'v>(
        &mut self,
        volumes: impl Iterator<Item = &'v Volume>,
        kept: &[&ContainerSummary],
        filter: &Filter<'_>,
    ) {
        let used: BTreeSet<&str> = kept
            .iter()
            .flat_map(|one| one.mounts.iter().flatten())
            .map(|mount| mount.name.as_str())
            .collect();
        let empty = BTreeMap::new();
        for one in volumes {
            let labels = one.labels.as_ref().unwrap_or(&empty);
            if used.contains(one.name.as_str())
                || !labels.contains_key(ANONYMOUS)
                || !filter.has_labels(labels)
            {
                continue;
            }
            self.volumes.push(one.name.clone());
            let size = one.usage_data.as_ref().map_or(0, |usage| usage.size.max(0));
            self.bytes = self.bytes.saturating_add(size);
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (title, names) in [
            ("Would delete containers", &self.containers),
            ("Would delete networks", &self.networks),
            ("Would delete volumes", &self.volumes),
            ("Would delete images", &self.images),
        ] {
            text += &section(title, names.clone());
        }
        text + &format!("Total reclaimable space: {}\n", units::long_size(self.bytes))
    }
}

fn container_goes(one: &ContainerSummary, filter: &Filter<'_>) -> bool {
    let empty = BTreeMap::new();
    matches!(one.state.as_str(), "created" | "exited" | "dead")
        && filter.is_old(Some(Timestamp::from_seconds(one.created)))
        && filter.has_labels(one.labels.as_ref().unwrap_or(&empty))
}

fn network_goes(one: &Network, filter: &Filter<'_>) -> bool {
    let empty = BTreeMap::new();
    !matches!(one.name.as_str(), "bridge" | "host" | "none")
        && filter.is_old(Timestamp::parse_rfc3339(&one.created))
        && filter.has_labels(one.labels.as_ref().unwrap_or(&empty))
}

fn image_goes(one: &ImageSummary, filter: &Filter<'_>, all: bool) -> bool {
    let empty = BTreeMap::new();
    (all || image::is_dangling(one))
        && filter.is_old(Some(Timestamp::from_seconds(one.created)))
        && filter.has_labels(one.labels.as_ref().unwrap_or(&empty))
}

/// `until`, `label` and `label!`, as the daemon reads them.
struct Filter<'f> {
    until: Option<Timestamp>,
    with: &'f [String],
    without: &'f [String],
}

impl<'f> Filter<'f> {
    fn read(filters: &'f Filters, now: Timestamp) -> Result<Self, CliError> {
        let until = match filters.get("until").first() {
            Some(text) => Some(
                Timestamp::parse_user(text, now)
                    .map_err(|error| CliError::new(error.to_string()))?,
            ),
            None => None,
        };
        Ok(Filter { until, with: filters.get("label"), without: filters.get("label!") })
    }

    fn is_old(&self, created: Option<Timestamp>) -> bool {
        self.until.is_none_or(|until| created.is_some_and(|created| created < until))
    }

    fn has_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
            None => labels.contains_key(wanted),
        };
        self.with.iter().all(has) && !self.without.iter().any(has)
    }
}

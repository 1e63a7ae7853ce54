//! What commands do with a project: calls of the Engine API, each with a line of progress.

pub(crate) mod converge;
pub(crate) mod create;
pub(crate) mod labels;
pub(crate) mod logs;
pub(crate) mod order;
pub(crate) mod resources;
pub(crate) mod wait;

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::{Cli, CliError};
use ferry_client::{Call, Client, path_segment};
use ferry_docker_api::{ContainerInspect, ContainerSummary, Filters};

use crate::model::Project;

/// A command at work: the daemon, and where progress goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) client: &'a Client,
    pub(crate) quiet: bool,
}

/// A container of a project, as the list tells it.
#[derive(Debug, Clone)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) number: u32,
    pub(crate) oneoff: bool,
    pub(crate) summary: ContainerSummary,
}

impl Container {
    pub(crate) fn label(&self, name: &str) -> &str {
        self.summary.labels.as_ref().and_then(|labels| labels.get(name)).map_or("", String::as_str)
    }

    pub(crate) fn running(&self) -> bool {
        matches!(self.summary.state.as_str(), "running" | "paused" | "restarting")
    }

    /// Its name in front of its logs.
    pub(crate) fn short_name(&self, project: &str) -> String {
        let prefix = format!("{project}-");
        self.name.strip_prefix(&prefix).unwrap_or(&self.name).to_owned()
    }
}

impl From<ContainerSummary> for Container {
    fn from(summary: ContainerSummary) -> Self {
        let label = |name: &str| {
            summary.labels.as_ref().and_then(|labels| labels.get(name)).cloned().unwrap_or_default()
        };
        let names = summary.names.clone().unwrap_or_default();
        let name = names.iter().find(|name| name.matches('/').count() == 1).cloned();
        Container {
            id: summary.id.clone(),
            name: name.unwrap_or_default().trim_start_matches('/').to_owned(),
            service: label(labels::SERVICE),
            number: label(labels::NUMBER).parse().unwrap_or(0),
            oneoff: label(labels::ONEOFF) == "True",
            summary,
        }
    }
}

impl Session<'_> {
    /// A line of progress, in Compose's plain layout.
    pub(crate) fn progress(&self, kind: &str, name: &str, status: &str) {
        if !self.quiet {
            self.cli.warn(&format!(" {kind} {name}  {status}"));
        }
    }

    /// The containers of a project, in order of service and number; those of `run` only if asked for.
    pub(crate) async fn containers(
        &self,
        project: &str,
        oneoff: bool,
    ) -> Result<Vec<Container>, CliError> {
        let mut filters = Filters::default();
        filters.add("label", &format!("{}={project}", labels::PROJECT));
        let list: Vec<ContainerSummary> =
            self.client.get("/containers/json").query("all", 1).filters(&filters).json().await?;
        let mut list: Vec<Container> = list
            .into_iter()
            .map(Container::from)
            .filter(|container| oneoff || !container.oneoff)
            .collect();
        list.sort_by(|a, b| (&a.service, a.number, &a.name).cmp(&(&b.service, b.number, &b.name)));
        Ok(list)
    }

    /// `POST /containers/<id>/<verb>`.
    pub(crate) fn post(&self, id: &str, verb: &str) -> Call {
        self.client.post(format!("/containers/{}/{verb}", path_segment(id)))
    }

    /// All about one.
    pub(crate) async fn inspect(&self, id: &str) -> Result<ContainerInspect, CliError> {
        Ok(self.client.get(format!("/containers/{}/json", path_segment(id))).json().await?)
    }

    /// Stops one; `timeout` in seconds, else its own.
    pub(crate) async fn stop(
        &self,
        container: &Container,
        timeout: Option<i64>,
    ) -> Result<(), CliError> {
        self.progress("Container", &container.name, "Stopping");
        let call = self.post(&container.id, "stop");
        let call = call.query_if(timeout.is_some(), "t", timeout.unwrap_or(0));
        ignore_missing(call.done().await)?;
        self.progress("Container", &container.name, "Stopped");
        Ok(())
    }

    /// Removes one.
    pub(crate) async fn remove(
        &self,
        container: &Container,
        volumes: bool,
    ) -> Result<(), CliError> {
        self.progress("Container", &container.name, "Removing");
        let path = format!("/containers/{}", path_segment(&container.id));
        let call = self.client.delete(path).query("force", 1).query_if(volumes, "v", 1);
        ignore_missing(call.done().await)?;
        self.progress("Container", &container.name, "Removed");
        Ok(())
    }
}

/// That it is gone already is as well.
pub(crate) fn ignore_missing(
    result: Result<(), ferry_client::ClientError>,
) -> Result<(), CliError> {
    match result {
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(()),
    }
}

/// Which services come after which, among `names`.
pub(crate) fn dependencies(
    project: &Project,
    names: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    names
        .iter()
        .map(|name| {
            let before = project.services.get(name).map(|service| {
                service.depends_on.keys().filter(|other| names.contains(*other)).cloned().collect()
            });
            (name.clone(), before.unwrap_or_default())
        })
        .collect()
}

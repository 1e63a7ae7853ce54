//! What commands do with a project: calls of the Engine API, each with a line of progress.

pub(crate) mod api_socket;
pub(crate) mod builds;
pub(crate) mod changes;
pub(crate) mod contents;
pub(crate) mod converge;
pub(crate) mod create;
pub(crate) mod decide;
pub(crate) mod hooks;
pub(crate) mod images;
pub(crate) mod inject;
pub(crate) mod interrupted;
pub(crate) mod labels;
pub(crate) mod logs;
pub(crate) mod order;
pub(crate) mod output;
pub(crate) mod pre_start;
pub(crate) mod progress;
pub(crate) mod resources;
pub(crate) mod rolling;
pub(crate) mod start;
pub(crate) mod starts;
pub(crate) mod wait;

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::{Cli, CliError};
use ferry_client::{Call, Client, path_segment};
use ferry_docker_api::{ContainerInspect, ContainerSummary, Filters, WaitResponse};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::model::Project;
use progress::Progress;

/// A command at work: the daemon, and where progress goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session<'a> {
    pub(crate) cli: &'a Cli,
    pub(crate) client: &'a Client,
    pub(crate) progress: &'a Progress,
    /// Calls that change something are told, with the reason, and not made.
    pub(crate) dry: bool,
    /// So many calls at once; none is no limit.
    pub(crate) permits: Option<&'a Semaphore>,
    /// Output is shown: that of hooks, too.
    pub(crate) attached: bool,
}

/// A call that changes something.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    method: Method,
    path: String,
    /// The path as people read it: names, where `path` has ids.
    shown: String,
    query: Vec<(&'static str, String)>,
}

#[derive(Debug, Clone, Copy)]
enum Method {
    Post,
    Put,
    Delete,
}

impl Change {
    fn new(method: Method, path: impl Into<String>) -> Change {
        let path = path.into();
        Change { method, shown: path.clone(), path, query: Vec::new() }
    }

    pub(crate) fn post(path: impl Into<String>) -> Change {
        Change::new(Method::Post, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Change {
        Change::new(Method::Put, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Change {
        Change::new(Method::Delete, path)
    }

    /// `POST /containers/<id>/<verb>`, told with the name.
    pub(crate) fn container(id: &str, name: &str, verb: &str) -> Change {
        let change = Change::post(format!("/containers/{}/{verb}", path_segment(id)));
        change.shown_as(format!("/containers/{name}/{verb}"))
    }

    pub(crate) fn shown_as(mut self, path: String) -> Change {
        self.shown = path;
        self
    }

    pub(crate) fn query(mut self, name: &'static str, value: impl std::fmt::Display) -> Change {
        self.query.push((name, value.to_string()));
        self
    }

    pub(crate) fn query_if(
        self,
        on: bool,
        name: &'static str,
        value: impl std::fmt::Display,
    ) -> Change {
        if on { self.query(name, value) } else { self }
    }

    fn told(&self) -> String {
        let method = match self.method {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        };
        let query: Vec<String> =
            self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{method} {}{mark}{}", self.shown, query.join("&"))
    }

    fn call(&self, client: &Client) -> Call {
        let call = match self.method {
            Method::Post => client.post(&self.path),
            Method::Put => client.put(&self.path),
            Method::Delete => client.delete(&self.path),
        };
        self.query.iter().fold(call, |call, (name, value)| call.query(name, value))
    }
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

    /// Whether it has one of these volumes.
    pub(crate) fn has_any(&self, volumes: &BTreeSet<&str>) -> bool {
        let mounts = self.summary.mounts.as_deref().unwrap_or_default();
        mounts.iter().any(|mount| volumes.contains(mount.name.as_str()))
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
    /// A step of progress. A rehearsal has none.
    pub(crate) fn progress(&self, kind: &str, name: &str, status: &str) {
        if !self.dry {
            let id = if kind.is_empty() { name.to_owned() } else { format!("{kind} {name}") };
            self.progress.say(&id, status);
        }
    }

    /// The call to make for a change, once there is room for it; none in a rehearsal, which tells it and `why`.
    pub(crate) async fn change(
        &self,
        change: &Change,
        why: &str,
    ) -> Result<Option<(Call, Option<SemaphorePermit<'_>>)>, CliError> {
        if self.dry {
            self.cli.println(&format!("{}  # {why}", change.told()))?;
            return Ok(None);
        }
        let permit = match self.permits {
            // It is never closed.
            Some(permits) => permits.acquire().await.ok(),
            None => None,
        };
        Ok(Some((change.call(self.client), permit)))
    }

    /// Makes a change that has no answer.
    pub(crate) async fn make(&self, change: Change, why: &str) -> Result<(), CliError> {
        let Some((call, _permit)) = self.change(&change, why).await? else { return Ok(()) };
        Ok(call.done().await?)
    }

    /// Makes a change to something that may be gone already, which is as well.
    pub(crate) async fn make_if_there(&self, change: Change, why: &str) -> Result<(), CliError> {
        let Some((call, _permit)) = self.change(&change, why).await? else { return Ok(()) };
        match call.done().await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
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

    /// Whether the daemon lets one container take another one's place without a gap: ours does.
    pub(crate) async fn hands_over(&self) -> Result<bool, CliError> {
        let answer = self.client.get("/_ping").unversioned().send().await?;
        Ok(answer.header("server").is_some_and(|server| server.starts_with("Ferry")))
    }

    /// All about one.
    pub(crate) async fn inspect(&self, id: &str) -> Result<ContainerInspect, CliError> {
        Ok(self.client.get(format!("/containers/{}/json", path_segment(id))).json().await?)
    }

    /// Waits until one has ended for good: an end that its restart policy brings it back from is none. Answers its exit code.
    pub(crate) async fn wait_for_end(&self, id: &str) -> Result<i64, CliError> {
        loop {
            let wait = self.client.post(format!("/containers/{}/wait", path_segment(id)));
            let ended: WaitResponse = wait.json().await?;
            // Without it the container is gone: removed by somebody else, or by itself.
            let now = self.inspect(id).await.ok().and_then(|container| container.state);
            match now {
                Some(state) if state.running || state.restarting => {}
                Some(state) => return Ok(state.exit_code),
                None => return Ok(ended.status_code),
            }
        }
    }

    /// Stops one; `timeout` in seconds, else its own.
    pub(crate) async fn stop(
        &self,
        container: &Container,
        timeout: Option<i64>,
        why: &str,
    ) -> Result<(), CliError> {
        self.progress("Container", &container.name, "Stopping");
        let stop = Change::container(&container.id, &container.name, "stop");
        let stop = stop.query_if(timeout.is_some(), "t", timeout.unwrap_or(0));
        self.make_if_there(stop, why).await?;
        self.progress("Container", &container.name, "Stopped");
        Ok(())
    }

    /// Removes one.
    pub(crate) async fn remove(
        &self,
        container: &Container,
        volumes: bool,
        why: &str,
    ) -> Result<(), CliError> {
        self.progress("Container", &container.name, "Removing");
        self.delete(&container.id, &container.name, volumes, why).await?;
        self.progress("Container", &container.name, "Removed");
        Ok(())
    }

    /// As [`Session::remove`], without a word.
    pub(crate) async fn delete(
        &self,
        id: &str,
        name: &str,
        volumes: bool,
        why: &str,
    ) -> Result<(), CliError> {
        let change = Change::delete(format!("/containers/{}", path_segment(id)))
            .shown_as(format!("/containers/{name}"))
            .query("force", 1)
            .query_if(volumes, "v", 1);
        self.make_if_there(change, why).await
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

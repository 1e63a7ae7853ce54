//! What manifests are generated from: containers, pods that were played, projects of Compose.

use std::collections::BTreeMap;

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::ContainerSummary;
use serde_json::Value;

use crate::{
    infra::KEEPER,
    plan::POD,
    play::{Player, is_missing, label},
};

/// Compose's name of a container's project.
const PROJECT: &str = "com.docker.compose.project";
/// Compose's name of its service.
pub(crate) const SERVICE: &str = "com.docker.compose.service";

/// Containers that become one pod.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// As `inspect` shows them.
    pub(crate) containers: Vec<Value>,
    pub(crate) replicas: usize,
}

/// Finds what is named: containers make one pod together, a played pod is one again, and each service of a project is one.
pub(crate) async fn groups(player: &Player<'_>, names: &[String]) -> Result<Vec<Group>, CliError> {
    let mut alone = Vec::new();
    let mut groups = Vec::new();
    for name in names {
        let path = format!("/containers/{}/json", path_segment(name));
        match player.client.get(path).json::<Value>().await {
            Ok(one) => {
                alone.push(one);
                continue;
            }
            Err(error) if !is_missing(&error) => return Err(error.into()),
            Err(_) => {}
        }
        let mut members = player.having(POD, name).await?;
        members.retain(|one| label(one, KEEPER).is_empty());
        if !members.is_empty() {
            groups.push(group(player, name, &oldest_first(&members), 1).await?);
            continue;
        }
        let members = player.having(PROJECT, name).await?;
        let mut services: BTreeMap<&str, Vec<ContainerSummary>> = BTreeMap::new();
        for one in oldest_first(&members) {
            let key = members.iter().find(|other| other.id == one.id);
            let service = key.map_or("", |one| label(one, SERVICE));
            services.entry(service).or_default().push(one);
        }
        if services.is_empty() {
            return Err(CliError::new(format!("no container, pod or project is called {name}")));
        }
        for (service, all) in services {
            groups.push(group(player, service, &all[..1], all.len()).await?);
        }
    }
    if let Some(first) = alone.first() {
        let name = first["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
        groups.insert(0, Group { name, containers: alone, replicas: 1 });
    }
    Ok(groups)
}

fn oldest_first(all: &[ContainerSummary]) -> Vec<ContainerSummary> {
    // They come the newest first, and several may be of one second.
    let mut all: Vec<ContainerSummary> = all.iter().rev().cloned().collect();
    all.sort_by_key(|one| one.created);
    all
}

async fn group(
    player: &Player<'_>,
    name: &str,
    members: &[ContainerSummary],
    replicas: usize,
) -> Result<Group, CliError> {
    let mut containers = Vec::new();
    for one in members {
        let path = format!("/containers/{}/json", path_segment(&one.id));
        containers.push(player.client.get(path).json::<Value>().await?);
    }
    Ok(Group { name: name.to_owned(), containers, replicas })
}

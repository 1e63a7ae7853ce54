//! What is to be done to a service's containers. Nothing here asks the daemon.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::CliError;

use super::{Container, contents, labels};
use crate::model::{Project, Service};

/// When a container that is there is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    /// When it is not what the project says.
    #[default]
    Diverged,
    Never,
    Always,
}

/// What the project wants of a service.
pub(crate) struct Wanted<'a> {
    pub(crate) project: &'a Project,
    pub(crate) service: &'a Service,
    /// Its image's id; empty where it is not known.
    pub(crate) image: &'a str,
    pub(crate) count: u32,
    /// Ids of the project's networks by key.
    pub(crate) networks: &'a BTreeMap<String, String>,
    pub(crate) policy: Policy,
    /// A service whose namespaces or volumes it uses, and of which a container was replaced.
    pub(crate) shared_was_replaced: Option<String>,
}

/// What is to be done, with the reasons.
#[derive(Debug, Default)]
pub(crate) struct Decision<'a> {
    pub(crate) remove: Vec<(&'a Container, String)>,
    pub(crate) replace: Vec<(&'a Container, String)>,
    pub(crate) keep: Vec<&'a Container>,
    /// Numbers of new ones.
    pub(crate) create: Vec<u32>,
}

/// Decides.
pub(crate) fn decide<'a>(
    wanted: &Wanted<'_>,
    present: &'a [Container],
) -> Result<Decision<'a>, CliError> {
    let container_of = |name: &str| first_of(present, name).map(|one| one.id.clone());
    let hash = labels::container_hash(wanted.service, &container_of);
    let contents = contents::label_of(wanted.project, wanted.service)?;
    let mut own: Vec<(&Container, Option<String>)> = present
        .iter()
        .filter(|container| container.service == wanted.service.name)
        .map(|container| (container, outdated(wanted, container, &hash, &contents)))
        .collect();
    // What is outdated goes first when there are too many, then what does not run, then the latest.
    own.sort_by_key(|(one, why)| (why.is_some(), !one.running(), one.number));
    let mut decision = Decision::default();
    let extra = own.split_off(own.len().min(wanted.count as usize));
    let why = format!("service {} is to have {} containers", wanted.service.name, wanted.count);
    decision.remove.extend(extra.into_iter().map(|(one, _)| (one, why.clone())));
    let taken: BTreeSet<u32> = own.iter().map(|(container, _)| container.number).collect();
    let missing = (wanted.count as usize).saturating_sub(own.len());
    let free = (1..=u32::MAX).filter(|number| !taken.contains(number));
    decision.create.extend(free.take(missing));
    for (container, why) in own {
        match (wanted.policy, why) {
            (Policy::Never, _) | (Policy::Diverged, None) => decision.keep.push(container),
            (_, Some(why)) => decision.replace.push((container, why)),
            (Policy::Always, None) => {
                decision.replace.push((container, "--force-recreate".to_owned()));
            }
        }
    }
    Ok(decision)
}

/// The container that stands for a service.
pub(crate) fn first_of<'a>(present: &'a [Container], service: &str) -> Option<&'a Container> {
    present.iter().filter(|one| one.service == service).min_by_key(|one| one.number)
}

/// Why a container is not what the service says.
fn outdated(
    wanted: &Wanted<'_>,
    container: &Container,
    hash: &str,
    contents: &str,
) -> Option<String> {
    let service = &wanted.service.name;
    if container.label(labels::HASH) != hash {
        return Some(format!("the configuration of service {service} has changed"));
    }
    let image = container.label(labels::IMAGE);
    if !image.is_empty() && !wanted.image.is_empty() && image != wanted.image {
        return Some(format!("the image of service {service} has changed"));
    }
    if let Some(why) = contents::difference(container.label(labels::CONTENTS), contents) {
        return Some(why);
    }
    if let Some(other) = &wanted.shared_was_replaced {
        return Some(format!("a container of service {other}, which it uses, was replaced"));
    }
    let settings = container.summary.network_settings.as_ref();
    let on = settings.and_then(|settings| settings.networks.as_ref());
    for key in wanted.service.networks.keys() {
        let Some(id) = wanted.networks.get(key) else { continue };
        let name = wanted.project.networks.get(key).map_or("", |network| network.name.as_str());
        let there = on.is_some_and(|on| {
            on.iter().any(|(known, endpoint)| {
                endpoint.network_id == *id || (endpoint.network_id.is_empty() && known == name)
            })
        });
        if !there {
            return Some(format!("it is not on network {name}"));
        }
    }
    let mounts = container.summary.mounts.as_deref().unwrap_or_default();
    for mount in wanted.service.volumes.iter().filter(|mount| mount.r#type == "volume") {
        let Some(volume) = wanted.project.volumes.get(&mount.source) else { continue };
        if !mounts.iter().any(|one| one.name == volume.name) {
            return Some(format!("it does not have volume {}", volume.name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(number: u32, hash: &str, state: &str) -> Container {
        let labels = [(labels::HASH, hash), (labels::SERVICE, "web")];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let summary = ferry_docker_api::ContainerSummary {
            id: format!("id{number}"),
            names: Some(vec![format!("/p-web-{number}")]),
            labels: Some(labels.into_iter().collect()),
            state: state.to_owned(),
            ..ferry_docker_api::ContainerSummary::default()
        };
        Container { number, ..Container::from(summary) }
    }

    fn decided(present: &[Container], count: u32, policy: Policy) -> String {
        let project = Project::default();
        let service = Service { name: "web".to_owned(), ..Service::default() };
        let networks = BTreeMap::new();
        let wanted = Wanted {
            project: &project,
            service: &service,
            image: "",
            count,
            networks: &networks,
            policy,
            shared_was_replaced: None,
        };
        let decision = decide(&wanted, present).unwrap();
        let numbers = |list: &[(&Container, String)]| -> Vec<u32> {
            list.iter().map(|(one, _)| one.number).collect()
        };
        let keep: Vec<u32> = decision.keep.iter().map(|one| one.number).collect();
        format!(
            "keep {keep:?} replace {:?} remove {:?} create {:?}",
            numbers(&decision.replace),
            numbers(&decision.remove),
            decision.create
        )
    }

    #[test]
    fn what_is_right_stays_and_what_is_wrong_goes_first() {
        let hash = labels::service_hash(&Service { name: "web".to_owned(), ..Service::default() });
        let present = [
            container(1, "old", "running"),
            container(2, &hash, "running"),
            container(4, &hash, "exited"),
        ];
        for (count, policy, want) in [
            (3, Policy::Diverged, "keep [2, 4] replace [1] remove [] create []"),
            (1, Policy::Diverged, "keep [2] replace [] remove [4, 1] create []"),
            (5, Policy::Never, "keep [2, 4, 1] replace [] remove [] create [3, 5]"),
            (2, Policy::Always, "keep [] replace [2, 4] remove [1] create []"),
            (0, Policy::Diverged, "keep [] replace [] remove [2, 4, 1] create []"),
        ] {
            assert_eq!(decided(&present, count, policy), want);
        }
        assert_eq!(decided(&[], 2, Policy::Diverged), "keep [] replace [] remove [] create [1, 2]");
    }
}

//! Networks and volumes of a project: made before its containers, removed after them.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::{
    Filters, Ipam, IpamConfig, Network, NetworkCreateRequest, NetworkCreated, Volume,
    VolumeCreateRequest, VolumeList,
};
use futures_util::future::try_join_all;

use super::{Change, Container, Session, labels};
use crate::model::Project;

/// The keys of networks that are to be there.
fn wanted_networks<'a>(project: &'a Project, services: &BTreeSet<String>) -> BTreeSet<&'a String> {
    if project.all_resources {
        return project.networks.keys().collect();
    }
    let chosen = services.iter().filter_map(|name| project.services.get(name));
    chosen.flat_map(|service| service.networks.keys()).collect()
}

/// What is there of the networks and volumes that services want, by name: one question for each kind.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    networks: BTreeMap<String, Network>,
    volumes: BTreeMap<String, Volume>,
}

impl Seen {
    /// Looks at both at once.
    pub(crate) async fn look(
        session: &Session<'_>,
        project: &Project,
        services: &BTreeSet<String>,
    ) -> Result<Seen, CliError> {
        let networks = async {
            let keys = wanted_networks(project, services).into_iter();
            let names = keys.filter_map(|key| Some(project.networks.get(key)?.name.as_str()));
            let Some(filters) = named(names) else { return Ok(Vec::new()) };
            session.client.get("/networks").filters(&filters).json::<Vec<Network>>().await
        };
        let volumes = async {
            let keys = wanted_volumes(project, services).into_iter();
            let names = keys.filter_map(|key| Some(project.volumes.get(key)?.name.as_str()));
            let Some(filters) = named(names) else { return Ok(VolumeList::default()) };
            session.client.get("/volumes").filters(&filters).json::<VolumeList>().await
        };
        let (networks, volumes) = tokio::try_join!(networks, volumes)?;
        let volumes = volumes.volumes.unwrap_or_default().into_iter();
        Ok(Seen {
            networks: networks.into_iter().map(|one| (one.name.clone(), one)).collect(),
            volumes: volumes.map(|one| (one.name.clone(), one)).collect(),
        })
    }
}

/// Those with any of these names, and with names that have these inside; none without a name.
fn named<'a>(names: impl Iterator<Item = &'a str>) -> Option<Filters> {
    let mut filters = Filters::default();
    let mut any = false;
    for name in names {
        filters.add("name", name);
        any = true;
    }
    any.then_some(filters)
}

/// Makes what is missing of the networks that `services` are on, and makes those anew that are not as the project says; their ids by
/// key, and whether containers were stopped for that.
pub(crate) async fn networks(
    session: &Session<'_>,
    project: &Project,
    services: &BTreeSet<String>,
    seen: &Seen,
) -> Result<(BTreeMap<String, String>, bool), CliError> {
    let (mut ids, mut remade) = (BTreeMap::new(), false);
    for key in wanted_networks(project, services) {
        let Some(network) = project.networks.get(key) else { continue };
        let found = seen.networks.get(&network.name);
        let id = match (found, network.external) {
            (Some(found), true) => found.id.clone(),
            (None, true) if matches!(network.name.as_str(), "host" | "none" | "bridge") => continue,
            (None, true) => {
                return Err(CliError::new(format!(
                    "network {} declared as external, but could not be found",
                    network.name
                )));
            }
            (Some(found), false) => match diverged(project, key, found)? {
                None => found.id.clone(),
                Some(why) => {
                    remade = true;
                    detach_all(session, project, key, found, &why).await?;
                    create_network(session, project, key, &why).await?
                }
            },
            (None, false) => {
                create_network(
                    session,
                    project,
                    key,
                    &format!("there is no network {}", network.name),
                )
                .await?
            }
        };
        ids.insert(key.clone(), id);
    }
    Ok((ids, remade))
}

/// Why a network is not what the project says; an error where it is somebody else's.
fn diverged(project: &Project, key: &str, found: &Network) -> Result<Option<String>, CliError> {
    let own = found.labels.clone().unwrap_or_default();
    let label = own.get(labels::NETWORK).cloned().unwrap_or_default();
    if label != key {
        return Err(CliError::new(format!(
            "network {} was found but has incorrect label {} set to {label:?} (expected: {key:?})",
            found.name,
            labels::NETWORK
        )));
    }
    let hash = labels::network_hash(&project.tree["networks"][key]);
    let same = own.get(labels::HASH).is_none_or(|old| *old == hash);
    Ok((!same).then(|| format!("the definition of network {key} has changed")))
}

/// Takes a network away from the project's containers, and removes it.
async fn detach_all(
    session: &Session<'_>,
    project: &Project,
    key: &str,
    found: &Network,
    why: &str,
) -> Result<(), CliError> {
    let all = session.containers(&project.name, false).await?;
    let on = |one: &&Container| {
        project.services.get(&one.service).is_some_and(|service| service.networks.contains_key(key))
    };
    let own: Vec<&Container> = all.iter().filter(on).collect();
    try_join_all(own.iter().filter(|one| one.running()).map(|one| session.stop(one, None, why)))
        .await?;
    let path = format!("/networks/{}", path_segment(&found.id));
    for one in own {
        let change = Change::post(format!("{path}/disconnect"))
            .shown_as(format!("/networks/{}/disconnect", found.name));
        let why = format!("{why}; container {}", one.name);
        let Some((call, _permit)) = session.change(&change, &why).await? else { continue };
        let body = serde_json::json!({"Container": one.id, "Force": true});
        match call.json_body(&body).done().await {
            // It may never have been on it.
            Err(error) if !matches!(error.status(), Some(403 | 404 | 500)) => {
                return Err(error.into());
            }
            _ => {}
        }
    }
    let change = Change::delete(path).shown_as(format!("/networks/{}", found.name));
    session.make_if_there(change, why).await?;
    session.progress("Network", &found.name, "Removed");
    Ok(())
}

async fn create_network(
    session: &Session<'_>,
    project: &Project,
    key: &str,
    why: &str,
) -> Result<String, CliError> {
    let Some(network) = project.networks.get(key) else { return Ok(String::new()) };
    let change = Change::post("/networks/create");
    let change = change.shown_as(format!("/networks/create {}", network.name));
    let Some((call, _permit)) = session.change(&change, why).await? else {
        return Ok(String::new());
    };
    let hash = labels::network_hash(&project.tree["networks"][key]);
    let ipam = &network.ipam;
    let pools: Vec<IpamConfig> = ipam
        .config
        .iter()
        .map(|pool| IpamConfig {
            subnet: pool.subnet.clone(),
            ip_range: pool.ip_range.clone(),
            gateway: pool.gateway.clone(),
            aux_address: pool.aux_addresses.clone(),
        })
        .collect();
    let body = NetworkCreateRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        enable_ipv4: network.enable_ipv4,
        enable_ipv6: network.enable_ipv6,
        ipam: (!pools.is_empty() || !ipam.driver.is_empty()).then(|| Ipam {
            driver: ipam.driver.clone(),
            options: (!ipam.options.is_empty()).then(|| ipam.options.clone()),
            config: Some(pools),
        }),
        internal: network.internal,
        attachable: network.attachable,
        options: Some(network.driver_opts.clone()),
        labels: Some(labels::of_resource(project, &network.labels, labels::NETWORK, key, hash)),
        ..NetworkCreateRequest::default()
    };
    session.progress("Network", &network.name, "Creating");
    let created: NetworkCreated = call.json_body(&body).json().await.map_err(|error| {
        CliError::from(error)
            .map_message(|words| format!("failed to create network {}: {words}", network.name))
    })?;
    session.progress("Network", &network.name, "Created");
    Ok(created.id)
}

/// The keys of volumes that are to be there.
fn wanted_volumes<'a>(project: &'a Project, services: &BTreeSet<String>) -> BTreeSet<&'a String> {
    if project.all_resources {
        return project.volumes.keys().collect();
    }
    let chosen = services.iter().filter_map(|name| project.services.get(name));
    let mounts = chosen.flat_map(|service| &service.volumes);
    let named = mounts.filter(|mount| mount.r#type == "volume" && !mount.source.is_empty());
    named
        .filter_map(|mount| project.volumes.get_key_value(&mount.source))
        .map(|(key, _)| key)
        .collect()
}

/// Makes what is missing of the volumes that `services` use, side by side. One that is not as the project says is only made anew when
/// somebody says yes, since its data would be lost; whether containers were removed for that.
pub(crate) async fn volumes(
    session: &Session<'_>,
    project: &Project,
    services: &BTreeSet<String>,
    yes: bool,
    seen: &Seen,
) -> Result<bool, CliError> {
    let (mut missing, mut remade) = (Vec::new(), false);
    for key in wanted_volumes(project, services) {
        let Some(volume) = project.volumes.get(key) else { continue };
        let hash = labels::volume_hash(&project.tree["volumes"][key]);
        match seen.volumes.get(&volume.name) {
            Some(_) if volume.external => {}
            Some(found) => {
                remade |= renewed(session, project, key, found, hash, yes).await?;
            }
            None if volume.external => {
                return Err(CliError::new(format!("external volume {:?} not found", volume.name)));
            }
            None => missing.push((key, hash, format!("there is no volume {}", volume.name))),
        }
    }
    let makes = missing
        .iter()
        .map(|(key, hash, why)| create_volume(session, project, key, hash.clone(), why));
    try_join_all(makes).await?;
    Ok(remade)
}

/// Makes a volume anew if it is the project's, is not as the project says, and somebody agrees.
async fn renewed(
    session: &Session<'_>,
    project: &Project,
    key: &str,
    found: &Volume,
    hash: String,
    yes: bool,
) -> Result<bool, CliError> {
    let Some(volume) = project.volumes.get(key) else { return Ok(false) };
    let own = found.labels.clone().unwrap_or_default();
    if !is_ours(session, project, volume, &own)
        || own.get(labels::HASH).is_none_or(|old| *old == hash)
    {
        return Ok(false);
    }
    let question = format!(
        "Volume {:?} exists but doesn't match configuration in compose file. Recreate (data will be lost)?",
        volume.name
    );
    if session.dry {
        session.cli.println(&format!(
            "# volume {} would stay as it is, unless --yes is given: its definition has changed",
            volume.name
        ))?;
    }
    let asks = session.cli.stdin_is_terminal() && !session.dry;
    let agreed = yes || (asks && session.cli.confirm(&question)?);
    if !agreed {
        if !session.dry && !session.cli.stdin_is_terminal() {
            session.cli.warn(&format!("WARN[0000] {question} Not without --yes"));
        }
        return Ok(false);
    }
    let why = format!("the definition of volume {key} has changed");
    let all = session.containers(&project.name, false).await?;
    let uses = |one: &&Container| {
        let mounts = one.summary.mounts.as_deref().unwrap_or_default();
        mounts.iter().any(|mount| mount.name == volume.name)
    };
    let users: Vec<&Container> = all.iter().filter(uses).collect();
    try_join_all(users.iter().map(|one| async {
        session.stop(one, None, &why).await?;
        session.remove(one, false, &why).await
    }))
    .await?;
    let path = format!("/volumes/{}", path_segment(&volume.name));
    session.make_if_there(Change::delete(path), &why).await?;
    create_volume(session, project, key, hash, &why).await?;
    Ok(true)
}

/// Whether a volume that is there is the project's; if not, that is told.
fn is_ours(
    session: &Session<'_>,
    project: &Project,
    volume: &crate::model::Volume,
    own: &BTreeMap<String, String>,
) -> bool {
    let owner = own.get(labels::PROJECT).map_or("", String::as_str);
    if owner == project.name {
        return true;
    }
    session.cli.warn(&if owner.is_empty() {
        format!(
            "WARN[0000] volume {:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
            volume.name
        )
    } else {
        format!(
            "WARN[0000] volume {:?} already exists but was created for project {owner:?} (expected {:?}). Use `external: true` to use an existing volume",
            volume.name, project.name
        )
    });
    false
}

async fn create_volume(
    session: &Session<'_>,
    project: &Project,
    key: &str,
    hash: String,
    why: &str,
) -> Result<(), CliError> {
    let Some(volume) = project.volumes.get(key) else { return Ok(()) };
    let change = Change::post("/volumes/create");
    let change = change.shown_as(format!("/volumes/create {}", volume.name));
    let Some((call, _permit)) = session.change(&change, why).await? else { return Ok(()) };
    session.progress("Volume", &volume.name, "Creating");
    let body = VolumeCreateRequest {
        name: volume.name.clone(),
        driver: volume.driver.clone(),
        driver_opts: volume.driver_opts.clone(),
        labels: labels::of_resource(project, &volume.labels, labels::VOLUME, key, hash),
        cluster_volume_spec: None,
    };
    call.json_body(&body).json::<Volume>().await?;
    session.progress("Volume", &volume.name, "Created");
    Ok(())
}

/// A resource that is removed by its path, unless somebody still uses it.
async fn remove(
    session: &Session<'_>,
    kind: &str,
    name: &str,
    id: &str,
    in_use: impl Fn(&ferry_client::ClientError) -> bool,
) -> Result<(), CliError> {
    let part = kind.to_lowercase();
    let change = Change::delete(format!("/{part}s/{}", path_segment(id)));
    let change = change.shown_as(format!("/{part}s/{name}"));
    let why = format!("the project goes down, and this {part} with it");
    let Some((call, _permit)) = session.change(&change, &why).await? else { return Ok(()) };
    session.progress(kind, name, "Removing");
    let status = match call.done().await {
        Err(error) if in_use(&error) => "Resource is still in use",
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => "Removed",
    };
    session.progress(kind, name, status);
    Ok(())
}

/// Those that have the project's label.
fn of_project(project: &str) -> Filters {
    let mut filters = Filters::default();
    filters.add("label", &format!("{}={project}", labels::PROJECT));
    filters
}

/// Removes the project's networks, whichever there are.
pub(crate) async fn remove_networks(session: &Session<'_>, project: &str) -> Result<(), CliError> {
    let call = session.client.get("/networks").filters(&of_project(project));
    let list: Vec<Network> = call.json().await?;
    try_join_all(list.iter().map(|network| {
        remove(session, "Network", &network.name, &network.id, |error| {
            error.message().contains("has active endpoints")
        })
    }))
    .await
    .map(drop)
}

/// The project's volumes.
pub(crate) async fn volumes_of(
    session: &Session<'_>,
    project: &str,
) -> Result<Vec<Volume>, CliError> {
    let call = session.client.get("/volumes").filters(&of_project(project));
    let list: VolumeList = call.json().await?;
    Ok(list.volumes.unwrap_or_default())
}

/// Removes the project's volumes.
pub(crate) async fn remove_volumes(session: &Session<'_>, project: &str) -> Result<(), CliError> {
    let list = volumes_of(session, project).await?;
    try_join_all(list.iter().map(|volume| {
        remove(session, "Volume", &volume.name, &volume.name, |error| error.status() == Some(409))
    }))
    .await
    .map(drop)
}

/// Removes images of services: all of them, or those that have no name but the project's.
pub(crate) async fn remove_images(
    session: &Session<'_>,
    project: &Project,
    all: bool,
) -> Result<(), CliError> {
    let services = project.services.values().chain(project.disabled.values());
    let chosen = services.filter(|service| all || service.image.is_empty());
    let images: BTreeSet<String> = chosen
        .flat_map(|service| match all {
            true => project.images_of(service),
            false => vec![project.image_of(service)],
        })
        .collect();
    try_join_all(images.iter().map(|image| async move {
        let path = format!("/images/{}", path_segment(image));
        if session.dry && session.client.get(format!("{path}/json")).done().await.is_err() {
            return Ok(());
        }
        remove(session, "Image", image, image, |error| error.status() == Some(409)).await
    }))
    .await
    .map(drop)
}

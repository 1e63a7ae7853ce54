//! Networks, volumes and images of a project: made before its containers, removed after them.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::{CliError, registry_auth};
use ferry_client::path_segment;
use ferry_docker_api::{
    Filters, Ipam, IpamConfig, JsonMessage, Network, NetworkCreateRequest, NetworkCreated, Volume,
    VolumeCreateRequest,
};
use ferry_oci::Reference;
use serde::Deserialize;
use serde_json::Value;

use super::{Session, ignore_missing, labels};
use crate::model::{Project, Service};

/// Makes what is missing of the networks that `services` are on.
pub(crate) async fn networks(
    session: &Session<'_>,
    project: &Project,
    services: &BTreeSet<String>,
) -> Result<(), CliError> {
    let used: BTreeSet<&String> = services
        .iter()
        .filter_map(|name| project.services.get(name))
        .flat_map(|service| service.networks.keys())
        .collect();
    for key in used {
        let Some(network) = project.networks.get(key) else { continue };
        let mut filters = Filters::default();
        filters.add("name", &network.name);
        let found: Vec<Network> = session.client.get("/networks").filters(&filters).json().await?;
        let found = found.into_iter().find(|known| known.name == network.name);
        match (found, network.external) {
            (Some(_), true) => continue,
            (None, true) if matches!(network.name.as_str(), "host" | "none" | "bridge") => continue,
            (None, true) => {
                return Err(CliError::new(format!(
                    "network {} declared as external, but could not be found",
                    network.name
                )));
            }
            (Some(found), false) => {
                let own = found.labels.unwrap_or_default();
                let label = own.get(labels::NETWORK).cloned().unwrap_or_default();
                if label != *key {
                    return Err(CliError::new(format!(
                        "network {} was found but has incorrect label {} set to {label:?} (expected: {key:?})",
                        network.name,
                        labels::NETWORK
                    )));
                }
            }
            (None, false) => create_network(session, project, key).await?,
        }
    }
    Ok(())
}

async fn create_network(
    session: &Session<'_>,
    project: &Project,
    key: &str,
) -> Result<(), CliError> {
    let Some(network) = project.networks.get(key) else { return Ok(()) };
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
    session
        .client
        .post("/networks/create")
        .json_body(&body)
        .json::<NetworkCreated>()
        .await
        .map_err(|error| {
            CliError::from(error)
                .map_message(|words| format!("failed to create network {}: {words}", network.name))
        })?;
    session.progress("Network", &network.name, "Created");
    Ok(())
}

/// Makes what is missing of the volumes that `services` use.
pub(crate) async fn volumes(
    session: &Session<'_>,
    project: &Project,
    services: &BTreeSet<String>,
) -> Result<(), CliError> {
    let used: BTreeSet<&String> = services
        .iter()
        .filter_map(|name| project.services.get(name))
        .flat_map(|service| &service.volumes)
        .filter(|mount| mount.r#type == "volume" && !mount.source.is_empty())
        .map(|mount| &mount.source)
        .collect();
    for key in used {
        let Some(volume) = project.volumes.get(key) else { continue };
        let path = format!("/volumes/{}", path_segment(&volume.name));
        match session.client.get(path).json::<Volume>().await {
            Ok(_) if volume.external => continue,
            Ok(found) => {
                let owner = found.labels.unwrap_or_default();
                let owner = owner.get(labels::PROJECT).cloned().unwrap_or_default();
                if owner.is_empty() {
                    session.cli.warn(&format!(
                        "volume {:?} already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                        volume.name
                    ));
                } else if owner != project.name {
                    session.cli.warn(&format!(
                        "volume {:?} already exists but was created for project {owner:?} (expected {:?}). Use `external: true` to use an existing volume",
                        volume.name, project.name
                    ));
                }
                continue;
            }
            Err(error) if !error.is_not_found() => return Err(error.into()),
            Err(_) if volume.external => {
                return Err(CliError::new(format!("external volume {:?} not found", volume.name)));
            }
            Err(_) => {}
        }
        let hash = labels::volume_hash(&project.tree["volumes"][key]);
        session.progress("Volume", &volume.name, "Creating");
        let body = VolumeCreateRequest {
            name: volume.name.clone(),
            driver: volume.driver.clone(),
            driver_opts: volume.driver_opts.clone(),
            labels: labels::of_resource(project, &volume.labels, labels::VOLUME, key, hash),
            cluster_volume_spec: None,
        };
        session.client.post("/volumes/create").json_body(&body).json::<Volume>().await?;
        session.progress("Volume", &volume.name, "Created");
    }
    Ok(())
}

#[derive(Deserialize)]
struct ImageId {
    #[serde(rename = "Id")]
    id: String,
}

/// The id of an image that is here.
pub(crate) async fn image_id(
    session: &Session<'_>,
    image: &str,
) -> Result<Option<String>, CliError> {
    let path = format!("/images/{}/json", path_segment(image));
    match session.client.get(path).json::<ImageId>().await {
        Ok(found) => Ok(Some(found.id)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The ids of the services' images, after the pulls that their policies ask for.
pub(crate) async fn images(
    session: &Session<'_>,
    project: &Project,
    services: &BTreeSet<String>,
    pull: &str,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut ids = BTreeMap::new();
    for service in services.iter().filter_map(|name| project.services.get(name)) {
        let image = project.image_of(service);
        let policy =
            if pull.is_empty() || pull == "policy" { service.pull_policy.as_str() } else { pull };
        let here = image_id(session, &image).await?;
        let builds = service.build.is_some();
        let id = match (here, policy) {
            (Some(id), _) if policy != "always" || builds => id,
            (None, _) if builds => {
                return Err(CliError::new(format!(
                    "not supported yet: services.{}.build (there is no image {image})",
                    service.name
                )));
            }
            (None, "never") => {
                return Err(CliError::new(format!("No such image: {image}")));
            }
            _ => {
                self::pull(session, service, &image).await?;
                image_id(session, &image)
                    .await?
                    .ok_or_else(|| CliError::new(format!("No such image: {image}")))?
            }
        };
        ids.insert(service.name.clone(), id);
    }
    Ok(ids)
}

/// Pulls a service's image.
pub(crate) async fn pull(
    session: &Session<'_>,
    service: &Service,
    image: &str,
) -> Result<(), CliError> {
    let reference = Reference::parse(image).map_err(|error| CliError::new(error.to_string()))?;
    let tag = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.to_owned(),
        (None, None) => "latest".to_owned(),
    };
    session.progress(&service.name, "Pulling", "");
    let auth = registry_auth(session.cli, image)?;
    let mut call = session
        .client
        .post("/images/create")
        .query("fromImage", reference.familiar_name())
        .query("tag", tag)
        .query_if(!service.platform.is_empty(), "platform", &service.platform);
    if !auth.is_empty() {
        call = call.header("X-Registry-Auth", auth);
    }
    let mut lines = call.lines::<JsonMessage>().await?;
    while let Some(message) = lines.next().await? {
        let value = serde_json::to_value(&message).unwrap_or(Value::Null);
        if let Some(words) = value.pointer("/errorDetail/message").and_then(Value::as_str) {
            return Err(CliError::new(words));
        }
    }
    session.progress(&service.name, "Pulled", "");
    Ok(())
}

/// Removes the project's networks, whichever there are.
pub(crate) async fn remove_networks(session: &Session<'_>, project: &str) -> Result<(), CliError> {
    let mut filters = Filters::default();
    filters.add("label", &format!("{}={project}", labels::PROJECT));
    let list: Vec<Network> = session.client.get("/networks").filters(&filters).json().await?;
    for network in list {
        session.progress("Network", &network.name, "Removing");
        let call = session.client.delete(format!("/networks/{}", path_segment(&network.id)));
        match call.done().await {
            Err(error) if error.message().contains("has active endpoints") => {
                session.progress("Network", &network.name, "Resource is still in use");
                continue;
            }
            other => ignore_missing(other)?,
        }
        session.progress("Network", &network.name, "Removed");
    }
    Ok(())
}

/// Removes the project's volumes.
pub(crate) async fn remove_volumes(session: &Session<'_>, project: &str) -> Result<(), CliError> {
    let mut filters = Filters::default();
    filters.add("label", &format!("{}={project}", labels::PROJECT));
    let list: ferry_docker_api::VolumeList =
        session.client.get("/volumes").filters(&filters).json().await?;
    for volume in list.volumes.unwrap_or_default() {
        session.progress("Volume", &volume.name, "Removing");
        let call = session.client.delete(format!("/volumes/{}", path_segment(&volume.name)));
        match call.done().await {
            Err(error) if error.status() == Some(409) => {
                session.progress("Volume", &volume.name, "Resource is still in use");
                continue;
            }
            other => ignore_missing(other)?,
        }
        session.progress("Volume", &volume.name, "Removed");
    }
    Ok(())
}

//! `up`: from what runs to what the project says, and nothing more than that.
//!
//! Containers are created in order of dependencies, then started in that order, each after its conditions hold.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::{ContainerCreated, MountPoint};
use futures_util::future::try_join_all;
use tokio::sync::watch;

use super::{
    Container, Session,
    create::{self, Want},
    dependencies, labels,
    order::in_order,
    resources,
    wait::{Until, until},
};
use crate::model::{FileReference, Project, Service};

/// How `up` and `create` treat containers that are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) force: bool,
    pub(crate) no_recreate: bool,
    pub(crate) renew_anonymous: bool,
    pub(crate) timeout: Option<i64>,
    pub(crate) pull: String,
    pub(crate) scale: BTreeMap<String, u32>,
    pub(crate) remove_orphans: bool,
}

/// Creates what is missing, replaces what is different, removes what is too much.
pub(crate) async fn create(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    plan: &Plan,
) -> Result<(), CliError> {
    for name in names {
        project.services.get(name).map_or(Ok(()), create::check)?;
    }
    let ids = resources::images(session, project, names, &plan.pull).await?;
    resources::networks(session, project, names).await?;
    resources::volumes(session, project, names).await?;
    let present = session.containers(&project.name, false).await?;
    orphans(session, project, &present, plan).await?;
    let (present, ids) = (&present, &ids);
    in_order(&dependencies(project, names), |name| async move {
        let Some(service) = project.services.get(&name) else { return Ok(()) };
        let image = ids.get(&name).map_or("", String::as_str);
        converge(session, project, service, image, present, plan).await
    })
    .await
}

/// Containers whose service is no more.
async fn orphans(
    session: &Session<'_>,
    project: &Project,
    present: &[Container],
    plan: &Plan,
) -> Result<(), CliError> {
    let known =
        |name: &str| project.services.contains_key(name) || project.disabled.contains_key(name);
    let orphans: Vec<&Container> =
        present.iter().filter(|container| !known(&container.service)).collect();
    if orphans.is_empty() {
        return Ok(());
    }
    if plan.remove_orphans {
        try_join_all(orphans.into_iter().map(|container| async move {
            session.stop(container, plan.timeout).await?;
            session.remove(container, false).await
        }))
        .await?;
        return Ok(());
    }
    let names: Vec<&str> = orphans.iter().map(|container| container.name.as_str()).collect();
    session.cli.warn(&format!(
        "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
        names.join(" ")
    ));
    Ok(())
}

async fn converge(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    image_id: &str,
    present: &[Container],
    plan: &Plan,
) -> Result<(), CliError> {
    let wanted = plan.scale.get(&service.name).copied().unwrap_or_else(|| service.replicas());
    if !service.container_name.is_empty() && wanted > 1 {
        return Err(CliError::new(format!(
            "WARNING: The {:?} service is using the custom container name {:?}. Docker requires each container to have a unique name. Remove the custom name to scale the service",
            service.name, service.container_name
        )));
    }
    let mut own: Vec<&Container> =
        present.iter().filter(|container| container.service == service.name).collect();
    let hash = labels::service_hash(service);
    // What is outdated goes first when there are too many, then the latest.
    own.sort_by_key(|container| (is_outdated(container, &hash, image_id), container.number));
    let extra = own.split_off(own.len().min(wanted as usize));
    let removals = extra.into_iter().map(|container| async move {
        session.stop(container, plan.timeout).await?;
        session.remove(container, false).await
    });
    let mut taken: BTreeSet<u32> = own.iter().map(|container| container.number).collect();
    let missing: Vec<u32> = (own.len() as u32..wanted)
        .filter_map(|_| {
            let number = (1..=u32::MAX).find(|number| !taken.contains(number))?;
            taken.insert(number);
            Some(number)
        })
        .collect();
    let kept = own.into_iter().map(|container| {
        let outdated = is_outdated(container, &hash, image_id);
        async move {
            if plan.force || (outdated && !plan.no_recreate) {
                recreate(session, project, service, image_id, container, plan).await
            } else {
                if container.running() {
                    session.progress("Container", &container.name, "Running");
                }
                Ok(())
            }
        }
    });
    let created = missing.into_iter().map(|number| async move {
        let name = name_of(project, service, number);
        session.progress("Container", &name, "Creating");
        make(session, project, service, Some(number), &name, &name, image_id, &[]).await?;
        session.progress("Container", &name, "Created");
        Ok(())
    });
    try_join_all(removals).await?;
    try_join_all(kept).await?;
    try_join_all(created).await.map(drop)
}

fn is_outdated(container: &Container, hash: &str, image_id: &str) -> bool {
    let image = container.label(labels::IMAGE);
    container.label(labels::HASH) != hash
        || (!image.is_empty() && !image_id.is_empty() && image != image_id)
}

/// `project-service-1`, or the name that the service has chosen.
pub(crate) fn name_of(project: &Project, service: &Service, number: u32) -> String {
    if service.container_name.is_empty() {
        format!("{}-{}-{number}", project.name, service.name)
    } else {
        service.container_name.clone()
    }
}

/// A new container takes the place, the name and the unnamed volumes of the old one.
async fn recreate(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    image_id: &str,
    old: &Container,
    plan: &Plan,
) -> Result<(), CliError> {
    session.progress("Container", &old.name, "Recreate");
    let name = name_of(project, service, old.number);
    let inherited: Vec<MountPoint> = if plan.renew_anonymous {
        Vec::new()
    } else {
        let named: BTreeSet<&str> =
            project.volumes.values().map(|volume| volume.name.as_str()).collect();
        let found = session.inspect(&old.id).await?;
        let mounts = found.mounts.unwrap_or_default().into_iter();
        mounts
            .filter(|mount| mount.kind == "volume" && !named.contains(mount.name.as_str()))
            .collect()
    };
    let short = old.id.get(..12).unwrap_or(&old.id);
    let temporary = format!("{short}_{name}");
    let id =
        make(session, project, service, Some(old.number), &temporary, &name, image_id, &inherited)
            .await?;
    let stop = session.post(&old.id, "stop");
    let stop = stop.query_if(plan.timeout.is_some(), "t", plan.timeout.unwrap_or(0));
    super::ignore_missing(stop.done().await)?;
    let path = format!("/containers/{}", path_segment(&old.id));
    super::ignore_missing(session.client.delete(path).query("force", 1).done().await)?;
    session.post(&id, "rename").query("name", &name).done().await?;
    session.progress("Container", &old.name, "Recreated");
    Ok(())
}

/// Creates one container, with the secrets and configs that have no file; its id.
#[expect(clippy::too_many_arguments, reason = "each is one thing that a container is made from")]
pub(crate) async fn make(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    number: Option<u32>,
    created_as: &str,
    name: &str,
    image_id: &str,
    inherited: &[MountPoint],
) -> Result<String, CliError> {
    let shares = [&service.network_mode, &service.ipc, &service.pid]
        .iter()
        .any(|mode| mode.starts_with("service:"))
        || !service.volumes_from.is_empty();
    let present = if shares { session.containers(&project.name, false).await? } else { Vec::new() };
    let container_of = |name: &str| {
        present.iter().find(|container| container.service == name).map(|found| found.id.clone())
    };
    let image = project.image_of(service);
    let request = create::request(&Want {
        project,
        service,
        number,
        name,
        image: &image,
        image_id,
        inherited,
        container_of: &container_of,
    })?;
    let created: ContainerCreated = session
        .client
        .post("/containers/create")
        .query("name", created_as)
        .query_if(!service.platform.is_empty(), "platform", &service.platform)
        .json_body(&request)
        .json()
        .await?;
    for warning in &created.warnings {
        session.cli.warn(warning);
    }
    inject(session, project, service, &created.id).await?;
    Ok(created.id)
}

/// Configs and secrets from variables or written in the file go into the container as files.
async fn inject(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    id: &str,
) -> Result<(), CliError> {
    let configs = service.configs.iter().map(|reference| (&project.configs, reference));
    let secrets = service.secrets.iter().map(|reference| (&project.secrets, reference));
    for (all, reference) in configs.chain(secrets) {
        let Some(object) = all.get(&reference.source) else { continue };
        let text = match (&object.content, &object.environment) {
            (Some(content), _) => content.clone(),
            (None, Some(name)) => project.environment.get(name).cloned().ok_or_else(|| {
                CliError::new(format!(
                    "environment variable {name:?} required by file {:?} is not set",
                    object.name
                ))
            })?,
            (None, None) => continue,
        };
        let tar = one_file(reference, text.as_bytes())?;
        session
            .client
            .put(format!("/containers/{}/archive", path_segment(id)))
            .query("path", "/")
            .upload("application/x-tar", std::io::Cursor::new(tar.clone()), Some(tar.len() as u64))
            .done()
            .await?;
    }
    Ok(())
}

/// A tar with one file: a header of 512 bytes, the content, zeroes to the end of the block and two blocks more.
fn one_file(reference: &FileReference, content: &[u8]) -> Result<Vec<u8>, CliError> {
    let path = create::target_of(reference);
    let name = path.trim_start_matches('/').as_bytes();
    if name.len() > 100 {
        return Err(CliError::new(format!("the path {path:?} is longer than 100 bytes")));
    }
    let mode = reference.mode.as_deref().and_then(|mode| u32::from_str_radix(mode, 8).ok());
    let mode = mode.unwrap_or(0o444) & 0o7777;
    let number = |text: &str| text.parse::<u64>().unwrap_or(0) & 0o7_777_777;
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name);
    header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
    header[108..115].copy_from_slice(format!("{:07o}", number(&reference.uid)).as_bytes());
    header[116..123].copy_from_slice(format!("{:07o}", number(&reference.gid)).as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    Ok(tar)
}

/// Starts what does not run, each after its conditions hold; `started` is told the ids.
pub(crate) async fn start(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    started: Option<&watch::Sender<BTreeSet<String>>>,
) -> Result<(), CliError> {
    let present = session.containers(&project.name, false).await?;
    let present = &present;
    in_order(&dependencies(project, names), |name| async move {
        let Some(service) = project.services.get(&name) else { return Ok(()) };
        let own = present.iter().filter(|container| container.service == name);
        let own: Vec<&Container> = own.filter(|container| !container.running()).collect();
        if own.is_empty() {
            return Ok(());
        }
        conditions(session, service, present).await?;
        try_join_all(own.into_iter().map(|container| async move {
            session.progress("Container", &container.name, "Starting");
            session.post(&container.id, "start").done().await?;
            if let Some(started) = started {
                started.send_modify(|ids| ids.extend([container.id.clone()]));
            }
            session.progress("Container", &container.name, "Started");
            Ok::<(), CliError>(())
        }))
        .await
        .map(drop)
    })
    .await
}

async fn conditions(
    session: &Session<'_>,
    service: &Service,
    present: &[Container],
) -> Result<(), CliError> {
    for (name, how) in &service.depends_on {
        let what = match how.condition.as_str() {
            "service_healthy" => Until::Healthy,
            "service_completed_successfully" => Until::Completed,
            _ => continue,
        };
        let others = present.iter().filter(|container| container.service == *name);
        let waits = try_join_all(others.map(|container| until(session, container, what))).await;
        match waits {
            Err(error) if !how.required => session.cli.warn(&format!(
                "optional dependency {name:?} failed to start: {}",
                error.message()
            )),
            other => drop(other?),
        }
    }
    Ok(())
}

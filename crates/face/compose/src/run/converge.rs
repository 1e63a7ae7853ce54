//! `up`: from what runs to what the project says, and nothing more than that.
//!
//! Containers are created in order of dependencies, then started in that order, each after its conditions hold. What is done to a
//! service's containers is decided in `decide.rs`; a service with `deploy.update_config` is replaced while it runs, in `rolling.rs`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use ferry_cli::face::CliError;
use ferry_client::path_segment;
use ferry_docker_api::{ContainerCreated, MountPoint};
use futures_util::future::try_join_all;

use super::{
    Change, Container, Session, create,
    create::Want,
    decide::{Decision, Policy, Wanted, decide, first_of},
    dependencies, hooks, inject,
    interrupted::{self, temporary_name},
    order::in_order,
    resources::{self, Seen},
    rolling::{self, Roll},
};
use crate::{
    load,
    model::{Project, Service},
};

/// How `up` and `create` treat containers that are there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// For the services that were named, or all without names.
    pub(crate) policy: Policy,
    /// For what those depend on.
    pub(crate) dependencies: Policy,
    /// The services that were named; empty for all.
    pub(crate) named: BTreeSet<String>,
    pub(crate) renew_anonymous: bool,
    pub(crate) timeout: Option<i64>,
    pub(crate) scale: BTreeMap<String, u32>,
    pub(crate) remove_orphans: bool,
    /// Questions are answered with yes.
    pub(crate) yes: bool,
    /// The ids of the services' images.
    pub(crate) images: BTreeMap<String, String>,
    /// Containers are not started afterwards, so that nothing can be replaced while it runs.
    pub(crate) only_create: bool,
}

/// What `create` leaves to `start`, by service.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Containers that are replaced while they run.
    pub(crate) rolls: BTreeMap<String, Vec<Roll>>,
    /// Names of those that were made or stopped, and so do not run: what a rehearsal starts.
    pub(super) made: BTreeMap<String, BTreeSet<String>>,
    /// Ids of those that were too many: a rehearsal still sees them.
    pub(super) removed: BTreeSet<String>,
    /// The daemon lets one container take another one's place.
    pub(super) hands_over: bool,
    /// The project's containers, where nothing was done to any of them.
    pub(super) present: Option<Vec<Container>>,
}

/// Creates what is missing, replaces what is different, removes what is too much.
pub(crate) async fn create(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    plan: &Plan,
) -> Result<Pending, CliError> {
    let services = names.iter().filter_map(|name| project.services.get(name));
    let rolls = services.into_iter().any(|service| rolling::config(service).is_some());
    let hands_over = rolls && session.hands_over().await?;
    for name in names {
        let Some(service) = project.services.get(name) else { continue };
        create::check(service)?;
        for warning in create::warnings(project, service, hands_over) {
            session.cli.warn(&format!("WARN[0000] {warning}"));
        }
    }
    let (seen, mut present) = tokio::try_join!(
        Seen::look(session, project, names),
        session.containers(&project.name, false)
    )?;
    let (networks, stopped) = resources::networks(session, project, names, &seen).await?;
    let removed = resources::volumes(session, project, names, plan.yes, &seen).await?;
    if stopped || removed {
        present = session.containers(&project.name, false).await?;
    }
    orphans(session, project, &present, plan.remove_orphans, plan.timeout).await?;
    let found = present.len();
    interrupted::finish(session, project, names, plan.timeout, &mut present).await?;
    let work = Work {
        session,
        project,
        plan,
        present: &present,
        networks: &networks,
        replaced: Mutex::default(),
        pending: Mutex::default(),
        changed: AtomicBool::new(present.len() != found),
    };
    let run = &work;
    in_order(&dependencies(project, names), |name| async move {
        match project.services.get(&name) {
            Some(service) => run.converge(service).await,
            None => Ok(()),
        }
    })
    .await?;
    let changed = work.changed.into_inner();
    let mut pending = work.pending.into_inner().unwrap_or_else(PoisonError::into_inner);
    pending.hands_over = hands_over;
    if !changed {
        pending.present = Some(present);
    }
    Ok(pending)
}

/// Containers whose service is no more.
pub(crate) async fn orphans(
    session: &Session<'_>,
    project: &Project,
    present: &[Container],
    remove: bool,
    timeout: Option<i64>,
) -> Result<(), CliError> {
    let known =
        |name: &str| project.services.contains_key(name) || project.disabled.contains_key(name);
    let orphans: Vec<&Container> =
        present.iter().filter(|container| !known(&container.service)).collect();
    if orphans.is_empty() {
        return Ok(());
    }
    if remove {
        let why = "no service of the project has this container";
        try_join_all(orphans.into_iter().map(|container| async move {
            session.stop(container, timeout, why).await?;
            session.remove(container, false, why).await
        }))
        .await?;
        return Ok(());
    }
    if session.cli.env("COMPOSE_IGNORE_ORPHANS").is_some_and(|text| load::is_on(&text)) {
        return Ok(());
    }
    let names: Vec<&str> = orphans.iter().map(|container| container.name.as_str()).collect();
    session.cli.warn(&format!(
        "WARN[0000] Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
        names.join(" ")
    ));
    Ok(())
}

/// One `create`.
struct Work<'a> {
    session: &'a Session<'a>,
    project: &'a Project,
    plan: &'a Plan,
    present: &'a [Container],
    /// Ids by key.
    networks: &'a BTreeMap<String, String>,
    /// Services of which a container was replaced: those that share its namespaces must be, too.
    replaced: Mutex<BTreeSet<String>>,
    pending: Mutex<Pending>,
    /// Containers are not as they were listed.
    changed: AtomicBool,
}

impl Work<'_> {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A container of the service is there, and does not run.
    fn was_made(&self, service: &str, name: &str) {
        self.pending().made.entry(service.to_owned()).or_default().insert(name.to_owned());
    }

    async fn converge(&self, service: &Service) -> Result<(), CliError> {
        let Work { project, plan, present, .. } = *self;
        let image = plan.images.get(&service.name).map_or("", String::as_str);
        let wanted = plan.scale.get(&service.name).copied().unwrap_or_else(|| service.replicas());
        if !service.container_name.is_empty() && wanted > 1 {
            return Err(CliError::new(format!(
                "WARNING: The {:?} service is using the custom container name {:?}. Docker requires each container to have a unique name. Remove the custom name to scale the service",
                service.name, service.container_name
            )));
        }
        let named = plan.named.is_empty() || plan.named.contains(&service.name);
        let shared = service.shares_with();
        let shared = {
            let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            shared.into_iter().find(|other| replaced.contains(*other)).map(str::to_owned)
        };
        let decision = decide(
            &Wanted {
                project,
                service,
                image,
                count: wanted,
                networks: self.networks,
                policy: if named { plan.policy } else { plan.dependencies },
                shared_was_replaced: shared,
            },
            present,
        )?;
        self.apply(service, image, decision).await
    }

    async fn apply(
        &self,
        service: &Service,
        image: &str,
        decision: Decision<'_>,
    ) -> Result<(), CliError> {
        let Work { session, project, plan, .. } = *self;
        if !(decision.remove.is_empty()
            && decision.replace.is_empty()
            && decision.create.is_empty())
        {
            self.changed.store(true, Ordering::Relaxed);
        }
        self.pending().removed.extend(decision.remove.iter().map(|(one, _)| one.id.clone()));
        try_join_all(decision.remove.iter().map(|(container, why)| async move {
            hooks::pre_stop(session, Some(service), container).await?;
            session.stop(container, plan.timeout, why).await?;
            session.remove(container, false, why).await
        }))
        .await?;
        for container in &decision.keep {
            if container.running() {
                session.progress("Container", &container.name, "Running");
            }
        }
        let (rolled, replaced): (Vec<_>, Vec<_>) =
            decision.replace.into_iter().partition(|(one, _)| {
                one.running() && !plan.only_create && rolling::config(service).is_some()
            });
        if !rolled.is_empty() {
            let rolls = rolled.into_iter().map(|(one, why)| Roll { old: one.clone(), why });
            self.pending().rolls.insert(service.name.clone(), rolls.collect());
        }
        if !replaced.is_empty() {
            self.stop_dependents(service).await?;
            let mut names = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            names.insert(service.name.clone());
        }
        try_join_all(
            replaced
                .iter()
                .map(|(old, why)| async move { self.recreate(service, image, old, why).await }),
        )
        .await?;
        try_join_all(decision.create.iter().map(|number| async move {
            let name = name_of(project, service, *number);
            session.progress("Container", &name, "Creating");
            let made =
                Made { number: Some(*number), created_as: &name, name: &name, inherited: &[] };
            let why = format!("service {} has no container {number}", service.name);
            make(session, project, service, image, &made, &why).await?;
            self.was_made(&service.name, &name);
            session.progress("Container", &name, "Created");
            Ok::<(), CliError>(())
        }))
        .await
        .map(drop)
    }

    /// Stops those that are to be restarted with this service; they start again when all is created.
    async fn stop_dependents(&self, service: &Service) -> Result<(), CliError> {
        let (session, project) = (self.session, self.project);
        let waits = |name: &str| {
            let other = project.services.get(name)?;
            other.depends_on.get(&service.name).filter(|how| how.restart).map(|_| other)
        };
        let why = format!("it is to be restarted with service {}", service.name);
        let why = why.as_str();
        let dependents = self.present.iter().filter_map(|one| Some((one, waits(&one.service)?)));
        try_join_all(dependents.filter(|(one, _)| one.running()).map(|(one, other)| async move {
            hooks::pre_stop(session, Some(other), one).await?;
            self.was_made(&one.service, &one.name);
            session.stop(one, self.plan.timeout, why).await
        }))
        .await
        .map(drop)
    }

    /// A new container takes the place, the name and the unnamed volumes of the old one.
    async fn recreate(
        &self,
        service: &Service,
        image: &str,
        old: &Container,
        why: &str,
    ) -> Result<(), CliError> {
        let Work { session, project, plan, .. } = *self;
        session.progress("Container", &old.name, "Recreate");
        let name = name_of(project, service, old.number);
        let kept = if plan.renew_anonymous {
            Vec::new()
        } else {
            inherited(session, project, old).await?
        };
        let temporary = temporary_name(old, &name);
        let made = Made {
            number: Some(old.number),
            created_as: &temporary,
            name: &name,
            inherited: &kept,
        };
        let id = make(session, project, service, image, &made, why).await?;
        hooks::pre_stop(session, Some(service), old).await?;
        let stop = Change::container(&old.id, &old.name, "stop");
        let stop = stop.query_if(plan.timeout.is_some(), "t", plan.timeout.unwrap_or(0));
        session.make_if_there(stop, why).await?;
        remove_old(session, old, why).await?;
        rename(session, &id, &temporary, &name, why).await?;
        self.was_made(&service.name, &name);
        session.progress("Container", &old.name, "Recreated");
        Ok(())
    }
}

/// Removes a container that another one stands for.
pub(crate) async fn remove_old(
    session: &Session<'_>,
    old: &Container,
    why: &str,
) -> Result<(), CliError> {
    let change = Change::delete(format!("/containers/{}", path_segment(&old.id)));
    let change = change.shown_as(format!("/containers/{}", old.name)).query("force", 1);
    session.make_if_there(change, why).await
}

/// Gives a container its own name.
pub(crate) async fn rename(
    session: &Session<'_>,
    id: &str,
    from: &str,
    to: &str,
    why: &str,
) -> Result<(), CliError> {
    session.make(Change::container(id, from, "rename").query("name", to), why).await
}

/// The volumes that only the container itself knows.
pub(crate) async fn inherited(
    session: &Session<'_>,
    project: &Project,
    old: &Container,
) -> Result<Vec<MountPoint>, CliError> {
    let named: BTreeSet<&str> =
        project.volumes.values().map(|volume| volume.name.as_str()).collect();
    let found = session.inspect(&old.id).await?;
    let mounts = found.mounts.unwrap_or_default().into_iter();
    Ok(mounts.filter(|one| one.kind == "volume" && !named.contains(one.name.as_str())).collect())
}

/// `project-service-1`, or the name that the service has chosen.
pub(crate) fn name_of(project: &Project, service: &Service, number: u32) -> String {
    if service.container_name.is_empty() {
        let separator = project.separator();
        format!("{}{separator}{}{separator}{number}", project.name, service.name)
    } else {
        service.container_name.clone()
    }
}

/// What a container is, beside its service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    /// None for one of `run`.
    pub(crate) number: Option<u32>,
    /// The name until it takes another's place.
    pub(crate) created_as: &'a str,
    pub(crate) name: &'a str,
    pub(crate) inherited: &'a [MountPoint],
}

/// Creates one container, with the secrets and configs that have no file; its id.
pub(crate) async fn make(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
    image_id: &str,
    made: &Made<'_>,
    why: &str,
) -> Result<String, CliError> {
    let shares = !(service.shares_with().is_empty() && service.links.is_empty());
    let present = if shares { session.containers(&project.name, false).await? } else { Vec::new() };
    let container_of = |name: &str| {
        let found = first_of(&present, name);
        found.map(|found| found.id.clone()).or_else(|| session.dry.then(|| format!("{name}-1")))
    };
    let image = project.image_of(service);
    let request = create::request(&Want {
        project,
        service,
        number: made.number,
        name: made.name,
        image: &image,
        image_id,
        inherited: made.inherited,
        container_of: &container_of,
        present: &present,
    })?;
    let change = Change::post("/containers/create").query("name", made.created_as).query_if(
        !service.platform.is_empty(),
        "platform",
        &service.platform,
    );
    let id = match session.change(&change, why).await? {
        None => made.created_as.to_owned(),
        Some((call, _permit)) => {
            let created: ContainerCreated = call.json_body(&request).json().await?;
            for warning in &created.warnings {
                session.cli.warn(warning);
            }
            created.id
        }
    };
    inject::inject(session, project, service, &id, made.name).await?;
    Ok(id)
}

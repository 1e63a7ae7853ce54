//! Starting what was created, each service after what it depends on is as it has to be.

use std::collections::BTreeSet;

use ferry_cli::face::CliError;
use futures_util::future::try_join_all;

use super::{
    Change, Container, Session,
    converge::{Pending, Plan},
    dependencies, hooks,
    interrupted::is_leftover,
    order::in_order,
    pre_start, rolling,
    starts::Starts,
    wait::{Until, until},
};
use crate::model::{Project, Service};

/// Starts what does not run, each after its conditions hold; `starts` is told which. Then what is to be replaced as it runs.
pub(crate) async fn start_and_roll(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    starts: Option<&Starts>,
    pending: &Pending,
    plan: &Plan,
) -> Result<(), CliError> {
    let listed;
    let present = match &pending.present {
        Some(present) => present,
        None => {
            listed = session.containers(&project.name, false).await?;
            &listed
        }
    };
    if let Some(starts) = starts {
        // As this list has them: one that has ended since is not started.
        let running = present.iter().filter(|one| one.running());
        starts.run_already(running.map(|one| one.id.clone()));
    }
    in_order(&dependencies(project, names), |name| async move {
        let Some(service) = project.services.get(&name) else {
            // A project without files: its containers are all that is known of it.
            let own = present.iter().filter(|one| one.service == name && !one.running());
            return try_join_all(own.map(|one| start_one(session, None, one, starts)))
                .await
                .map(drop);
        };
        let own = present.iter().filter(|container| container.service == name);
        let own: Vec<&Container> = own.filter(|container| !container.running()).collect();
        let (late, own): (Vec<_>, Vec<_>) =
            own.into_iter().partition(|one| is_leftover(project, service, one));
        for container in late {
            // Somebody was killed while the daemon made it.
            session.remove(container, false, "an earlier replacement was interrupted").await?;
        }
        let roll = pending.rolls.get(&name);
        if own.is_empty() && roll.is_none() && !session.dry {
            return Ok(());
        }
        conditions(session, project, service).await?;
        let mut first =
            own.first().copied().or(roll.and_then(|rolls| rolls.first().map(|one| &one.old)));
        if session.dry {
            let starts = pending.made.get(&name);
            let made = |one: &&Container| starts.is_some_and(|names| names.contains(&one.name));
            let stays = |one: &&Container| !made(one) && !pending.removed.contains(&one.id);
            let runs =
                present.iter().any(|one| one.service == name && one.running() && stays(&one));
            if roll.is_some() || starts.is_some_and(|names| !names.is_empty()) && !runs {
                pre_start::run(session, project, service, first).await?;
            }
        } else {
            // Those that have run have had it done.
            let ran = |one: &Container| one.service == name && one.summary.state != "created";
            first = first.filter(|_| roll.is_some() || !present.iter().any(ran));
            if first.is_some() {
                pre_start::run(session, project, service, first).await?;
            }
        }
        if session.dry {
            let mut starts = pending.made.get(&name).cloned().unwrap_or_default();
            let stay = own.iter().filter(|one| !pending.removed.contains(&one.id));
            starts.extend(stay.map(|one| one.name.clone()));
            for name in starts {
                session.make(Change::container(&name, &name, "start"), "it is to run").await?;
            }
        } else {
            let own = own.into_iter().map(|one| start_one(session, Some(service), one, starts));
            try_join_all(own).await?;
        }
        match roll {
            Some(roll) => {
                let image = plan.images.get(&name).map_or("", String::as_str);
                let update = rolling::Update::new(session, project, service, image, plan);
                let Some(update) = update else { return Ok(()) };
                update.run(roll, pending.hands_over).await
            }
            None => Ok(()),
        }
    })
    .await
}

/// `start_and_roll` where nothing was created before.
pub(crate) async fn start(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
) -> Result<(), CliError> {
    let plan = Plan { only_create: true, ..Plan::default() };
    start_and_roll(session, project, names, None, &Pending::default(), &plan).await
}

async fn start_one(
    session: &Session<'_>,
    service: Option<&Service>,
    container: &Container,
    starts: Option<&Starts>,
) -> Result<(), CliError> {
    let start = async {
        session.progress("Container", &container.name, "Starting");
        let change = Change::container(&container.id, &container.name, "start");
        session.make(change, "it does not run").await
    };
    let started = match starts {
        Some(starts) => starts.start(&container.id, start).await?,
        None => start.await.map(|()| true)?,
    };
    if !started {
        return Ok(());
    }
    hooks::post_start(session, service, &container.id, &container.name).await?;
    session.progress("Container", &container.name, "Started");
    Ok(())
}

/// Waits for what a service depends on.
pub(crate) async fn conditions(
    session: &Session<'_>,
    project: &Project,
    service: &Service,
) -> Result<(), CliError> {
    let waits = |how: &str| matches!(how, "service_healthy" | "service_completed_successfully");
    if session.dry || !service.depends_on.values().any(|how| waits(&how.condition)) {
        return Ok(());
    }
    let present = session.containers(&project.name, false).await?;
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

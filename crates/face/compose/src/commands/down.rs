//! `compose down`.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::future::try_join_all;

use super::{
    Compose, DRY, Verb,
    up::{stop_in_order, timeout},
};
use crate::{
    load,
    model::Project,
    run::{Container, Session, resources},
};

pub(super) static DOWN: Verb = Verb {
    command: Command {
        name: "down",
        short: "Stop and remove containers, networks",
        usage: "[OPTIONS] [SERVICES]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::string(
                "rmi",
                "Remove images used by services. \"local\" remove only images that don't have a custom tag (\"local\"|\"all\")",
            ),
            Flag::int("timeout", "Specify a shutdown timeout in seconds").short('t'),
            Flag::bool(
                "volumes",
                "Remove named volumes declared in the \"volumes\" section of the Compose file and anonymous volumes attached to containers",
            )
            .short('v'),
        ],
        ..Command::NEW
    },
    run: down,
};

fn down(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let images = matches.text("rmi");
    if !matches!(images, "" | "all" | "local") {
        return Err(CliError::new(format!("invalid value for --rmi: {images:?}")));
    }
    let project = compose.project_or_name()?;
    let session = compose.session()?;
    let (names, volumes) = (matches.args(), matches.flag("volumes"));
    for name in names {
        if !project.files.is_empty()
            && !project.services.contains_key(name)
            && !project.disabled.contains_key(name)
        {
            return Err(CliError::new(format!("no such service: {name}")));
        }
    }
    let orphans = matches.flag("remove-orphans")
        || compose.cli.env("COMPOSE_REMOVE_ORPHANS").is_some_and(|text| load::is_on(&text));
    compose.cli.wait(async {
        let all = session.containers(&project.name, true).await?;
        let known = |name: &str| {
            project.files.is_empty()
                || project.services.contains_key(name)
                || project.disabled.contains_key(name)
        };
        let own: Vec<Container> = all
            .into_iter()
            .filter(|one| {
                let named = names.is_empty() || names.contains(&one.service);
                named && (known(&one.service) || orphans || one.oneoff)
            })
            .collect();
        clear(&session, &project, &own, timeout(matches), volumes).await?;
        if !names.is_empty() {
            return Ok(0);
        }
        let networks = resources::remove_networks(&session, &project.name);
        let volumes = async {
            if volumes { resources::remove_volumes(&session, &project.name).await } else { Ok(()) }
        };
        let images = async {
            match images {
                "" => Ok(()),
                which => resources::remove_images(&session, &project, which == "all").await,
            }
        };
        tokio::try_join!(networks, volumes, images)?;
        Ok(0)
    })
}

/// Stops and removes containers.
async fn clear(
    session: &Session<'_>,
    project: &Project,
    own: &[Container],
    timeout: Option<i64>,
    volumes: bool,
) -> Result<(), CliError> {
    stop_in_order(session, project, own, timeout).await?;
    try_join_all(own.iter().map(|one| session.remove(one, volumes, "the project goes down")))
        .await
        .map(drop)
}

/// Everything of a project but its volumes and images.
pub(super) async fn all(session: &Session<'_>, project: &Project) -> Result<(), CliError> {
    let own = session.containers(&project.name, true).await?;
    clear(session, project, &own, None, false).await?;
    resources::remove_networks(session, &project.name).await
}

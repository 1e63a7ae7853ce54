//! `compose down`.

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::future::try_join_all;

use super::{
    Compose, Verb,
    up::{stop_in_order, timeout},
};
use crate::run::{Container, resources};

pub(super) static DOWN: Verb = Verb {
    command: Command {
        name: "down",
        short: "Stop and remove containers, networks",
        usage: "[OPTIONS] [SERVICES]",
        args: Args::Any,
        flags: &[
            Flag::bool("remove-orphans", "Remove containers for services not defined in the Compose file"),
            Flag::string("rmi", "Remove images used by services. \"local\" remove only images that don't have a custom tag (\"local\"|\"all\")"),
            Flag::int("timeout", "Specify a shutdown timeout in seconds").short('t'),
            Flag::bool("volumes", "Remove named volumes declared in the \"volumes\" section of the Compose file and anonymous volumes attached to containers").short('v'),
        ],
        ..Command::NEW
    },
    run: down,
};

fn down(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    if matches.is_set("rmi") {
        return Err(CliError::new("not supported yet: --rmi"));
    }
    let project = compose.project_or_name()?;
    let session = compose.session()?;
    let (names, volumes) = (matches.args(), matches.flag("volumes"));
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
                named && (known(&one.service) || matches.flag("remove-orphans") || one.oneoff)
            })
            .collect();
        stop_in_order(&session, &project, &own, timeout(matches)).await?;
        try_join_all(own.iter().map(|one| session.remove(one, volumes))).await?;
        if !names.is_empty() {
            return Ok(0);
        }
        if volumes {
            resources::remove_volumes(&session, &project.name).await?;
        }
        resources::remove_networks(&session, &project.name).await?;
        Ok(0)
    })
}

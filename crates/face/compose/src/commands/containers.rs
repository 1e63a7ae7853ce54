//! Which containers a command is about; and `rm` and `wait`.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_docker_api::WaitResponse;
use futures_util::{StreamExt, future::try_join_all, stream::FuturesUnordered};

use super::{Compose, DRY, Verb, down, select, up::stop_in_order};
use crate::{
    model::Project,
    run::{Container, Session},
};

pub(super) static RM: Verb = Verb {
    command: Command {
        name: "rm",
        short: "Removes stopped service containers",
        long: "Removes stopped service containers\n\nBy default, anonymous volumes attached to containers will not be removed. You\ncan override this with -v. To list all volumes, use \"docker volume ls\".\n\nAny data which is not in a volume will be lost.",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("force", "Don't ask to confirm removal").short('f'),
            Flag::bool("stop", "Stop the containers, if required, before removing").short('s'),
            Flag::bool("volumes", "Remove any anonymous volumes attached to containers").short('v'),
        ],
        ..Command::NEW
    },
    run: rm,
};

pub(super) static WAIT: Verb = Verb {
    command: Command {
        name: "wait",
        short: "Block until containers of all (or specified) services stop.",
        usage: "SERVICE [SERVICE...] [OPTIONS]",
        args: Args::AtLeast(1),
        flags: &[Flag::bool("down-project", "Drops project when the first container stops"), DRY],
        ..Command::NEW
    },
    run: wait,
};

fn wait(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let project = compose.project_or_name()?;
    let names = matches.args().iter().cloned().collect();
    let session = compose.session()?;
    compose.cli.wait(async {
        let own = own(&session, &project, &names).await?;
        if own.is_empty() {
            return Err(CliError::new(
                "no containers for project ".to_owned() + &format!("{:?}", project.name),
            ));
        }
        let mut waits: FuturesUnordered<_> = own
            .iter()
            .map(|one| {
                let call = session.client.post(format!("/containers/{}/wait", one.id));
                async move { (one, call.json::<WaitResponse>().await) }
            })
            .collect();
        let mut code = 0;
        while let Some((one, ended)) = waits.next().await {
            let status = ended?.status_code;
            let line = format!("container {:?} exited with status code {status}", one.id);
            compose.cli.println(&line)?;
            code = u8::try_from(status).unwrap_or(1);
            if matches.flag("down-project") {
                down::all(&session, &project).await?;
                break;
            }
        }
        Ok(code)
    })
}

fn rm(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let list = || compose.cli.wait(own(&session, &project, &names));
    let stops = matches.flag("stop");
    if stops {
        let running = list()?;
        compose.cli.wait(stop_in_order(&session, &project, &running, None))?;
    }
    let ends = |one: &Container| !one.running() || (stops && session.dry);
    let stopped: Vec<Container> = list()?.into_iter().filter(ends).collect();
    if stopped.is_empty() {
        compose.cli.warn("No stopped containers");
        return Ok(0);
    }
    let shown: Vec<&str> = stopped.iter().map(|one| one.name.as_str()).collect();
    let words = format!("Going to remove {}", shown.join(", "));
    if matches.flag("force") || session.dry {
        compose.cli.println(&words)?;
    } else if !compose.cli.confirm(&format!("? {words}"))? {
        return Ok(0);
    }
    let volumes = matches.flag("volumes");
    let removals = stopped.iter().map(|one| session.remove(one, volumes, "rm was asked for"));
    compose.cli.wait(try_join_all(removals))?;
    Ok(0)
}

/// The project, and the services that were named; of a project without files, those that have containers.
pub(super) fn chosen(
    compose: &Compose<'_>,
    matches: &Matches,
) -> Result<(Project, BTreeSet<String>), CliError> {
    let mut project = compose.project_or_name()?;
    if project.files.is_empty() {
        let session = compose.session()?;
        let all = compose.cli.wait(session.containers(&project.name, false))?;
        let names = all.into_iter().map(|one| one.service);
        let named = |name: &String| matches.args().is_empty() || matches.args().contains(name);
        return Ok((project, names.filter(named).collect()));
    }
    let names = select(&mut project, matches.args(), false)?;
    Ok((project, names))
}

/// The containers of those services.
pub(super) async fn own(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
) -> Result<Vec<Container>, CliError> {
    let all = session.containers(&project.name, false).await?;
    Ok(all.into_iter().filter(|one| names.contains(&one.service)).collect())
}

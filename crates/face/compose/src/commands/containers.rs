//! Commands that do one thing to each of a project's containers.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_docker_api::WaitResponse;
use futures_util::future::try_join_all;

use super::{
    Compose, Verb, select,
    up::{scales, stop_in_order, timeout},
};
use crate::{
    model::Project,
    run::{
        Container, Session,
        converge::{self, Plan},
    },
};

const TIMEOUT: Flag = Flag::int("timeout", "Specify a shutdown timeout in seconds").short('t');

pub(super) static CREATE: Verb = Verb {
    command: Command {
        name: "create",
        short: "Creates containers for a service",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool(
                "force-recreate",
                "Recreate containers even if their configuration and image haven't changed",
            ),
            Flag::bool(
                "no-recreate",
                "If containers already exist, don't recreate them. Incompatible with --force-recreate.",
            ),
            Flag::string(
                "pull",
                "Pull image before running (\"always\"|\"missing\"|\"never\"|\"build\")",
            )
            .default("policy"),
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::value(
                "scale",
                "scale",
                "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.",
            ),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut project = compose.project()?;
        let names = select(&mut project, matches.args(), true)?;
        let plan = Plan {
            force: matches.flag("force-recreate"),
            no_recreate: matches.flag("no-recreate"),
            pull: matches.text("pull").to_owned(),
            remove_orphans: matches.flag("remove-orphans"),
            scale: scales(matches)?,
            ..Plan::default()
        };
        let session = compose.session()?;
        compose.cli.wait(converge::create(&session, &project, &names, &plan))?;
        Ok(0)
    },
};

pub(super) static START: Verb = Verb {
    command: Command {
        name: "start",
        short: "Start services",
        usage: "[SERVICE...]",
        args: Args::Any,
        ..Command::NEW
    },
    run: |compose, matches| {
        let (project, names) = chosen(compose, matches)?;
        let session = compose.session()?;
        compose.cli.wait(async {
            let all = session.containers(&project.name, false).await?;
            for name in &names {
                if !all.iter().any(|one| one.service == *name) {
                    return Err(CliError::new(format!(
                        "service {name:?} has no container to start"
                    )));
                }
            }
            converge::start(&session, &project, &names, None).await?;
            Ok(0)
        })
    },
};

pub(super) static STOP: Verb = Verb {
    command: Command {
        name: "stop",
        short: "Stop services",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[TIMEOUT],
        ..Command::NEW
    },
    run: |compose, matches| {
        let (project, names) = chosen(compose, matches)?;
        let session = compose.session()?;
        compose.cli.wait(async {
            let own = own(&session, &project, &names).await?;
            stop_in_order(&session, &project, &own, timeout(matches)).await?;
            Ok(0)
        })
    },
};

pub(super) static RESTART: Verb = Verb {
    command: Command {
        name: "restart",
        short: "Restart service containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[Flag::bool("no-deps", "Don't restart dependent services"), TIMEOUT],
        ..Command::NEW
    },
    run: |compose, matches| {
        let limit = timeout(matches);
        each(
            compose,
            matches,
            |_| true,
            async |session, one| {
                session.progress("Container", &one.name, "Restarting");
                let call = session.post(&one.id, "restart");
                call.query_if(limit.is_some(), "t", limit.unwrap_or(0)).done().await?;
                session.progress("Container", &one.name, "Started");
                Ok(())
            },
        )
    },
};

pub(super) static KILL: Verb = Verb {
    command: Command {
        name: "kill",
        short: "Force stop service containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::string("signal", "SIGNAL to send to the container").short('s').default("SIGKILL"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let name = matches.text("signal");
        each(compose, matches, Container::running, async |session, one| {
            session.progress("Container", &one.name, "Killing");
            session.post(&one.id, "kill").query("signal", name).done().await?;
            session.progress("Container", &one.name, "Killed");
            Ok(())
        })
    },
};

pub(super) static PAUSE: Verb = Verb {
    command: Command {
        name: "pause",
        short: "Pause services",
        usage: "[SERVICE...]",
        args: Args::Any,
        ..Command::NEW
    },
    run: |compose, matches| {
        each(
            compose,
            matches,
            |one| one.summary.state == "running",
            async |session, one| {
                session.post(&one.id, "pause").done().await?;
                session.progress("Container", &one.name, "Paused");
                Ok(())
            },
        )
    },
};

pub(super) static UNPAUSE: Verb = Verb {
    command: Command {
        name: "unpause",
        short: "Unpause services",
        usage: "[SERVICE...]",
        args: Args::Any,
        ..Command::NEW
    },
    run: |compose, matches| {
        each(
            compose,
            matches,
            |one| one.summary.state == "paused",
            async |session, one| {
                session.post(&one.id, "unpause").done().await?;
                session.progress("Container", &one.name, "Unpaused");
                Ok(())
            },
        )
    },
};

pub(super) static RM: Verb = Verb {
    command: Command {
        name: "rm",
        short: "Removes stopped service containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
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
        flags: &[Flag::bool("down-project", "Drops project when the first container stops")],
        ..Command::NEW
    },
    run: |compose, matches| {
        if matches.flag("down-project") {
            return Err(CliError::new("not supported yet: --down-project"));
        }
        let (project, names) = chosen(compose, matches)?;
        let session = compose.session()?;
        compose.cli.wait(async {
            let mut code = 0;
            for one in own(&session, &project, &names).await? {
                let ended: WaitResponse = session.post(&one.id, "wait").json().await?;
                compose.cli.println(&format!(
                    "container {:?} exited with status code {}",
                    one.id, ended.status_code
                ))?;
                code = u8::try_from(ended.status_code).unwrap_or(1);
            }
            Ok(code)
        })
    },
};

fn rm(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let list = || compose.cli.wait(own(&session, &project, &names));
    if matches.flag("stop") {
        let running = list()?;
        compose.cli.wait(stop_in_order(&session, &project, &running, None))?;
    }
    let stopped: Vec<Container> = list()?.into_iter().filter(|one| !one.running()).collect();
    if stopped.is_empty() {
        compose.cli.warn("No stopped containers");
        return Ok(0);
    }
    let shown: Vec<&str> = stopped.iter().map(|one| one.name.as_str()).collect();
    let words = format!("Going to remove {}", shown.join(", "));
    if matches.flag("force") {
        compose.cli.println(&words)?;
    } else if !compose.cli.confirm(&format!("? {words}"))? {
        return Ok(0);
    }
    let volumes = matches.flag("volumes");
    compose.cli.wait(try_join_all(stopped.iter().map(|one| session.remove(one, volumes))))?;
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

fn each(
    compose: &Compose<'_>,
    matches: &Matches,
    wanted: fn(&Container) -> bool,
    act: impl AsyncFn(&Session<'_>, &Container) -> Result<(), CliError>,
) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    compose.cli.wait(async {
        let own = own(&session, &project, &names).await?;
        let jobs = own.iter().filter(|one| wanted(one)).map(|one| act(&session, one));
        try_join_all(jobs).await?;
        Ok(0)
    })
}

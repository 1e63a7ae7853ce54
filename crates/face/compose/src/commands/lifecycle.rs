//! `start`, `stop`, `restart`, `kill`, `pause` and `unpause`: one thing done to each of a project's containers.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::future::try_join_all;

use super::{
    Compose, DRY, Verb,
    containers::{chosen, own},
    up::{stop_in_order, timeout, wait_for},
};
use crate::{
    model::Project,
    run::{Change, Container, Session, converge, dependencies, hooks, order::in_order, start},
};

const TIMEOUT: Flag = Flag::int("timeout", "Specify a shutdown timeout in seconds").short('t');

pub(super) static START: Verb = Verb {
    command: Command {
        name: "start",
        short: "Start services",
        usage: "[SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("wait", "Wait for services to be running|healthy. Implies detached mode.")
                .hidden(),
            Flag::int(
                "wait-timeout",
                "Maximum duration in seconds to wait for the project to be running|healthy",
            )
            .hidden(),
        ],
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
            start::start(&session, &project, &names).await?;
            if matches.flag("wait") && !session.dry {
                wait_for(&session, &project, &names, matches).await?;
            }
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
        flags: &[DRY, TIMEOUT],
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
        flags: &[DRY, Flag::bool("no-deps", "Don't restart dependent services"), TIMEOUT],
        ..Command::NEW
    },
    run: restart,
};

/// Restarts services, and those that say they are to be restarted with them.
fn restart(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, mut names) = chosen(compose, matches)?;
    let asked = names.clone();
    if !matches.flag("no-deps") {
        with_dependents(&project, &mut names);
    }
    let limit = timeout(matches);
    let session = compose.session()?;
    compose.cli.wait(async {
        let own = own(&session, &project, &names).await?;
        let (own, session, project, asked) = (&own, &session, &project, &asked);
        in_order(&dependencies(project, &names), |name| async move {
            let mine = own.iter().filter(|one| one.service == name);
            let why = if asked.contains(&name) {
                "restart was asked for".to_owned()
            } else {
                format!("service {name} is restarted with a service that it depends on")
            };
            let why = why.as_str();
            let hooks = project.services.get(&name);
            if let Some(service) = hooks {
                // What it depends on may have been restarted just now.
                start::conditions(session, project, service).await?;
            }
            try_join_all(mine.map(|one| async move {
                hooks::pre_stop(session, hooks, one).await?;
                session.progress("Container", &one.name, "Restarting");
                let change = Change::container(&one.id, &one.name, "restart");
                let change = change.query_if(limit.is_some(), "t", limit.unwrap_or(0));
                session.make(change, why).await?;
                hooks::post_start(session, hooks, &one.id, &one.name).await?;
                session.progress("Container", &one.name, "Started");
                Ok::<(), CliError>(())
            }))
            .await
            .map(drop)
        })
        .await?;
        Ok(0)
    })
}

/// Adds those that depend on one of `names` with `restart: true`, and so on.
fn with_dependents(project: &Project, names: &mut BTreeSet<String>) {
    loop {
        let more: Vec<String> = project
            .services
            .values()
            .filter(|service| !names.contains(&service.name))
            .filter(|service| {
                service.depends_on.iter().any(|(on, how)| how.restart && names.contains(on))
            })
            .map(|service| service.name.clone())
            .collect();
        if more.is_empty() {
            return;
        }
        names.extend(more);
    }
}

pub(super) static KILL: Verb = Verb {
    command: Command {
        name: "kill",
        short: "Force stop service containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::string("signal", "SIGNAL to send to the container").short('s').default("SIGKILL"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        if matches.flag("remove-orphans") {
            let project = compose.project()?;
            let session = compose.session()?;
            compose.cli.wait(async {
                let all = session.containers(&project.name, false).await?;
                converge::orphans(&session, &project, &all, true, Some(0)).await
            })?;
        }
        let signal = matches.text("signal");
        let sent = Each { verb: "kill", begins: Some("Killing"), ends: "Killed" };
        sent.to(compose, matches, Container::running, |change| change.query("signal", signal))
    },
};

pub(super) static PAUSE: Verb = Verb {
    command: Command {
        name: "pause",
        short: "Pause services",
        usage: "[SERVICE...]",
        args: Args::Any,
        flags: &[DRY],
        ..Command::NEW
    },
    run: |compose, matches| {
        let pause = Each { verb: "pause", begins: None, ends: "Paused" };
        pause.to(compose, matches, |one| one.summary.state == "running", |change| change)
    },
};

pub(super) static UNPAUSE: Verb = Verb {
    command: Command {
        name: "unpause",
        short: "Unpause services",
        usage: "[SERVICE...]",
        args: Args::Any,
        flags: &[DRY],
        ..Command::NEW
    },
    run: |compose, matches| {
        let unpause = Each { verb: "unpause", begins: None, ends: "Unpaused" };
        unpause.to(compose, matches, |one| one.summary.state == "paused", |change| change)
    },
};

/// One call for each container of the services, all at once.
struct Each {
    verb: &'static str,
    begins: Option<&'static str>,
    ends: &'static str,
}

impl Each {
    fn to(
        &self,
        compose: &Compose<'_>,
        matches: &Matches,
        wanted: fn(&Container) -> bool,
        with: impl Fn(Change) -> Change,
    ) -> Outcome {
        let (project, names) = chosen(compose, matches)?;
        let session = compose.session()?;
        compose.cli.wait(async {
            let own = own(&session, &project, &names).await?;
            let chosen = own.iter().filter(|one| wanted(one));
            try_join_all(chosen.map(|one| self.one(&session, one, &with))).await?;
            Ok(0)
        })
    }

    async fn one(
        &self,
        session: &Session<'_>,
        one: &Container,
        with: &impl Fn(Change) -> Change,
    ) -> Result<(), CliError> {
        if let Some(word) = self.begins {
            session.progress("Container", &one.name, word);
        }
        let change = with(Change::container(&one.id, &one.name, self.verb));
        session.make(change, &format!("{} was asked for", self.verb)).await?;
        session.progress("Container", &one.name, self.ends);
        Ok(())
    }
}

//! `up` in the foreground: the output of its containers, and what ends it.

use std::{collections::BTreeSet, pin::pin};

use ferry_cli::{
    face::{CliError, Outcome},
    flags::Matches,
};
use futures_util::{StreamExt, future::try_join_all, stream::FuturesUnordered};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Compose,
    menu::{Key, Menu},
    up::{stop_in_order, timeout},
    watch,
};
use crate::{
    model::Project,
    run::{
        Change, Container, Session,
        converge::{Pending, Plan},
        labels,
        logs::{self, Options, Printer},
        start,
        starts::Starts,
    },
};

/// `up` in the foreground.
pub(super) struct Attached<'a> {
    pub(super) compose: &'a Compose<'a>,
    pub(super) session: Session<'a>,
    pub(super) project: &'a Project,
    pub(super) names: &'a BTreeSet<String>,
    pub(super) shown: &'a BTreeSet<String>,
    pub(super) matches: &'a Matches,
    pub(super) plan: &'a Plan,
    pub(super) pending: &'a Pending,
    pub(super) began: String,
    pub(super) starts: Starts,
}

impl Attached<'_> {
    pub(super) async fn run(&self, colour: bool) -> Outcome {
        let mut interrupt = signal(SignalKind::interrupt())
            .map_err(|error| CliError::new(format!("cannot catch signals: {error}")))?;
        let mut terminate = signal(SignalKind::terminate())
            .map_err(|error| CliError::new(format!("cannot catch signals: {error}")))?;
        let mut watcher = match self.matches.flag("watch") {
            true => Some(Watcher::start(self.compose, self.matches)?),
            false => None,
        };
        let mut follow = pin!(self.follow(colour));
        let mut menu = Menu::open(self.compose, self.matches, watcher.is_some());
        let code = loop {
            tokio::select! {
                outcome = &mut follow => return outcome,
                _ = interrupt.recv() => break 130,
                _ = terminate.recv() => break 143,
                key = key_of(&mut menu) => match (key, &mut menu) {
                    (Key::Watch, Some(menu)) => self.toggle(menu, &mut watcher)?,
                    (Key::Detach, Some(menu)) if !self.starts.are_over() => {
                        menu.remark("Detach: containers are still being started");
                    }
                    _ => return Ok(0),
                },
            }
        };
        drop(menu);
        self.session.cli.warn("Gracefully Stopping... press Ctrl+C again to force");
        let stop = async {
            tokio::select! {
                () = self.starts.call_off() => {}
                // Then nothing is being started any more, either.
                _ = follow => {}
            }
            self.stop().await
        };
        tokio::select! {
            stopped = stop => stopped?,
            _ = interrupt.recv() => self.kill().await?,
        }
        Ok(code)
    }

    /// `w`.
    fn toggle(&self, menu: &mut Menu, watcher: &mut Option<Watcher>) -> Result<(), CliError> {
        let mut services = self.names.iter().filter_map(|name| self.project.services.get(name));
        if !services.any(|service| service.develop.is_some()) {
            menu.remark(
                "Watch: watch is not yet configured. Learn more: https://docs.docker.com/compose/file-watch/",
            );
            return Ok(());
        }
        *watcher = match menu.watching() {
            true => None,
            false => Some(Watcher::start(self.compose, self.matches)?),
        };
        menu.set_watching(watcher.is_some());
        Ok(())
    }

    async fn own(&self) -> Result<Vec<Container>, CliError> {
        let all = self.session.containers(&self.project.name, false).await?;
        Ok(all.into_iter().filter(|one| self.names.contains(&one.service)).collect())
    }

    /// What ends with the command: where services are named, those; what they depend on runs on, as with Docker Compose.
    async fn to_end(&self) -> Result<Vec<Container>, CliError> {
        let mut own = self.own().await?;
        own.retain(|one| self.is_to_end(one));
        Ok(own)
    }

    fn is_to_end(&self, one: &Container) -> bool {
        let named = self.matches.args();
        let from = self.matches.text("exit-code-from");
        named.is_empty() || named.contains(&one.service) || one.service == from
    }

    async fn stop(&self) -> Result<(), CliError> {
        let own = self.to_end().await?;
        let session = Session { attached: true, ..self.compose.session()? };
        if self.project.services.values().any(|service| !service.pre_start.is_empty()) {
            let all = session.containers(&self.project.name, true).await?;
            let own = |one: &&Container| self.names.contains(&one.service);
            let hooks = all.iter().filter(own).filter(|one| !one.label(labels::HOOK).is_empty());
            try_join_all(hooks.map(|one| session.remove(one, true, "it is to stop"))).await?;
        }
        let stopped = stop_in_order(&session, self.project, &own, timeout(self.matches)).await;
        session.progress.finish();
        stopped
    }

    async fn kill(&self) -> Result<(), CliError> {
        for container in self.to_end().await?.iter().filter(|one| one.running()) {
            let kill = Change::container(&container.id, &container.name, "kill");
            self.session.make_if_there(kill, "Ctrl-C").await?;
        }
        Ok(())
    }

    /// Starts, prints, and ends when all containers have, or when one has and that is to end all.
    async fn follow(&self, colour: bool) -> Outcome {
        let is_shown = |one: &Container| self.shown.contains(&one.service);
        // Who is not shown can end all, too; what others only depend on cannot, where services are named.
        let own = self.own().await?.into_iter();
        let own: Vec<Container> = own.filter(|one| self.is_to_end(one) || is_shown(one)).collect();
        let names: Vec<String> = own.iter().map(|one| one.short_name(&self.project.name)).collect();
        let shown = own.iter().zip(&names).filter(|(one, _)| is_shown(one));
        let shown: Vec<&str> = shown.map(|(_, name)| name.as_str()).collect();
        self.session.cli.println(&format!("Attaching to {}", shown.join(", ")))?;
        let printer = Printer {
            errors_apart: true,
            prefix: !self.matches.flag("no-log-prefix"),
            colour,
            width: shown.iter().map(|name| name.len()).max().unwrap_or(0),
        };
        let options = Options {
            follow: true,
            since: self.began.clone(),
            timestamps: self.matches.flag("timestamps"),
            ..Options::default()
        };
        let (names, options, printer) = (&names, &options, &printer);
        let waits: FuturesUnordered<_> = own
            .iter()
            .enumerate()
            .map(|(index, one)| async move {
                // What is asked before that would be about an earlier run.
                if !self.starts.has(&one.id).await {
                    return (one, None);
                }
                let printed = async {
                    if !is_shown(one) {
                        return Ok(());
                    }
                    logs::show(&self.session, one, &names[index], index, options, printer).await
                };
                let (printed, ended) = tokio::join!(printed, self.session.wait_for_end(&one.id));
                (one, Some(printed.and(ended)))
            })
            .collect();
        let ((), code) = tokio::try_join!(self.start(), self.ends(&own, waits))?;
        Ok(code)
    }

    /// Starts all, until that is called off.
    async fn start(&self) -> Result<(), CliError> {
        let Attached { session, project, names, pending, plan, starts, .. } = self;
        tokio::select! {
            done = start::start_and_roll(session, project, names, Some(starts), pending, plan) => {
                done?;
                starts.end();
            }
            () = starts.over() => {}
        }
        Ok(())
    }

    /// Waits for all that are started; the code that the command ends with.
    async fn ends<'b, F>(&self, own: &[Container], mut waits: FuturesUnordered<F>) -> Outcome
    where
        F: Future<Output = (&'b Container, Option<Result<i64, CliError>>)>,
    {
        let mut left = own.iter().filter(|one| self.is_to_end(one)).count();
        let from = self.matches.text("exit-code-from");
        let any = self.matches.flag("abort-on-container-exit") || !from.is_empty();
        let failure = self.matches.flag("abort-on-container-failure");
        let (mut code, mut aborted) = (0, false);
        // What runs on after that is shown no longer.
        while !(aborted && left == 0)
            && let Some((container, ended)) = waits.next().await
        {
            left -= usize::from(self.is_to_end(container));
            let Some(ended) = ended else { continue };
            let status = ended?;
            if self.shown.contains(&container.service) {
                let name = container.short_name(&self.project.name);
                self.session.cli.println(&format!("{name} exited with code {status}"))?;
            }
            let status = u8::try_from(status).unwrap_or(1);
            if from == container.service || (from.is_empty() && any && !aborted) {
                code = status;
            }
            if !aborted && (any || (failure && status != 0)) {
                aborted = true;
                if failure && code == 0 {
                    code = status;
                }
                self.session.cli.warn("Aborting on container exit...");
                // Else one would run on that is not yet seen to run.
                self.starts.call_off().await;
                self.stop().await?;
            }
        }
        Ok(code)
    }
}

/// The next key, where there are any.
async fn key_of(menu: &mut Option<Menu>) -> Key {
    match menu {
        Some(menu) => menu.key().await,
        None => std::future::pending().await,
    }
}

/// Another process of this program that watches files while this one shows output.
struct Watcher(std::process::Child);

impl Watcher {
    fn start(compose: &Compose<'_>, matches: &Matches) -> Result<Watcher, CliError> {
        let fail = |error: std::io::Error| CliError::new(format!("cannot start watch: {error}"));
        let program = std::env::current_exe().map_err(fail)?;
        let child = std::process::Command::new(program)
            .arg("compose")
            .args(&compose.before)
            .args(["watch", "--no-up"])
            .args(matches.args())
            .env(watch::WATCHES_FOR, std::process::id().to_string())
            .stdin(std::process::Stdio::null())
            .spawn()
            .map_err(fail)?;
        Ok(Watcher(child))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by the same Ctrl-C.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

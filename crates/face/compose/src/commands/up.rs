//! `compose up`.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::{StreamExt, future::try_join_all, stream::FuturesUnordered};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    Compose, DRY, Verb, elsewhere,
    menu::{Key, Menu},
    scale::YES,
    select, watch,
};
use crate::{
    load,
    model::Project,
    run::{
        Change, Container, Session, api_socket,
        builds::Building,
        converge,
        converge::{Pending, Plan},
        decide::Policy,
        dependencies, hooks,
        images::{self, How},
        logs::{self, Options, Printer},
        order::{in_order, reversed},
        progress::Progress,
        starts::Starts,
        wait::{Until, until},
    },
};

pub(super) static UP: Verb = Verb {
    command: Command {
        name: "up",
        short: "Create and start containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: FLAGS,
        ..Command::NEW
    },
    run: up,
};

const FLAGS: &[Flag] = &[
    Flag::bool(
        "abort-on-container-exit",
        "Stops all containers if any container was stopped. Incompatible with -d",
    ),
    Flag::bool(
        "abort-on-container-failure",
        "Stops all containers if any container exited with failure. Incompatible with -d",
    ),
    Flag::bool(
        "always-recreate-deps",
        "Recreate dependent containers. Incompatible with --no-recreate.",
    ),
    Flag::value(
        "attach",
        "stringArray",
        "Restrict attaching to the specified services. Incompatible with --attach-dependencies.",
    ),
    Flag::bool("attach-dependencies", "Automatically attach to log output of dependent services"),
    Flag::bool("build", "Build images before starting containers"),
    Flag::bool("detach", "Detached mode: Run containers in the background").short('d'),
    DRY,
    Flag::string(
        "exit-code-from",
        "Return the exit code of the selected service container. Implies --abort-on-container-exit",
    ),
    Flag::bool(
        "force-recreate",
        "Recreate containers even if their configuration and image haven't changed",
    ),
    Flag::bool(
        "menu",
        "Enable interactive shortcuts when running attached. Incompatible with --detach. Can also be enable/disable by setting COMPOSE_MENU environment var.",
    ),
    Flag::value(
        "no-attach",
        "stringArray",
        "Do not attach (stream logs) to the specified services",
    ),
    Flag::bool("no-build", "Don't build an image, even if it's policy"),
    Flag::bool("no-color", "Produce monochrome output"),
    Flag::bool("no-deps", "Don't start linked services"),
    Flag::bool("no-log-prefix", "Don't print prefix in logs"),
    Flag::bool(
        "no-recreate",
        "If containers already exist, don't recreate them. Incompatible with --force-recreate.",
    ),
    Flag::bool("no-start", "Don't start the services after creating them"),
    Flag::string("pull", "Pull image before running (\"always\"|\"missing\"|\"never\")")
        .default("policy"),
    Flag::bool("quiet-build", "Suppress the build output"),
    Flag::bool("quiet-pull", "Pull without printing progress information"),
    Flag::bool("remove-orphans", "Remove containers for services not defined in the Compose file"),
    Flag::bool(
        "renew-anon-volumes",
        "Recreate anonymous volumes instead of retrieving data from the previous containers",
    )
    .short('V'),
    Flag::value(
        "scale",
        "scale",
        "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.",
    ),
    Flag::int(
        "timeout",
        "Use this timeout in seconds for container shutdown when attached or when containers are already running",
    )
    .short('t'),
    Flag::bool("timestamps", "Show timestamps"),
    Flag::bool("wait", "Wait for services to be running|healthy. Implies detached mode."),
    Flag::int(
        "wait-timeout",
        "Maximum duration in seconds to wait for the project to be running|healthy",
    ),
    Flag::bool(
        "watch",
        "Watch source code and rebuild/refresh containers when files are updated.",
    )
    .short('w'),
    YES,
];

/// `--timeout`, if given.
pub(super) fn timeout(matches: &Matches) -> Option<i64> {
    matches.is_set("timeout").then(|| matches.int("timeout"))
}

/// `--scale web=3`; `Err` is what is none.
pub(super) fn scales(texts: &[String]) -> Result<BTreeMap<String, u32>, String> {
    let one = |text: &String| {
        let pair = text.split_once('=');
        pair.and_then(|(name, count)| Some((name.to_owned(), count.parse().ok()?)))
            .ok_or_else(|| text.clone())
    };
    texts.iter().map(one).collect()
}

/// Those of `flags` that the command has and that were given.
fn has(matches: &Matches, flag: &str) -> bool {
    matches.has(flag) && matches.flag(flag)
}

/// What the command line says of images.
pub(super) fn images_how(matches: &Matches) -> Result<How, CliError> {
    let pull = matches.text("pull");
    if !matches!(pull, "policy" | "always" | "missing" | "never" | "build") {
        return Err(CliError::new(format!("invalid --pull option {pull:?}")));
    }
    if has(matches, "build") && has(matches, "no-build") {
        return Err(CliError::new("--build and --no-build are incompatible"));
    }
    Ok(How {
        pull: pull.to_owned(),
        build: has(matches, "build"),
        no_build: has(matches, "no-build"),
        quiet_pull: has(matches, "quiet-pull"),
        builds: Building {
            quiet: has(matches, "quiet-build"),
            one_platform: true,
            ..Building::default()
        },
    })
}

/// What the command line says of containers.
pub(super) fn plan_of(project: &Project, matches: &Matches) -> Result<Plan, CliError> {
    let (force, never) = (matches.flag("force-recreate"), matches.flag("no-recreate"));
    let renew = has(matches, "renew-anon-volumes");
    let dependencies = has(matches, "always-recreate-deps");
    for (on, flag) in [(force, "--force-recreate"), (dependencies, "--always-recreate-deps")] {
        if on && never {
            return Err(CliError::new(format!("{flag} and --no-recreate are incompatible")));
        }
    }
    let scale = scales(matches.texts("scale")).map_err(|text| {
        CliError::new(format!("invalid --scale option {text:?}. Should be SERVICE=NUM"))
    })?;
    if let Some(unknown) = scale.keys().find(|name| !project.services.contains_key(*name)) {
        return Err(CliError::new(format!("no such service: {unknown}: not found")));
    }
    let policy = |force: bool| match (never, force) {
        (true, _) => Policy::Never,
        (false, true) => Policy::Always,
        (false, false) => Policy::Diverged,
    };
    Ok(Plan {
        policy: policy(force || renew),
        dependencies: policy(dependencies),
        named: matches.args().iter().cloned().collect(),
        renew_anonymous: renew,
        timeout: if matches.has("timeout") { timeout(matches) } else { None },
        scale,
        remove_orphans: matches.flag("remove-orphans"),
        yes: matches.flag("yes"),
        ..Plan::default()
    })
}

fn up(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let aborts = matches.flag("abort-on-container-exit")
        || matches.flag("abort-on-container-failure")
        || !matches.text("exit-code-from").is_empty();
    let detached =
        matches.flag("detach") || matches.flag("wait") || matches.flag("no-start") || compose.dry;
    let attaches = matches.is_set("attach") || matches.flag("attach-dependencies");
    if matches.flag("wait") && (aborts || attaches) {
        return Err(CliError::new(
            "--wait cannot be combined with --abort-on-container-exit, --attach or --attach-dependencies",
        ));
    }
    if detached && (aborts || attaches) {
        return Err(CliError::new(
            "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ));
    }
    if detached && matches.flag("watch") && !compose.dry {
        return Err(CliError::new("--detach and --watch are incompatible"));
    }
    let mut project = compose.project()?;
    elsewhere::agreed(compose, &project, matches.flag("yes"))?;
    let names = select(&mut project, matches.args(), !matches.flag("no-deps"))?;
    api_socket::give(compose.cli, &mut project)?;
    let mut plan = plan_of(&project, matches)?;
    plan.remove_orphans |=
        compose.cli.env("COMPOSE_REMOVE_ORPHANS").is_some_and(|text| load::is_on(&text));
    plan.only_create = matches.flag("no-start");
    let shown = shown(&project, &names, matches)?;
    let quiet = Progress::Quiet;
    let mut session = compose.session()?;
    plan.images = images::prepare(&session, &project, &names, &images_how(matches)?)?;
    compose.cli.wait(async {
        let pending = converge::create(&session, &project, &names, &plan).await?;
        if plan.only_create {
            return Ok(0);
        }
        let began = logs::now();
        if detached {
            converge::start_and_roll(&session, &project, &names, None, &pending, &plan).await?;
            if matches.flag("wait") && !session.dry {
                wait_for(&session, &project, &names, matches).await?;
            }
            return Ok(0);
        }
        compose.progress.finish();
        session.attached = true;
        // What is said from here on is the containers' output, which nothing may paint over.
        session.progress = &quiet;
        let attached = Attached {
            compose,
            session,
            project: &project,
            names: &names,
            shown: &shown,
            matches,
            plan: &plan,
            pending: &pending,
            began,
            starts: Starts::new(),
        };
        attached.run(compose.colour && !matches.flag("no-color")).await
    })
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

/// The services whose output is shown.
fn shown(
    project: &Project,
    names: &BTreeSet<String>,
    matches: &Matches,
) -> Result<BTreeSet<String>, CliError> {
    let (only, not) = (matches.texts("attach"), matches.texts("no-attach"));
    let dependencies = matches.flag("attach-dependencies");
    if dependencies && !only.is_empty() {
        return Err(CliError::new("cannot combine --attach and --attach-dependencies"));
    }
    let from = Some(matches.text("exit-code-from")).filter(|name| !name.is_empty());
    let asked = only.iter().chain(not).map(String::as_str).chain(from);
    if let Some(unknown) = asked.into_iter().find(|name| !names.contains(*name)) {
        return Err(CliError::new(format!("no such service: {unknown}")));
    }
    let named = matches.args();
    let wanted = |name: &&String| {
        let asked = match (only, named) {
            ([], []) => project.services.get(*name).is_none_or(|one| one.attach != Some(false)),
            ([], named) => dependencies || named.contains(name),
            (only, _) => only.contains(name),
        };
        asked && !not.contains(name)
    };
    Ok(names.iter().filter(wanted).cloned().collect())
}

pub(super) async fn wait_for(
    session: &Session<'_>,
    project: &Project,
    names: &BTreeSet<String>,
    matches: &Matches,
) -> Result<(), CliError> {
    let all = session.containers(&project.name, false).await?;
    let own = all.iter().filter(|container| names.contains(&container.service));
    let waits = try_join_all(own.map(|one| until(session, one, Until::RunningOrHealthy)));
    if !matches.is_set("wait-timeout") {
        return waits.await.map(drop);
    }
    let limit = std::time::Duration::from_secs(matches.int("wait-timeout").unsigned_abs());
    match tokio::time::timeout(limit, waits).await {
        Ok(done) => done.map(drop),
        Err(_) => Err(CliError::new("application not healthy after waiting: timeout")),
    }
}

/// `up` in the foreground.
struct Attached<'a> {
    compose: &'a Compose<'a>,
    session: Session<'a>,
    project: &'a Project,
    names: &'a BTreeSet<String>,
    shown: &'a BTreeSet<String>,
    matches: &'a Matches,
    plan: &'a Plan,
    pending: &'a Pending,
    began: String,
    starts: Starts,
}

impl Attached<'_> {
    async fn run(&self, colour: bool) -> Outcome {
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

    async fn stop(&self) -> Result<(), CliError> {
        let own = self.own().await?;
        let session = Session { attached: true, ..self.compose.session()? };
        let stopped = stop_in_order(&session, self.project, &own, timeout(self.matches)).await;
        session.progress.finish();
        stopped
    }

    async fn kill(&self) -> Result<(), CliError> {
        for container in self.own().await?.iter().filter(|one| one.running()) {
            let kill = Change::container(&container.id, &container.name, "kill");
            self.session.make_if_there(kill, "Ctrl-C").await?;
        }
        Ok(())
    }

    /// Starts, prints, and ends when all containers have, or when one has and that is to end all.
    async fn follow(&self, colour: bool) -> Outcome {
        let is_shown = |one: &Container| self.shown.contains(&one.service);
        // Who is not shown can end all, too; what others only depend on cannot, where services are named.
        let (named, from) = (self.matches.args(), self.matches.text("exit-code-from"));
        let counts = |one: &Container| {
            named.is_empty() || named.contains(&one.service) || one.service == from
        };
        let own = self.own().await?.into_iter();
        let own: Vec<Container> = own.filter(|one| counts(one) || is_shown(one)).collect();
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
                    return None;
                }
                let printed = async {
                    if !is_shown(one) {
                        return Ok(());
                    }
                    logs::show(&self.session, one, &names[index], index, options, printer).await
                };
                let (printed, ended) = tokio::join!(printed, self.session.wait_for_end(&one.id));
                Some((one, printed.and(ended)))
            })
            .collect();
        let ((), code) = tokio::try_join!(self.start(), self.ends(waits))?;
        Ok(code)
    }

    /// Starts all, until that is called off.
    async fn start(&self) -> Result<(), CliError> {
        let Attached { session, project, names, pending, plan, starts, .. } = self;
        tokio::select! {
            done = converge::start_and_roll(session, project, names, Some(starts), pending, plan) => {
                done?;
                starts.end();
            }
            () = starts.over() => {}
        }
        Ok(())
    }

    /// Waits for all that are started; the code that the command ends with.
    async fn ends<'b, F>(&self, mut waits: FuturesUnordered<F>) -> Outcome
    where
        F: Future<Output = Option<(&'b Container, Result<i64, CliError>)>>,
    {
        let from = self.matches.text("exit-code-from");
        let any = self.matches.flag("abort-on-container-exit") || !from.is_empty();
        let failure = self.matches.flag("abort-on-container-failure");
        let (mut code, mut aborted) = (0, false);
        while let Some(ended) = waits.next().await {
            let Some((container, ended)) = ended else { continue };
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

/// Stops containers, those first that others do not need.
pub(super) async fn stop_in_order(
    session: &Session<'_>,
    project: &Project,
    containers: &[Container],
    timeout: Option<i64>,
) -> Result<(), CliError> {
    let names: BTreeSet<String> = containers.iter().map(|one| one.service.clone()).collect();
    in_order(&reversed(&dependencies(project, &names)), |name| async move {
        let own = containers.iter().filter(|one| one.service == name && one.running());
        let service = project.services.get(&name);
        try_join_all(own.map(|one| async move {
            hooks::pre_stop(session, service, one).await?;
            session.stop(one, timeout, "it is to stop").await
        }))
        .await
        .map(drop)
    })
    .await
}

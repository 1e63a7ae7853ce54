//! `compose up`.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::{Flag, Matches},
};
use futures_util::future::try_join_all;

use super::{Compose, DRY, Verb, attached::Attached, elsewhere, scale::YES, select};
use crate::{
    load,
    model::Project,
    run::{
        Container, Session, api_socket,
        builds::Building,
        converge,
        converge::Plan,
        decide::Policy,
        dependencies, hooks,
        images::{self, How},
        logs,
        order::{in_order, reversed},
        progress::Progress,
        start,
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
    let watches = matches.flag("watch") && !compose.dry;
    if detached && (aborts || attaches || watches) {
        return Err(CliError::new(
            "--detach cannot be combined with --abort-on-container-exit, --abort-on-container-failure, --attach, --attach-dependencies or --watch",
        ));
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
            start::start_and_roll(&session, &project, &names, None, &pending, &plan).await?;
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

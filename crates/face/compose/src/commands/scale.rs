//! `create`, `scale` and `diff`: `up` in parts.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::{
    face::{Args, CliError, Command, Outcome},
    flags::Flag,
};

use super::{
    Compose, DRY, Verb, select,
    up::{images_how, plan_of, scales},
};
use crate::run::{
    api_socket,
    converge::{self, Plan},
    images, start,
};

pub(super) static CREATE: Verb = Verb {
    command: Command {
        name: "create",
        short: "Creates containers for a service",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool("build", "Build images before starting containers"),
            DRY,
            Flag::bool(
                "force-recreate",
                "Recreate containers even if their configuration and image haven't changed",
            ),
            Flag::bool("no-build", "Don't build an image, even if it's policy"),
            Flag::bool(
                "no-recreate",
                "If containers already exist, don't recreate them. Incompatible with --force-recreate.",
            ),
            Flag::string(
                "pull",
                "Pull image before running (\"always\"|\"missing\"|\"never\"|\"build\")",
            )
            .default("policy"),
            Flag::bool("quiet-pull", "Pull without printing progress information"),
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::value(
                "scale",
                "scale",
                "Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present.",
            ),
            YES,
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut project = compose.project()?;
        let names = select(&mut project, matches.args(), true)?;
        api_socket::give(compose.cli, &mut project)?;
        let mut plan = plan_of(&project, matches)?;
        plan.only_create = true;
        let session = compose.session()?;
        plan.images = images::prepare(&session, &project, &names, &images_how(matches)?)?;
        compose.cli.wait(converge::create(&session, &project, &names, &plan))?;
        Ok(0)
    },
};

pub(super) const YES: Flag =
    Flag::bool("yes", "Assume \"yes\" as answer to all prompts and run non-interactively")
        .short('y');

pub(super) static SCALE: Verb = Verb {
    command: Command {
        name: "scale",
        short: "Scale services ",
        usage: "[SERVICE=REPLICAS...]",
        args: Args::AtLeast(1),
        flags: &[DRY, Flag::bool("no-deps", "Don't start linked services")],
        ..Command::NEW
    },
    run: |compose, matches| {
        let counts = scales(matches.args()).map_err(|text| {
            let number = if text.contains('=') { "can't parse replica value as int: " } else { "" };
            CliError::new(format!("invalid scale specifier: {number}{text}"))
        })?;
        let mut project = compose.project()?;
        let asked: Vec<String> = counts.keys().cloned().collect();
        let names = select(&mut project, &asked, !matches.flag("no-deps"))?;
        if let Some(unknown) = asked.iter().find(|name| !names.contains(*name)) {
            return Err(CliError::new(format!("no such service: {unknown}")));
        }
        let named = asked.into_iter().collect();
        let plan = Plan { named, scale: counts, ..Plan::default() };
        up(compose, &mut project, &names, plan)
    },
};

pub(super) static DIFF: Verb = Verb {
    command: Command {
        name: "diff",
        short: "Show what up would change, and why (beyond Docker)",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("build", "Build images before starting containers"),
            Flag::bool(
                "force-recreate",
                "Recreate containers even if their configuration and image haven't changed",
            ),
            Flag::bool("no-build", "Don't build an image, even if it's policy"),
            Flag::bool(
                "no-recreate",
                "If containers already exist, don't recreate them. Incompatible with --force-recreate.",
            ),
            Flag::string("pull", "Pull image before running (\"always\"|\"missing\"|\"never\")")
                .default("policy"),
            Flag::bool("quiet-pull", "Pull without printing progress information"),
            Flag::bool(
                "remove-orphans",
                "Remove containers for services not defined in the Compose file",
            ),
            Flag::value("scale", "scale", "Scale SERVICE to NUM instances"),
            YES,
        ],
        ..Command::NEW
    },
    run: |compose, matches| {
        let mut project = compose.project()?;
        let names = select(&mut project, matches.args(), true)?;
        api_socket::give(compose.cli, &mut project)?;
        let plan = plan_of(&project, matches)?;
        let mut session = compose.session()?;
        session.dry = true;
        let ids = images::prepare(&session, &project, &names, &images_how(matches)?)?;
        let plan = Plan { images: ids, ..plan };
        compose.cli.wait(async {
            let pending = converge::create(&session, &project, &names, &plan).await?;
            start::start_and_roll(&session, &project, &names, None, &pending, &plan).await?;
            Ok(0)
        })
    },
};

/// Brings services to what the plan says, in the background.
pub(super) fn up(
    compose: &Compose<'_>,
    project: &mut crate::model::Project,
    names: &BTreeSet<String>,
    mut plan: Plan,
) -> Outcome {
    let session = compose.session()?;
    api_socket::give(compose.cli, project)?;
    plan.images = images::prepare(&session, project, names, &images::How::default())?;
    compose.cli.wait(async {
        if !plan.scale.is_empty() {
            // Those that no number was given for keep the number they have.
            keep_counts(&session, project, names, &mut plan.scale).await?;
        }
        let pending = converge::create(&session, project, names, &plan).await?;
        start::start_and_roll(&session, project, names, None, &pending, &plan).await?;
        Ok(0)
    })
}

/// Counts the containers of services without a number.
pub(super) async fn keep_counts(
    session: &crate::run::Session<'_>,
    project: &crate::model::Project,
    names: &BTreeSet<String>,
    counts: &mut BTreeMap<String, u32>,
) -> Result<(), CliError> {
    let all = session.containers(&project.name, false).await?;
    for name in names.iter().filter(|name| !counts.contains_key(*name)).cloned().collect::<Vec<_>>()
    {
        let count = all.iter().filter(|one| one.service == name).count();
        if count > 0 {
            counts.insert(name, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
    Ok(())
}

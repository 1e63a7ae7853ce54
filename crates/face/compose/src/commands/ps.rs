//! `compose ps`.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, CliError, Command, Kind, Outcome, Row, quote, render},
    flags::{Flag, Matches},
};
use ferry_stdx::time::Timestamp;
use serde_json::{Value, json};

use super::{
    Compose, DRY, Verb,
    list::{ago, display},
};
use crate::run::Container;

pub(super) static PS: Verb = Verb {
    command: Command {
        name: "ps",
        short: "List containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool("all", "Show all stopped containers (including those created by the run command)").short('a'),
            DRY,
            Flag::string("filter", "Filter services by a property (supported filters: status)"),
            Flag::string("format", "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates").default("table"),
            Flag::bool("no-trunc", "Don't truncate output"),
            Flag::bool("orphans", "Include orphaned services (not declared by project)").default("true"),
            Flag::bool("quiet", "Only display IDs").short('q'),
            Flag::bool("services", "Display services"),
            Flag::value("status", "stringArray", "Filter services by status. Values: [paused | restarting | removing | running | dead | created | exited]"),
        ],
        ..Command::NEW
    },
    run: ps,
};

static PS_KIND: Kind = Kind {
    name: "*formatter.ContainerContext",
    titles: &[
        ("Name", "NAME"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("Service", "SERVICE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("ID", "CONTAINER ID"),
        ("State", "STATE"),
        ("Project", "PROJECT"),
        ("Health", "HEALTH"),
        ("ExitCode", "EXIT CODE"),
        ("Labels", "LABELS"),
        ("Networks", "NETWORKS"),
        ("CreatedAt", "CREATED AT"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Names", "NAMES"),
        ("Size", "SIZE"),
    ],
};

fn ps(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let project = compose.project_or_name()?;
    let session = compose.session()?;
    let all = matches.flag("all");
    let mut statuses: Vec<String> = matches.texts("status").to_vec();
    if let Some(filter) = Some(matches.text("filter")).filter(|text| !text.is_empty()) {
        match filter.split_once('=') {
            Some(("status", status)) => statuses.push(status.to_owned()),
            Some(("source", _)) => {}
            Some((name, _)) => return Err(CliError::new(format!("unknown filter {name}"))),
            None => return Err(CliError::new("arguments to --filter should be in form KEY=VAL")),
        }
    }
    let is_known = |one: &Container| {
        project.services.contains_key(&one.service) || project.disabled.contains_key(&one.service)
    };
    if let Some(unknown) = matches.args().iter().find(|name| {
        !project.files.is_empty()
            && !project.services.contains_key(*name)
            && !project.disabled.contains_key(*name)
    }) {
        return Err(CliError::new(format!("no such service: {unknown}")));
    }
    let orphans = matches.flag("orphans") || project.files.is_empty();
    let found = compose.cli.wait(session.containers(&project.name, all))?;
    let own: Vec<Container> = found
        .into_iter()
        .filter(|one| matches.args().is_empty() || matches.args().contains(&one.service))
        .filter(|one| orphans || is_known(one))
        .filter(|one| match statuses.as_slice() {
            [] => all || one.running(),
            wanted => wanted.contains(&one.summary.state),
        })
        .collect();
    if matches.flag("quiet") {
        let ids: String = own.iter().map(|one| format!("{}\n", one.id)).collect();
        compose.cli.print(&ids)?;
        return Ok(0);
    }
    if matches.flag("services") {
        let names: BTreeSet<&str> = own.iter().map(|one| one.service.as_str()).collect();
        let names: String = names.into_iter().map(|name| format!("{name}\n")).collect();
        compose.cli.print(&names)?;
        return Ok(0);
    }
    let rows: Vec<Row> =
        own.iter().map(|one| row(one, &project.name, matches.flag("no-trunc"))).collect();
    let format = match matches.text("format") {
        "table" => {
            "table {{.Name}}\t{{.Image}}\t{{.Command}}\t{{.Service}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}"
        }
        other => other,
    };
    compose.cli.print(&render(&PS_KIND, format, &rows)?)?;
    Ok(0)
}

fn row(one: &Container, project: &str, whole: bool) -> Row {
    let summary = &one.summary;
    let labels = summary.labels.clone().unwrap_or_default();
    let shown: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let networks: Vec<String> = summary
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref())
        .map(|networks| networks.keys().cloned().collect())
        .unwrap_or_default();
    let command = if whole || summary.command.chars().count() <= 20 {
        summary.command.clone()
    } else {
        summary.command.chars().take(19).chain(std::iter::once('…')).collect()
    };
    let id = if whole { one.id.clone() } else { one.id.chars().take(12).collect() };
    let mounts = summary.mounts.as_deref().unwrap_or_default();
    let local = mounts.iter().filter(|mount| mount.driver == "local").count();
    let mounts: Vec<String> = mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name })
        .map(|name| match name.char_indices().nth(15) {
            Some(_) if !whole => name.chars().take(14).chain(['…']).collect(),
            _ => name.clone(),
        })
        .collect();
    let ports = summary.ports.clone().unwrap_or_default();
    let publishers: Vec<Value> = ports
        .iter()
        .map(|port| {
            json!({"URL": port.ip, "TargetPort": port.private_port, "PublishedPort": port.public_port, "Protocol": port.kind})
        })
        .collect();
    let exit = summary.status.strip_prefix("Exited (").and_then(|rest| rest.split_once(')'));
    let exit: i64 = exit.and_then(|(code, _)| code.parse().ok()).unwrap_or(0);
    let health = ["healthy", "unhealthy", "health: starting"]
        .into_iter()
        .find(|word| summary.status.ends_with(&format!("({word})")))
        .unwrap_or_default();
    Row::default()
        .with("ID", id)
        .with("Name", one.name.clone())
        .with("Names", one.name.clone())
        .with("Image", summary.image.clone())
        .with("Command", quote(&command))
        .with("Service", one.service.clone())
        .with("Project", project)
        .with("RunningFor", ago(summary.created))
        .with("Status", summary.status.clone())
        .with("State", summary.state.clone())
        .with("Health", health.trim_start_matches("health: "))
        .with("ExitCode", exit)
        .with("Ports", display(&ports))
        .with("Publishers", publishers)
        .with("Networks", networks.join(","))
        .with("CreatedAt", Timestamp::from_seconds(summary.created).format_go_string())
        .with("LocalVolumes", local.to_string())
        .with("Mounts", mounts.join(","))
        .with("Size", "0B")
        .with("Labels", shown.join(","))
        .labelled(Some(labels))
}

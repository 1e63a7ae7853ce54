//! Commands that show: `ps`, `ls`, `images`, `port`, `top`, `version`; and `pull`.

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Kind, Outcome, Row, align_with, quote, render},
    flags::{Flag, Matches},
};
use ferry_docker_api::{ContainerSummary, Filters, Port, TopResponse};
use serde_json::{Value, json};

use super::{
    Compose, Verb,
    containers::{chosen, own},
    exec::container,
};
use crate::run::{
    Container,
    labels::{COMPOSE_VERSION, FILES, PROJECT},
    resources,
};

pub(super) static PS: Verb = Verb {
    command: Command {
        name: "ps",
        short: "List containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool("all", "Show all stopped containers (including those created by the run command)").short('a'),
            Flag::string("filter", "Filter services by a property (supported filters: status)"),
            Flag::string("format", "Format output using a custom template: 'table', 'table TEMPLATE', 'json', 'TEMPLATE'").default("table"),
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

pub(super) static LS: Verb = Verb {
    command: Command {
        name: "ls",
        short: "List running compose projects",
        usage: "[OPTIONS]",
        flags: &[
            Flag::bool("all", "Show all stopped Compose projects").short('a'),
            Flag::string("format", "Format the output. Values: [table | json]").default("table"),
            Flag::bool("quiet", "Only display project names").short('q'),
        ],
        ..Command::NEW
    },
    run: ls,
};

pub(super) static IMAGES: Verb = Verb {
    command: Command {
        name: "images",
        short: "List images used by the created containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[Flag::bool("quiet", "Only display IDs").short('q')],
        ..Command::NEW
    },
    run: images,
};

pub(super) static PORT: Verb = Verb {
    command: Command {
        name: "port",
        short: "Print the public port for a port binding",
        usage: "[OPTIONS] SERVICE PRIVATE_PORT",
        args: Args::Exactly(2),
        flags: &[
            Flag::int("index", "Index of the container if service has multiple replicas"),
            Flag::string("protocol", "tcp or udp").default("tcp"),
        ],
        ..Command::NEW
    },
    run: port,
};

pub(super) static TOP: Verb = Verb {
    command: Command {
        name: "top",
        short: "Display the running processes",
        usage: "[SERVICES...]",
        args: Args::Any,
        ..Command::NEW
    },
    run: top,
};

pub(super) static PULL: Verb = Verb {
    command: Command {
        name: "pull",
        short: "Pull service images",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            Flag::bool(
                "ignore-pull-failures",
                "Pull what it can and ignores images with pull failures",
            ),
            Flag::bool("quiet", "Pull without printing progress information").short('q'),
        ],
        ..Command::NEW
    },
    run: pull,
};

pub(super) static VERSION: Verb = Verb {
    command: Command {
        name: "version",
        short: "Show the Docker Compose version information",
        usage: "[OPTIONS]",
        flags: &[
            Flag::string("format", "Format the output. Values: [pretty | json]. (Default: pretty)")
                .short('f'),
            Flag::bool("short", "Shows only Compose's version number"),
        ],
        ..Command::NEW
    },
    run: |compose, matches| version(compose.cli, matches.text("format"), matches.flag("short")),
};

/// The version of Compose that this behaves as.
pub(super) fn version(cli: &Cli, format: &str, short: bool) -> Outcome {
    match (format, short) {
        (_, true) => cli.println(COMPOSE_VERSION)?,
        ("json", _) => cli.println(&json!({"version": COMPOSE_VERSION}).to_string())?,
        _ => cli.println(&format!("Docker Compose version {COMPOSE_VERSION}"))?,
    }
    Ok(0)
}

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
    let found = compose.cli.wait(session.containers(&project.name, all))?;
    let own: Vec<Container> = found
        .into_iter()
        .filter(|one| matches.args().is_empty() || matches.args().contains(&one.service))
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
        .with("Labels", shown.join(","))
        .labelled(Some(labels))
}

fn ago(created: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    let seconds = now.saturating_sub(created).max(0);
    let plural = |n: i64, unit: &str| match n {
        1 => format!("1 {unit} ago"),
        n => format!("{n} {unit}s ago"),
    };
    match seconds {
        0 => "Less than a second ago".to_owned(),
        1..60 => plural(seconds, "second"),
        60..120 => "About a minute ago".to_owned(),
        120..3600 => plural(seconds / 60, "minute"),
        3600..7200 => "About an hour ago".to_owned(),
        7200..172_800 => plural(seconds / 3600, "hour"),
        _ => plural(seconds / 86_400, "day"),
    }
}

fn display(ports: &[Port]) -> String {
    let one = |port: &Port| {
        let inside = format!("{}/{}", port.private_port, port.kind);
        match port.public_port {
            0 => inside,
            public if port.ip.contains(':') => format!("[{}]:{public}->{inside}", port.ip),
            public => format!("{}:{public}->{inside}", port.ip),
        }
    };
    let mut shown: Vec<String> = ports.iter().map(one).collect();
    shown.sort();
    shown.join(", ")
}

fn ls(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let client = compose.cli.client()?;
    let mut filters = Filters::default();
    filters.add("label", PROJECT);
    let call = client.get("/containers/json").query_if(matches.flag("all"), "all", 1);
    let list: Vec<ContainerSummary> = compose.cli.wait(call.filters(&filters).json())?;
    let mut projects: BTreeMap<String, (BTreeMap<String, usize>, String)> = BTreeMap::new();
    for one in list.into_iter().map(Container::from).filter(|one| !one.oneoff) {
        let entry = projects.entry(one.label(PROJECT).to_owned()).or_default();
        *entry.0.entry(one.summary.state.clone()).or_default() += 1;
        entry.1 = one.label(FILES).to_owned();
    }
    let status = |states: &BTreeMap<String, usize>| {
        let shown: Vec<String> =
            states.iter().map(|(state, count)| format!("{state}({count})")).collect();
        shown.join(", ")
    };
    let text = if matches.flag("quiet") {
        projects.keys().map(|name| format!("{name}\n")).collect()
    } else if matches.text("format") == "json" {
        let rows: Vec<Value> = projects
            .iter()
            .map(|(name, (states, files))| {
                json!({"Name": name, "Status": status(states), "ConfigFiles": files})
            })
            .collect();
        format!("{}\n", Value::Array(rows))
    } else {
        let mut text = "NAME\tSTATUS\tCONFIG FILES\n".to_owned();
        for (name, (states, files)) in &projects {
            text.push_str(&format!("{name}\t{}\t{files}\n", status(states)));
        }
        align_with(&text, 20, 1)
    };
    compose.cli.print(&text)?;
    Ok(0)
}

fn images(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let own = compose.cli.wait(own(&session, &project, &names))?;
    if matches.flag("quiet") {
        let ids: BTreeSet<&str> =
            own.iter().map(|one| one.summary.image_id.trim_start_matches("sha256:")).collect();
        let ids: String = ids.into_iter().map(|id| format!("{id}\n")).collect();
        compose.cli.print(&ids)?;
        return Ok(0);
    }
    let mut text = "CONTAINER\tREPOSITORY\tTAG\tIMAGE ID\n".to_owned();
    for one in &own {
        let image = one.summary.image.as_str();
        let (repository, tag) = match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        };
        let id: String =
            one.summary.image_id.trim_start_matches("sha256:").chars().take(12).collect();
        text.push_str(&format!("{}\t{repository}\t{tag}\t{id}\n", one.name));
    }
    compose.cli.print(&align_with(&text, 20, 1))?;
    Ok(0)
}

fn port(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let session = compose.session()?;
    let found = container(compose, &session, matches.arg(0), matches)?;
    let protocol = matches.text("protocol");
    let wanted = matches.arg(1);
    let ports = found.summary.ports.clone().unwrap_or_default();
    let binding = ports.iter().find(|port| {
        port.kind == protocol && port.private_port.to_string() == wanted && port.public_port != 0
    });
    match binding {
        Some(port) => {
            let address =
                if port.ip.contains(':') { format!("[{}]", port.ip) } else { port.ip.clone() };
            compose.cli.println(&format!("{address}:{}", port.public_port))?;
            Ok(0)
        }
        None => Err(CliError::new(format!(
            "no port {wanted}/{protocol} for container {}: {}",
            found.name,
            display(&ports)
        ))),
    }
}

fn top(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let (project, names) = chosen(compose, matches)?;
    let session = compose.session()?;
    let own = compose.cli.wait(own(&session, &project, &names))?;
    let mut text = String::new();
    for one in own.iter().filter(|one| one.running()) {
        let path = format!("/containers/{}/top", one.id);
        let found: TopResponse = compose.cli.wait(session.client.get(path).json())?;
        if text.is_empty() {
            text = format!("SERVICE\t#\t{}\n", found.titles.unwrap_or_default().join("\t"));
        }
        for process in found.processes.unwrap_or_default() {
            text.push_str(&format!("{}\t{}\t{}\n", one.service, one.number, process.join("\t")));
        }
    }
    compose.cli.print(&align_with(&text, 4, 2))?;
    Ok(0)
}

fn pull(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let mut project = compose.project()?;
    let names = super::select(&mut project, matches.args(), false)?;
    let mut session = compose.session()?;
    session.quiet |= matches.flag("quiet");
    for service in names.iter().filter_map(|name| project.services.get(name)) {
        if service.build.is_some() && service.image.is_empty() {
            session.progress(&service.name, "Skipped", "- No image to be pulled");
            continue;
        }
        let image = project.image_of(service);
        match compose.cli.wait(resources::pull(&session, service, &image)) {
            Err(error) if matches.flag("ignore-pull-failures") => {
                compose.cli.warn(error.message());
            }
            other => other?,
        }
    }
    Ok(0)
}

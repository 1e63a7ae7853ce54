//! Commands that show: `ls`, `port`, `top`, `version`.

use std::collections::BTreeMap;

use ferry_cli::{
    face::{Args, Cli, CliError, Command, Outcome, align_with},
    flags::{Flag, Matches},
};
use ferry_docker_api::{ContainerSummary, Filters, Port, TopResponse};
use serde_json::{Value, json};

use super::{
    Compose, DRY, Verb,
    containers::{chosen, own},
    single::container,
};
use crate::run::{
    Container,
    labels::{COMPOSE_VERSION, FILES, PROJECT},
};

pub(super) static LS: Verb = Verb {
    command: Command {
        name: "ls",
        short: "List running compose projects",
        usage: "[OPTIONS]",
        flags: &[
            Flag::bool("all", "Show all stopped Compose projects").short('a'),
            DRY,
            Flag::value("filter", "filter", "Filter output based on conditions provided"),
            Flag::string("format", "Format the output. Values: [table | json]").default("table"),
            Flag::bool("quiet", "Only display project names").short('q'),
        ],
        ..Command::NEW
    },
    run: ls,
};

pub(super) static PORT: Verb = Verb {
    command: Command {
        name: "port",
        short: "Print the public port for a port binding",
        usage: "[OPTIONS] SERVICE PRIVATE_PORT",
        args: Args::Exactly(2),
        flags: &[
            DRY,
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
        flags: &[DRY],
        ..Command::NEW
    },
    run: top,
};

pub(super) static VERSION: Verb = Verb {
    command: Command {
        name: "version",
        short: "Show the Docker Compose version information",
        usage: "[OPTIONS]",
        flags: &[
            DRY,
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

fn ls(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let client = compose.cli.client()?;
    let mut filters = Filters::default();
    filters.add("label", PROJECT);
    let call = client.get("/containers/json").query_if(matches.flag("all"), "all", 1);
    let list: Vec<ContainerSummary> = compose.cli.wait(call.filters(&filters).json())?;
    let mut names: Vec<String> = Vec::new();
    for filter in matches.texts("filter") {
        match filter.split_once('=') {
            Some(("name", name)) => names.push(name.to_owned()),
            Some((other, _)) => return Err(CliError::new(format!("unknown filter {other}"))),
            None => return Err(CliError::new("bad format of filter (expected name=value)")),
        }
    }
    let mut projects: BTreeMap<String, (BTreeMap<String, usize>, String)> = BTreeMap::new();
    for one in list.into_iter().map(Container::from).filter(|one| !one.oneoff) {
        let entry = projects.entry(one.label(PROJECT).to_owned()).or_default();
        *entry.0.entry(one.summary.state.clone()).or_default() += 1;
        entry.1 = one.label(FILES).to_owned();
    }
    projects.retain(|project, _| {
        names.is_empty() || names.iter().any(|part| project.contains(part.as_str()))
    });
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

pub(super) fn ago(created: i64) -> String {
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

pub(super) fn display(ports: &[Port]) -> String {
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

fn port(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let session = compose.session()?;
    let found = container(compose, &session, matches.arg(0), matches.int("index"), false)?;
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

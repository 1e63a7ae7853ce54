//! `docker stats`.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ferry_client::{Client, JsonLines};
use ferry_docker_api::{ContainerSummary, EventMessage, Filters, StatsResponse};

use super::path;
use crate::{
    format::{
        render,
        stats::{self, TABLE},
        units,
    },
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "stats",
    top: Some("stats"),
    short: "Display a live stream of container(s) resource usage statistics",
    usage: "[OPTIONS] [CONTAINER...]",
    aliases_help: "docker container stats, docker stats",
    flags: FLAGS,
    args: Args::Any,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::bool("all", "Show all containers (default shows just running)").short('a'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'table':            Print output in table format with column headers (default)\n'table TEMPLATE':   Print output in table format using the given Go template\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::bool("no-stream", "Disable streaming stats and only pull the first result"),
    Flag::bool("no-trunc", "Do not truncate output"),
];

/// How often the table is painted again.
const EVERY: Duration = Duration::from_millis(500);

/// Without news for so long, the last figures are no longer shown.
const PATIENCE: Duration = Duration::from_secs(2);

/// Containers that are watched; each has a connection.
type Watched = Arc<Mutex<Vec<Slot>>>;

/// One line.
struct Slot {
    container: String,
    sample: Option<StatsResponse>,
    error: Option<String>,
    /// The first sample or error is there.
    answered: bool,
    /// Nothing more will come.
    ended: bool,
}

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let format = match matches.text("format") {
        "" => cli.config().stats_format().unwrap_or_else(|| TABLE.to_owned()),
        "table" => TABLE.to_owned(),
        format => format.to_owned(),
    };
    let client = cli.client()?;
    cli.wait(async {
        let watched = Watched::default();
        let stream = !matches.flag("no-stream");
        if matches.args().is_empty() {
            watch_all(client, &watched, matches.flag("all"), stream).await?;
        } else {
            matches.args().iter().for_each(|name| watch(client, &watched, name, stream));
        }
        while !lock(&watched).iter().all(|slot| slot.answered) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if !matches.args().is_empty() {
            let errors: Vec<_> =
                lock(&watched).iter().filter_map(|slot| slot.error.clone()).collect();
            if !errors.is_empty() {
                return Err(CliError::new(errors.join("\n")));
            }
        }
        let trunc = !matches.flag("no-trunc");
        if !stream {
            let text = text(&watched, &format, trunc)?;
            return cli.print(&text).map(|()| 0);
        }
        loop {
            cli.print(&repaint(&text(&watched, &format, trunc)?))?;
            tokio::time::sleep(EVERY).await;
            if !matches.args().is_empty() && lock(&watched).iter().all(|slot| slot.ended) {
                return Ok(0);
            }
        }
    })
}

/// The whole table in one write, over the last one, so that nothing flickers.
fn repaint(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    format!("\x1b[H{lines}\x1b[J")
}

fn text(watched: &Watched, format: &str, trunc: bool) -> Result<String, CliError> {
    let rows: Vec<_> = lock(watched)
        .iter()
        .map(|slot| stats::row(&slot.container, slot.sample.as_ref(), trunc))
        .collect();
    if rows.is_empty() && !format.starts_with("table") {
        return Ok(String::new());
    }
    render(&stats::KIND, format, &rows)
}

/// All that run (or all), and those that will.
async fn watch_all(
    client: &Client,
    watched: &Watched,
    all: bool,
    stream: bool,
) -> Result<(), CliError> {
    // Before the list is asked for, so that nobody is missed in between.
    let events = match stream {
        true => {
            Some(client.get("/events").filters(&only_containers()).lines::<EventMessage>().await?)
        }
        false => None,
    };
    let list = client.get("/containers/json").query_if(all, "all", 1);
    for one in list.json::<Vec<ContainerSummary>>().await? {
        watch(client, watched, units::short(&one.id), stream);
    }
    if let Some(events) = events {
        tokio::spawn(follow(client.clone(), Arc::clone(watched), events, all));
    }
    Ok(())
}

fn only_containers() -> Filters {
    let mut filters = Filters::default();
    filters.0.insert("type".to_owned(), vec!["container".to_owned()]);
    filters
}

/// Containers come and go.
async fn follow(client: Client, watched: Watched, mut events: JsonLines<EventMessage>, all: bool) {
    while let Ok(Some(event)) = events.next().await {
        let id = units::short(&event.actor.id).to_owned();
        match event.action.as_str() {
            "create" if all => watch(&client, &watched, &id, true),
            "start" => watch(&client, &watched, &id, true),
            "die" if !all => lock(&watched).retain(|slot| slot.container != id),
            "destroy" => lock(&watched).retain(|slot| slot.container != id),
            _ => {}
        }
    }
}

/// Adds a line, and what fills it.
fn watch(client: &Client, watched: &Watched, container: &str, stream: bool) {
    let mut slots = lock(watched);
    if slots.iter().any(|slot| slot.container == container) {
        return;
    }
    slots.push(Slot {
        container: container.to_owned(),
        sample: None,
        error: None,
        answered: false,
        ended: false,
    });
    let (client, watched) = (client.clone(), Arc::clone(watched));
    let container = container.to_owned();
    tokio::spawn(async move {
        let error = collect(&client, &watched, &container, stream).await.err();
        change(&watched, &container, |slot| {
            slot.error = slot.error.take().or(error.map(|error| error.to_string()));
            if slot.error.is_some() || stream {
                slot.sample = None;
            }
            slot.answered = true;
            slot.ended = true;
        });
    });
}

async fn collect(
    client: &Client,
    watched: &Watched,
    container: &str,
    stream: bool,
) -> Result<(), CliError> {
    let call = client.get(path(container, "/stats")).query("stream", u8::from(stream));
    let mut lines = call.lines::<StatsResponse>().await?;
    loop {
        let next = tokio::time::timeout(PATIENCE, lines.next()).await;
        let (sample, error) = match next {
            Ok(Ok(Some(sample))) => (Some(sample), None),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => (None, Some("timeout waiting for stats".to_owned())),
        };
        change(watched, container, |slot| {
            slot.sample = sample;
            slot.error = error;
            slot.answered = true;
        });
        if !stream {
            return Ok(());
        }
    }
}

fn change(watched: &Watched, container: &str, change: impl FnOnce(&mut Slot)) {
    if let Some(slot) = lock(watched).iter_mut().find(|slot| slot.container == container) {
        change(slot);
    }
}

/// The list is whole after every statement.
fn lock(watched: &Watched) -> MutexGuard<'_, Vec<Slot>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `docker events`.

use std::{collections::BTreeMap, fmt::Write};

use ferry_docker_api::{EventActor, EventMessage};
use ferry_gotemplate::{ExecError, Missing, Options, Template};
use ferry_stdx::time::Timestamp;
use serde_json::{Map, Value};

use crate::{
    format::units,
    framework::{Args, Cli, CliError, Command, Flag, Matches, Outcome},
};

pub(crate) const COMMAND: Command = Command {
    name: "events",
    top: Some("events"),
    short: "Get real time events from the server",
    usage: "[OPTIONS]",
    aliases_help: "docker system events, docker events",
    args: Args::None,
    flags: FLAGS,
    run,
    ..Command::NEW
};

const FLAGS: &[Flag] = &[
    Flag::filter("filter", "Filter output based on conditions provided").short('f'),
    Flag::string(
        "format",
        "Format output using a custom template:\n'json':             Print in JSON format\n'TEMPLATE':         Print output using the given Go template.\nRefer to https://docs.docker.com/go/formatting/ for more information about formatting output with templates",
    ),
    Flag::string("since", "Show all events created since timestamp"),
    Flag::string("until", "Stream events until this timestamp"),
];

/// Exit code for a template that does not read.
const USAGE: u8 = 64;

fn run(cli: &Cli, matches: &Matches) -> Outcome {
    let template = template(matches.text("format"))?;
    let (since, until) = (moment(matches.text("since"))?, moment(matches.text("until"))?);
    let client = cli.client()?;
    let call = client
        .get("/events")
        .query_if(!since.is_empty(), "since", since)
        .query_if(!until.is_empty(), "until", until)
        .filters(&matches.filters("filter"));
    cli.wait(async {
        let mut lines = call.lines::<Value>().await?;
        while let Some(value) = lines.next().await? {
            let mut line = String::new();
            let outcome = match &template {
                Some(template) => execute(template, &value, "events.Message", &mut line)
                    .map_err(|error| CliError::new(error.to_string())),
                None => shown(value).map(|text| line = text),
            };
            cli.println(&line)?;
            outcome?;
        }
        Ok(0)
    })
}

/// Reads a format, and tries it on an event without anything in it.
fn template(format: &str) -> Result<Option<Template>, CliError> {
    let text = match format {
        "" => return Ok(None),
        "json" => "{{json .}}",
        text => text,
    };
    let wrong =
        |words: String| CliError::new(format!("Error parsing format: {words}")).with_code(USAGE);
    let template = Template::parse(text).map_err(|error| wrong(error.to_string()))?;
    let actor = EventActor { attributes: Some(BTreeMap::new()), ..EventActor::default() };
    let empty = EventMessage { actor, ..EventMessage::default() };
    let empty = serde_json::to_value(empty).unwrap_or_default();
    execute(&template, &empty, "*events.Message", &mut String::new())
        .map_err(|error| wrong(error.to_string()))?;
    Ok(Some(template))
}

/// Executes a template with an event, whose structure is called `kind` in Go.
fn execute(
    template: &Template,
    event: &Value,
    kind: &'static str,
    line: &mut String,
) -> Result<(), ExecError> {
    let options = Options {
        missing: Missing::Strict(kind),
        absent: Some(absent),
        types: Some(|key| (key == "Actor").then_some("events.Actor")),
        ..Options::default()
    };
    template.execute(event, &options, line)
}

/// Names of Go's fields that JSON spells in another way, and those that it leaves out.
fn absent(event: &Map<String, Value>, parent: &str, name: &str) -> Option<Option<Value>> {
    let or = |json: &str, zero: Value| Some(Some(event.get(json).cloned().unwrap_or(zero)));
    match (parent, name) {
        ("", "Status" | "From" | "Scope") => {
            or(&name.to_ascii_lowercase(), Value::String(String::new()))
        }
        ("", "ID") => or("id", Value::String(String::new())),
        ("", "Time") => or("time", Value::from(0)),
        ("", "TimeNano") => or("timeNano", Value::from(0)),
        ("Attributes", _) => Some(None),
        _ => None,
    }
}

/// A point in time as the daemon wants it.
fn moment(text: &str) -> Result<String, CliError> {
    if text.is_empty() || Timestamp::parse_unix(text).is_some() {
        return Ok(text.to_owned());
    }
    let time = Timestamp::parse_user(text, units::now())
        .map_err(|error| CliError::new(error.to_string()))?;
    Ok(format!("{}.{:09}", time.seconds(), time.subsec_nanos()))
}

fn shown(value: Value) -> Result<String, CliError> {
    let event: EventMessage = serde_json::from_value(value)
        .map_err(|error| CliError::new(format!("an event does not read: {error}")))?;
    let time = match (event.time_nano, event.time) {
        (0, 0) => String::new(),
        (0, seconds) => Timestamp::from_seconds(seconds).format_fixed() + " ",
        (nanos, _) => Timestamp::from_nanos(nanos).format_fixed() + " ",
    };
    let mut line = format!("{time}{} {} {}", event.kind, event.action, event.actor.id);
    let attributes = event.actor.attributes.unwrap_or_default();
    if !attributes.is_empty() {
        let pairs: Vec<String> =
            attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let _ = write!(line, " ({})", pairs.join(", "));
    }
    Ok(line)
}

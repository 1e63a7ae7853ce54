//! `compose events`.

use std::collections::BTreeSet;

use ferry_cli::{
    face::{Args, Command, Outcome},
    flags::{Flag, Matches},
};
use ferry_docker_api::{EventMessage, Filters};
use ferry_stdx::time::Timestamp;
use serde_json::{Map, Value, json};

use super::{Compose, DRY, Verb};
use crate::run::{
    labels::{ONEOFF, PROJECT, SERVICE},
    logs::moment,
};

pub(super) static EVENTS: Verb = Verb {
    command: Command {
        name: "events",
        short: "Receive real time events from containers",
        usage: "[OPTIONS] [SERVICE...]",
        args: Args::Any,
        flags: &[
            DRY,
            Flag::bool("json", "Output events as a stream of json objects"),
            Flag::string("since", "Show all events created since timestamp"),
            Flag::string("until", "Stream events until this timestamp"),
        ],
        ..Command::NEW
    },
    run,
};

fn run(compose: &Compose<'_>, matches: &Matches) -> Outcome {
    let project = compose.project_or_name()?;
    let services: BTreeSet<&String> = matches.args().iter().collect();
    let client = compose.cli.client()?;
    let mut filters = Filters::default();
    filters.add("label", &format!("{PROJECT}={}", project.name));
    filters.add("type", "container");
    let mut call = client.get("/events").filters(&filters);
    for bound in ["since", "until"] {
        let text = moment(matches.text(bound))?;
        call = call.query_if(!text.is_empty(), bound, text);
    }
    compose.cli.wait(async {
        let mut events = call.lines::<EventMessage>().await?;
        while let Some(event) = events.next().await? {
            let own = event.actor.attributes.clone().unwrap_or_default();
            let label = |name: &str| own.get(name).cloned().unwrap_or_default();
            let service = label(SERVICE);
            let named = services.is_empty() || services.contains(&service);
            if named && label(ONEOFF) != "True" {
                compose.cli.println(&line(&event, &service, matches.flag("json")))?;
            }
        }
        Ok(0)
    })
}

/// One event, without the labels by which Compose knows its containers.
fn line(event: &EventMessage, service: &str, as_json: bool) -> String {
    let attributes = event.actor.attributes.iter().flatten();
    let shown = attributes.filter(|(name, _)| !name.starts_with("com.docker.compose."));
    let at = Timestamp::from_nanos(event.time_nano);
    if as_json {
        let attributes: Map<String, Value> =
            shown.map(|(name, value)| (name.clone(), json!(value))).collect();
        return json!({
            "action": event.action, "attributes": attributes, "id": event.actor.id,
            "service": service, "time": at.format_rfc3339_nano(), "type": "container",
        })
        .to_string();
    }
    let attributes: Vec<String> = shown.map(|(name, value)| format!("{name}={value}")).collect();
    let clock = at.format_fixed().replace('T', " ");
    // As far as microseconds.
    let clock = clock.get(..26).unwrap_or(&clock);
    format!("{clock} container {} {} ({})\n", event.action, event.actor.id, attributes.join(", "))
}

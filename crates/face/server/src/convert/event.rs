//! Events, and which of them a client wants.

use ferry_docker_api::{EventActor, EventMessage, Filters};
use ferry_model::event::{Event, Subject};

/// Filters of `/events`.
pub(crate) const FILTERS: [&str; 14] = [
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];

/// Writes an event. `status`, `id` and `from` are what clients before 1.22 looked at; only containers and images had events.
pub(crate) fn message(event: &Event) -> EventMessage {
    let Event { subject, action, id, attributes, time } = event.clone();
    let old = matches!(subject, Subject::Container | Subject::Image);
    let from = match subject {
        Subject::Container => attributes.get("image").cloned().unwrap_or_default(),
        _ => String::new(),
    };
    EventMessage {
        status: if old { action.clone() } else { String::new() },
        id: if old { id.clone() } else { String::new() },
        from,
        kind: subject.as_str().to_owned(),
        action,
        actor: EventActor { id, attributes: Some(attributes) },
        scope: "local".to_owned(),
        time: time.seconds(),
        time_nano: time.nanos(),
    }
}

/// Whether an event passes the filters: one value of each filter that is there must fit.
pub(crate) fn passes(event: &Event, filters: &Filters) -> bool {
    filters.0.iter().all(|(name, values)| values.is_empty() || values_fit(event, name, values))
}

fn values_fit(event: &Event, name: &str, values: &[String]) -> bool {
    let any = |fits: &dyn Fn(&str) -> bool| values.iter().any(|value| fits(value));
    match name {
        "type" => any(&|value| value == event.subject.as_str()),
        // `exec_create: sh` is an `exec_create`.
        "event" => {
            let short = event.action.split(':').next().unwrap_or_default();
            any(&|value| value == event.action || value == short)
        }
        "scope" => any(&|value| value == "local"),
        // All labels must be there.
        "label" => values.iter().all(|label| {
            let (key, wanted) =
                label.split_once('=').map_or((label.as_str(), None), |(k, v)| (k, Some(v)));
            event.attributes.get(key).is_some_and(|have| wanted.is_none_or(|wanted| have == wanted))
        }),
        "image" => any(&|value| is_about_image(event, value)),
        subject => any(&|value| is_about(event, subject, value)),
    }
}

/// Whether an event is about a certain container, volume, …: by the beginning of its id or name. The events of networks and
/// volumes tell the container, too.
fn is_about(event: &Event, subject: &str, value: &str) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let own = event.subject.as_str() == subject
        && (event.id.starts_with(value) || attribute("name").starts_with(value));
    own || (!attribute(subject).is_empty() && attribute(subject).starts_with(value))
}

fn is_about_image(event: &Event, value: &str) -> bool {
    let without_tag = |name: &str| name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned();
    let named = match event.subject {
        Subject::Image => {
            [event.id.as_str(), event.attributes.get("name").map_or("", String::as_str)]
        }
        Subject::Container => [event.attributes.get("image").map_or("", String::as_str), ""],
        _ => return false,
    };
    named.iter().any(|name| *name == value || without_tag(name) == value)
}

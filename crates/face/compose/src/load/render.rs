//! The canonical form of a project: keys in the specification's order, what is empty left out.

use serde_json::{Map, Value, json};

use super::schema::{self, FILE, Key, Kind};

/// For whom it is shown. Compose's two encoders leave out different things, and hashes are over the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Yaml,
    Json,
}

/// What `config` shows.
pub(crate) fn config(tree: &Value, form: Form) -> Value {
    let mut whole = object(tree, FILE, form);
    if form == Form::Json {
        sort(&mut whole);
    }
    whole
}

/// A service, as its hash sees it.
pub(crate) fn ordered_service(service: &Value) -> Value {
    object(service, schema::SERVICE, Form::Json)
}

/// A network, as its hash sees it.
pub(crate) fn ordered_network(network: &Value) -> Value {
    object(network, schema::NETWORK, Form::Json)
}

/// A volume, as its hash sees it.
pub(crate) fn ordered_volume(volume: &Value) -> Value {
    object(volume, schema::VOLUME, Form::Json)
}

/// The top level and the services are sorted by name in JSON; below, the order of the specification stays.
fn sort(whole: &mut Value) {
    let Some(map) = whole.as_object_mut() else { return };
    map.sort_keys();
    for service in map.get_mut("services").and_then(Value::as_object_mut).into_iter().flatten() {
        // A service's keys are in order of their Go fields, whose names sort as the keys do, nearly.
        if let Some(map) = service.1.as_object_mut() {
            map.sort_keys();
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) => false,
    }
}

fn object(value: &Value, keys: &[Key], form: Form) -> Value {
    let mut out = Map::new();
    for key in keys {
        let inner = value.get(key.name).unwrap_or(&Value::Null);
        let is_service = std::ptr::eq(keys, schema::SERVICE);
        if inner.is_null() {
            let shown = form == Form::Json
                && (is_service && matches!(key.kind, Kind::Command)
                    || matches!(key.name, "ipam" | "resources" | "placement"));
            if shown {
                let default = if is_service { Value::Null } else { json!({}) };
                out.insert(key.name.to_owned(), default);
            }
            continue;
        }
        let shown = ordered(inner, &key.kind, form);
        let kept = key.keep && !(matches!(key.name, "ipam" | "resources" | "placement"));
        if !is_empty(&shown) || kept || (form == Form::Json && key.keep) {
            out.insert(key.name.to_owned(), shown);
        }
    }
    Value::Object(out)
}

fn ordered(value: &Value, kind: &Kind, form: Form) -> Value {
    let each = |keys: &'static [Key]| match value {
        Value::Array(list) => {
            Value::Array(list.iter().map(|item| object(item, keys, form)).collect())
        }
        other => other.clone(),
    };
    match kind {
        Kind::Object(keys) => object(value, keys, form),
        Kind::MapOf(inner) => by_name(value, |value| ordered(value, inner, form)),
        Kind::DependsOn => by_name(value, |value| object(value, schema::DEPENDENCY, form)),
        Kind::Networks => by_name(value, |value| match value {
            Value::Null => Value::Null,
            value => object(value, schema::SERVICE_NETWORK, form),
        }),
        Kind::Mapping | Kind::Labels | Kind::Options | Kind::Ulimits => {
            by_name(value, Value::clone)
        }
        Kind::Ports => each(schema::PORT),
        Kind::Mounts => each(schema::MOUNT),
        Kind::Configs | Kind::Secrets => each(schema::FILE_REFERENCE),
        Kind::Devices => each(schema::DEVICE),
        Kind::Gpus => each(schema::DEVICE_REQUEST),
        Kind::EnvFiles => each(schema::ENV_FILE),
        Kind::ListOf(Kind::Object(keys)) => each(keys),
        Kind::Build => object(value, schema::BUILD, form),
        _ => value.clone(),
    }
}

fn by_name(value: &Value, change: impl Fn(&Value) -> Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    Value::Object(sorted.into_iter().map(|(name, value)| (name.clone(), change(value))).collect())
}

//! The canonical form of a project: keys in the specification's order, what is empty left out.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::schema::{self, FILE, Key, Kind};
use crate::yaml::to_yaml;

/// For whom it is shown. Compose's two encoders leave out different things, and hashes are over the JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Yaml,
    Json,
}

/// What `config` shows, as text that reads back as the same project; `raw` is a project whose variables are still names.
pub(crate) fn config(tree: &Value, form: Form, raw: bool) -> Result<String, serde_json::Error> {
    let mut whole = object(tree, FILE, form);
    if form == Form::Json
        && let Some(map) = whole.as_object_mut()
    {
        map.shift_remove("models");
        extend(map, tree, form);
        map.sort_keys();
    }
    if raw {
        sort_all(&mut whole, form);
    }
    let text = match form {
        Form::Yaml => to_yaml(&whole),
        Form::Json => html_safe(&serde_json::to_string_pretty(&whole)?) + "\n",
    };
    Ok(if raw { text } else { text.replace('$', "$$") })
}

/// As Go's encoder writes what could end a script.
pub(crate) fn html_safe(json: &str) -> String {
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// Keys that the specification leaves to everybody.
fn extend(out: &mut Map<String, Value>, value: &Value, form: Form) {
    let own = value.as_object().into_iter().flatten();
    let mut own: Vec<_> = own.filter(|(name, _)| name.starts_with("x-")).collect();
    own.sort_by(|a, b| natural(a.0, b.0));
    for (name, value) in own {
        let mut value = value.clone();
        sort_all(&mut value, form);
        out.insert(name.clone(), value);
    }
}

fn sort_all(value: &mut Value, form: Form) {
    match value {
        Value::Object(map) => {
            let old = std::mem::take(map);
            let mut entries: Vec<(String, Value)> = old.into_iter().collect();
            match form {
                Form::Yaml => entries.sort_by(|a, b| natural(&a.0, &b.0)),
                Form::Json => entries.sort_by(|a, b| a.0.cmp(&b.0)),
            }
            entries.iter_mut().for_each(|(_, value)| sort_all(value, form));
            map.extend(entries);
        }
        Value::Array(list) => list.iter_mut().for_each(|item| sort_all(item, form)),
        _ => {}
    }
}

/// The order of Go's YAML encoder: letters after what is none, numbers by their value.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for at in 0..a.len().min(b.len()) {
        let (x, y) = (a[at], b[at]);
        if x == y {
            digits = x.is_ascii_digit();
            continue;
        }
        return match (x.is_alphabetic(), y.is_alphabetic()) {
            (true, true) => x.cmp(&y),
            (false, false) => {
                let number = |text: &[char]| {
                    let run: String =
                        text[at..].iter().take_while(|c| c.is_ascii_digit()).collect();
                    (run.parse::<u128>().unwrap_or(0), run.len())
                };
                number(&a).cmp(&number(&b)).then(x.cmp(&y))
            }
            (first, _) => {
                // Where digits end, the shorter number comes first.
                if first == digits { Ordering::Less } else { Ordering::Greater }
            }
        };
    }
    a.len().cmp(&b.len())
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
    if !value.is_object() && !value.is_null() {
        // A short syntax with a variable in it.
        return value.clone();
    }
    let mut out = Map::new();
    for key in keys {
        let inner = value.get(key.name).unwrap_or(&Value::Null);
        // Compose reads them, and forgets them.
        if std::ptr::eq(keys, schema::IPAM) && key.name == "options" {
            continue;
        }
        let name = match form {
            // Two structures of Compose have no names for JSON.
            Form::Json
                if std::ptr::eq(keys, schema::RATE) || std::ptr::eq(keys, schema::WEIGHT) =>
            {
                &format!("{}{}", key.name[..1].to_uppercase(), &key.name[1..])
            }
            _ => key.name,
        };
        let is_service = std::ptr::eq(keys, schema::SERVICE);
        if inner.is_null() {
            if form == Form::Json && std::ptr::eq(keys, schema::TRIGGER) && key.name == "exec" {
                out.insert(key.name.to_owned(), json!({"command": null}));
                continue;
            }
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
            out.insert(name.to_owned(), shown);
        }
    }
    if form == Form::Yaml {
        extend(&mut out, value, form);
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
        Kind::MapOf(inner) => by_name(value, form, |value| ordered(value, inner, form)),
        Kind::DependsOn => by_name(value, form, |value| object(value, schema::DEPENDENCY, form)),
        Kind::ServiceModels => by_name(value, form, Value::clone),
        Kind::Networks => by_name(value, form, |value| match value {
            Value::Null => Value::Null,
            value => object(value, schema::SERVICE_NETWORK, form),
        }),
        Kind::Mapping | Kind::Labels | Kind::Options | Kind::Ulimits => {
            by_name(value, form, Value::clone)
        }
        Kind::Ports => each(schema::PORT),
        Kind::Mounts => each(schema::MOUNT),
        Kind::Configs | Kind::Secrets => each(schema::FILE_REFERENCE),
        Kind::Devices => each(schema::DEVICE),
        Kind::Gpus => each(schema::DEVICE_REQUEST),
        Kind::EnvFiles => match value {
            Value::Array(list) => list.iter().map(env_file).collect(),
            other => other.clone(),
        },
        Kind::ListOf(Kind::Object(keys)) => each(keys),
        Kind::Build => object(value, schema::BUILD, form),
        Kind::Any => {
            let mut value = value.clone();
            sort_all(&mut value, form);
            value
        }
        _ => value.clone(),
    }
}

/// One that must be there is only its path.
fn env_file(file: &Value) -> Value {
    if file["required"] == json!(false) { file.clone() } else { file["path"].clone() }
}

fn by_name(value: &Value, form: Form, change: impl Fn(&Value) -> Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    let mut sorted: Vec<(&String, &Value)> = map.iter().collect();
    match form {
        Form::Json => sorted.sort_by_key(|(name, _)| *name),
        Form::Yaml => sorted.sort_by(|a, b| natural(a.0, b.0)),
    }
    Value::Object(sorted.into_iter().map(|(name, value)| (name.clone(), change(value))).collect())
}

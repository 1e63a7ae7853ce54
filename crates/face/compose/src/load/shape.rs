//! One file's tree to its long form: every value is checked against the table, and every short syntax becomes the long one.

use ferry_stdx::{duration, size};
use serde_json::{Map, Value, json};

use super::{
    mounts, ports,
    schema::{self, Key, Kind},
    words,
};
use crate::yaml::{Node, Place, Yaml};

/// A mistake, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) words: String,
    pub(crate) at: Place,
    pub(crate) hint: Option<String>,
}

/// Collects the mistakes of one file.
#[derive(Debug, Default)]
pub(crate) struct Shaper {
    /// Variables are still names: a short syntax with one in it stays as it is.
    pub(crate) raw: bool,
    pub(crate) problems: Vec<Problem>,
}

impl Shaper {
    fn wrong(&mut self, node: &Node, words: String) -> Option<Value> {
        self.problems.push(Problem { words, at: node.at, hint: None });
        None
    }

    /// The long form of `node`; `None` when it is wrong, which is noted.
    pub(crate) fn shape(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
        if matches!(node.value, Yaml::Plain(Value::Null)) {
            return Some(Value::Null);
        }
        match kind {
            Kind::Text => match &node.value {
                Yaml::Text(text) => Some(json!(text)),
                _ => self.wrong(node, format!("{path} must be a string")),
            },
            Kind::Scalar => self.scalar(node, path),
            Kind::Bool => self.boolean(node, path),
            Kind::Int => self.number(node, path, true),
            Kind::Number => self.number(node, path, false),
            Kind::Bytes => self.bytes(node, path),
            Kind::Duration => self.duration(node, path),
            Kind::Mode => self.mode(node, path),
            Kind::Texts => self.texts(node, path),
            Kind::TextOrTexts => match &node.value {
                Yaml::Text(text) => Some(json!([text])),
                _ => self.texts(node, path),
            },
            Kind::Scalars => match &node.value {
                Yaml::List(_) => self.texts(node, path),
                _ => self.scalar(node, path).map(|one| json!([one])),
            },
            Kind::Mapping | Kind::Labels | Kind::Options => self.mapping(node, kind, path),
            Kind::Command => self.command(node, path),
            Kind::Test => match &node.value {
                Yaml::Text(text) => Some(json!(["CMD-SHELL", text])),
                _ => self.texts(node, path),
            },
            Kind::Object(keys) => self.object(node, keys, path),
            Kind::MapOf(kind) => self.map_of(node, kind, path),
            Kind::ListOf(kind) => self.list_of(node, kind, path),
            Kind::Any => Some(node.to_value()),
            other => self.special(node, other, path),
        }
    }

    fn special(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
        match kind {
            Kind::Ports => {
                self.each(node, path, &Kind::Object(schema::PORT), &|text| ports::parse(text))
            }
            Kind::Mounts => self.each(node, path, &Kind::Object(schema::MOUNT), &|text| {
                mounts::parse(text).map(|mount| vec![mount])
            }),
            Kind::Configs => {
                self.each(node, path, &Kind::Object(schema::FILE_REFERENCE), &|text| {
                    Ok(vec![json!({"source": text})])
                })
            }
            Kind::Secrets => {
                let mut list =
                    self.each(node, path, &Kind::Object(schema::FILE_REFERENCE), &|text| {
                        Ok(vec![json!({"source": text})])
                    })?;
                for item in list.as_array_mut().into_iter().flatten() {
                    if item.get("target").is_none() {
                        let source = item["source"].as_str().unwrap_or_default();
                        item["target"] = json!(format!("/run/secrets/{source}"));
                    }
                }
                Some(list)
            }
            Kind::Devices => {
                self.each(node, path, &Kind::Object(schema::DEVICE), &|text| device(text))
            }
            Kind::EnvFiles => self.each(node, path, &Kind::Object(schema::ENV_FILE), &|text| {
                Ok(vec![json!({"path": text})])
            }),
            Kind::Gpus => {
                self.each(node, path, &Kind::Object(schema::DEVICE_REQUEST), &|text| match text {
                    "all" => Ok(vec![json!({"count": -1})]),
                    other => Err(format!("{other:?} is not all")),
                })
            }
            Kind::Include => self.each(node, path, &Kind::Any, &|text| Ok(vec![json!(text)])),
            Kind::DependsOn => {
                self.named(node, path, &Kind::Object(schema::DEPENDENCY), &|value| {
                    let defaults = json!({"condition": "service_started", "required": true});
                    let mut whole = defaults;
                    for (key, given) in value.as_object().into_iter().flatten() {
                        whole[key] = given.clone();
                    }
                    whole
                })
            }
            Kind::Networks => {
                self.named(node, path, &Kind::Object(schema::SERVICE_NETWORK), &|value| value)
            }
            Kind::Hosts => self.hosts(node, path),
            Kind::Ulimits => self.ulimits(node, path),
            Kind::Extends => match &node.value {
                Yaml::Text(service) => Some(json!({"service": service})),
                _ => self.object(node, schema::EXTENDS, path),
            },
            Kind::External => match &node.value {
                Yaml::Map(_) => Some(node.to_value()),
                _ => self.boolean(node, path),
            },
            Kind::Build => match &node.value {
                Yaml::Text(context) => Some(json!({"context": context})),
                _ => self.object(node, schema::BUILD, path),
            },
            Kind::Count => match &node.value {
                Yaml::Text(text) if text == "all" => Some(json!(-1)),
                _ => self.number(node, path, true),
            },
            Kind::ServiceModels => self.named(node, path, &Kind::Any, &|value| value),
            Kind::Ssh => self.ssh(node, path),
            _ => Some(node.to_value()),
        }
    }

    /// `default`, or `id=path`; Compose writes the latter with a colon.
    fn ssh(&mut self, node: &Node, path: &str) -> Option<Value> {
        let Some(Value::Object(map)) = self.mapping(node, &Kind::Labels, path) else {
            return Some(json!(["default"]));
        };
        let shown = map.iter().map(|(id, key)| match key.as_str() {
            None | Some("") => id.clone(),
            Some(key) => format!("{id}: {key}"),
        });
        Some(shown.collect())
    }

    fn scalar(&mut self, node: &Node, path: &str) -> Option<Value> {
        match &node.value {
            Yaml::Text(text) => Some(json!(text)),
            Yaml::Plain(Value::Bool(on)) => Some(json!(on.to_string())),
            Yaml::Plain(Value::Number(number)) => Some(json!(match number.as_f64() {
                // Whole numbers without a point, as Go prints them.
                Some(float) if number.is_f64() => float.to_string(),
                _ => number.to_string(),
            })),
            _ => self.wrong(node, format!("{path} must be a string")),
        }
    }

    fn boolean(&mut self, node: &Node, path: &str) -> Option<Value> {
        match &node.value {
            Yaml::Plain(Value::Bool(on)) => Some(json!(on)),
            Yaml::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "y" | "yes" | "on" => Some(json!(true)),
                "false" | "n" | "no" | "off" => Some(json!(false)),
                _ => self.wrong(
                    node,
                    format!(
                        "error while interpolating {path}: failed to cast to expected type: invalid boolean: {text}"
                    ),
                ),
            },
            _ => self.wrong(node, format!("{path} must be a boolean")),
        }
    }

    fn number(&mut self, node: &Node, path: &str, whole: bool) -> Option<Value> {
        let number = match &node.value {
            Yaml::Plain(Value::Number(number)) => Some(number.clone()),
            Yaml::Text(text) => match text.trim().parse::<i64>() {
                Ok(number) => Some(number.into()),
                Err(_) => text.trim().parse().ok().and_then(serde_json::Number::from_f64),
            },
            _ => None,
        };
        match number {
            Some(number) if !whole || number.is_i64() || number.is_u64() => Some(json!(number)),
            _ if whole => self.wrong(node, format!("{path} must be a integer")),
            _ => self.wrong(node, format!("{path} must be a number")),
        }
    }

    fn bytes(&mut self, node: &Node, path: &str) -> Option<Value> {
        let parsed = match &node.value {
            Yaml::Plain(Value::Number(number)) => number.as_i64(),
            Yaml::Text(text) if text == "-1" => Some(-1),
            Yaml::Text(text) => size::parse_bytes(text).ok(),
            _ => None,
        };
        match parsed {
            Some(bytes) => Some(json!(bytes.to_string())),
            None => self.wrong(node, format!("{path}: invalid size: {}", node.to_value())),
        }
    }

    fn duration(&mut self, node: &Node, path: &str) -> Option<Value> {
        let Yaml::Text(text) = &node.value else {
            return match &node.value {
                Yaml::Plain(Value::Number(number)) if number.as_i64() == Some(0) => {
                    Some(json!("0s"))
                }
                _ => self.wrong(node, format!("{path} must be a string")),
            };
        };
        match nanoseconds(text) {
            Some(nanos) => Some(json!(duration::format_go(nanos))),
            None => self.wrong(node, format!("{path}: invalid duration {text:?}")),
        }
    }

    fn mode(&mut self, node: &Node, path: &str) -> Option<Value> {
        let mode = match &node.value {
            Yaml::Plain(Value::Number(number)) => number.as_i64(),
            Yaml::Text(text) => i64::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
            _ => None,
        };
        match mode {
            // Tmpfs modes are numbers to Compose, those of secrets octal text.
            Some(mode) if path.contains(".tmpfs.") => Some(json!(mode)),
            Some(mode) => Some(json!(format!("0{mode:o}"))),
            None => self.wrong(node, format!("{path} must be a number")),
        }
    }

    fn texts(&mut self, node: &Node, path: &str) -> Option<Value> {
        let Yaml::List(items) = &node.value else {
            return self.wrong(node, format!("{path} must be a array"));
        };
        let texts = items.iter().enumerate();
        let texts: Vec<Value> =
            texts.filter_map(|(at, item)| self.scalar(item, &format!("{path}.{at}"))).collect();
        Some(Value::Array(texts))
    }

    fn mapping(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
        let mut map = Map::new();
        let empty = |kind: &Kind| match kind {
            Kind::Mapping => Value::Null,
            _ => json!(""),
        };
        match &node.value {
            Yaml::Map(entries) => {
                for (key, _, value) in entries {
                    let shaped = match &value.value {
                        Yaml::Plain(Value::Null) => Some(empty(kind)),
                        _ => self.scalar(value, &format!("{path}.{key}")),
                    };
                    map.extend(shaped.map(|value| (key.clone(), value)));
                }
            }
            Yaml::List(items) if !matches!(kind, Kind::Options) => {
                for (at, item) in items.iter().enumerate() {
                    let Some(Value::String(text)) = self.scalar(item, &format!("{path}.{at}"))
                    else {
                        continue;
                    };
                    match text.split_once('=') {
                        Some((key, value)) => map.insert(key.to_owned(), json!(value)),
                        None => map.insert(text, empty(kind)),
                    };
                }
            }
            _ => return self.wrong(node, format!("{path} must be a mapping")),
        }
        Some(Value::Object(map))
    }

    fn command(&mut self, node: &Node, path: &str) -> Option<Value> {
        match &node.value {
            Yaml::Text(text) => match words::split(text) {
                Ok(words) => Some(json!(words)),
                Err(why) => self.wrong(node, format!("{path}: {why}")),
            },
            _ => self.texts(node, path),
        }
    }

    fn object(&mut self, node: &Node, keys: &[Key], path: &str) -> Option<Value> {
        let Yaml::Map(entries) = &node.value else {
            let words = if path.is_empty() {
                "top-level object must be a mapping".to_owned()
            } else {
                format!("{path} must be a mapping")
            };
            return self.wrong(node, words);
        };
        let mut map = Map::new();
        for (name, at, value) in entries {
            let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                if name.starts_with("x-") {
                    map.insert(name.clone(), value.to_value());
                } else {
                    self.unknown(name, *at, keys, path);
                }
                continue;
            };
            if let Some(value) = self.shape(value, &key.kind, &below) {
                map.insert(name.clone(), value);
            }
        }
        Some(Value::Object(map))
    }

    fn unknown(&mut self, name: &str, at: Place, keys: &[Key], path: &str) {
        let near = keys.iter().map(|key| key.name).min_by_key(|key| distance(key, name));
        let near = near.filter(|key| distance(key, name) <= 2.min(name.len() / 2));
        self.problems.push(Problem {
            words: format!("{path} additional properties '{name}' not allowed"),
            at,
            hint: near.map(|near| format!("did you mean {near:?}?")),
        });
    }

    fn map_of(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
        let Yaml::Map(entries) = &node.value else {
            return self.wrong(node, format!("{path} must be a mapping"));
        };
        let mut map = Map::new();
        for (name, at, value) in entries {
            if name.starts_with("x-") {
                continue;
            }
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            if name.is_empty() || !name.bytes().all(good) {
                self.problems.push(Problem {
                    words: format!("{path} additional properties '{name}' not allowed"),
                    at: *at,
                    hint: None,
                });
                continue;
            }
            let below = format!("{path}.{name}");
            let shaped = match &value.value {
                Yaml::Plain(Value::Null) if path == "services" => {
                    self.wrong(value, format!("{below} must be a mapping"))
                }
                Yaml::Plain(Value::Null) => Some(json!({})),
                _ => self.shape(value, kind, &below),
            };
            map.extend(shaped.map(|value| (name.clone(), value)));
        }
        Some(Value::Object(map))
    }

    fn list_of(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
        let Yaml::List(items) = &node.value else {
            return self.wrong(node, format!("{path} must be a array"));
        };
        let items = items.iter().enumerate();
        let items = items.filter_map(|(at, item)| self.shape(item, kind, &format!("{path}.{at}")));
        Some(Value::Array(items.collect()))
    }

    /// A list whose items may be short, each of which stands for one or more long ones.
    fn each(
        &mut self,
        node: &Node,
        path: &str,
        kind: &Kind,
        short: &dyn Fn(&str) -> Result<Vec<Value>, String>,
    ) -> Option<Value> {
        let one;
        let items = match &node.value {
            Yaml::List(items) => items,
            // `env_file: x` and `gpus: all`.
            Yaml::Text(_)
                if path.ends_with(".env_file") || path.ends_with(".gpus") || path == "include" =>
            {
                one = vec![node.clone()];
                &one
            }
            _ => return self.wrong(node, format!("{path} must be a array")),
        };
        let mut list = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let below = format!("{path}.{at}");
            match &item.value {
                Yaml::Map(_) => {
                    let shaped = self.shape(item, kind, &below);
                    list.extend(shaped.map(|value| with_defaults(value, path)));
                }
                _ => {
                    let Some(Value::String(text)) = self.scalar(item, &below) else { continue };
                    match short(&text) {
                        _ if self.raw && text.contains('$') => list.push(json!(text)),
                        Ok(values) => list.extend(values),
                        Err(why) => drop(self.wrong(item, why)),
                    }
                }
            }
        }
        Some(Value::Array(list))
    }

    /// Names in a list, or settings by name.
    fn named(
        &mut self,
        node: &Node,
        path: &str,
        kind: &Kind,
        complete: &dyn Fn(Value) -> Value,
    ) -> Option<Value> {
        let mut map = Map::new();
        match &node.value {
            Yaml::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Some(Value::String(name)) = self.scalar(item, &format!("{path}.{at}")) {
                        map.insert(name, complete(Value::Null));
                    }
                }
            }
            Yaml::Map(entries) => {
                for (name, _, value) in entries {
                    let shaped = self.shape(value, kind, &format!("{path}.{name}"));
                    map.extend(shaped.map(|value| (name.clone(), complete(value))));
                }
            }
            _ => return self.wrong(node, format!("{path} must be a mapping")),
        }
        Some(Value::Object(map))
    }

    fn hosts(&mut self, node: &Node, path: &str) -> Option<Value> {
        let mut hosts = Vec::new();
        match &node.value {
            Yaml::List(items) => {
                for (at, item) in items.iter().enumerate() {
                    let Some(Value::String(text)) = self.scalar(item, &format!("{path}.{at}"))
                    else {
                        continue;
                    };
                    match text.split_once('=').or_else(|| text.split_once(':')) {
                        Some((host, address)) if !address.is_empty() => {
                            hosts.push(format!("{host}={}", bare(address)));
                        }
                        _ => drop(self.wrong(item, format!("bad host name {text:?}"))),
                    }
                }
            }
            Yaml::Map(entries) => {
                for (host, _, address) in entries {
                    match self.shape(address, &Kind::TextOrTexts, &format!("{path}.{host}")) {
                        Some(Value::Array(list)) => hosts.extend(
                            list.iter()
                                .filter_map(Value::as_str)
                                .map(|address| format!("{host}={}", bare(address))),
                        ),
                        _ => continue,
                    }
                }
            }
            _ => return self.wrong(node, format!("{path} must be a mapping")),
        }
        hosts.sort();
        Some(json!(hosts))
    }

    fn ulimits(&mut self, node: &Node, path: &str) -> Option<Value> {
        static PAIR: &[Key] = &[
            Key { name: "soft", kind: Kind::Int, keep: true },
            Key { name: "hard", kind: Kind::Int, keep: true },
        ];
        let Yaml::Map(entries) = &node.value else {
            return self.wrong(node, format!("{path} must be a mapping"));
        };
        let mut map = Map::new();
        for (name, _, value) in entries {
            let below = format!("{path}.{name}");
            let shaped = match &value.value {
                Yaml::Map(_) => self.object(value, PAIR, &below),
                _ => self.number(value, &below, true),
            };
            map.extend(shaped.map(|value| (name.clone(), value)));
        }
        Some(Value::Object(map))
    }
}

fn bare(address: &str) -> &str {
    address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address)
}

/// What the long syntax leaves out.
fn with_defaults(mut value: Value, path: &str) -> Value {
    if path.ends_with(".ports") {
        for (key, default) in [("mode", "ingress"), ("protocol", "tcp")] {
            if value.get(key).is_none() {
                value[key] = json!(default);
            }
        }
    }
    let bind = path.ends_with(".volumes") && value["bind"].is_object();
    if bind && value.pointer("/bind/create_host_path").is_none() {
        value["bind"]["create_host_path"] = json!(true);
    }
    value
}

fn device(text: &str) -> Result<Vec<Value>, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [one] => (one, one, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return Err(format!("confusing device mapping, please use long syntax: {text}")),
    };
    Ok(vec![json!({"source": source, "target": target, "permissions": permissions})])
}

/// Go's notation, and days and weeks.
pub(crate) fn nanoseconds(text: &str) -> Option<i64> {
    if let Ok(nanos) = duration::parse_go(text) {
        return Some(nanos);
    }
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let days: i64 = match unit.chars().next()? {
        'd' => 1,
        'w' => 7,
        _ => return None,
    };
    let rest = match &unit[1..] {
        "" => 0,
        rest => nanoseconds(rest)?,
    };
    number.parse::<i64>().ok()?.checked_mul(days * 86_400_000_000_000)?.checked_add(rest)
}

/// How many letters must change.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let new = (corner + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = row[j + 1];
            row[j + 1] = new;
        }
    }
    row[b.len()]
}

//! One file's tree to its long form: every value is checked against the table, and every short syntax becomes the long one
//! ([`short`]).

mod short;

use ferry_stdx::{duration, size};
use serde_json::{Map, Value, json};

use super::{
    near::{hint, nearest},
    schema::{Key, Kind},
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
            Kind::Choice(_) | Kind::ContainerName | Kind::PullPolicy | Kind::Restart => {
                match &node.value {
                    Yaml::Text(text) => self.word(node, text, kind, path),
                    _ => self.wrong(node, format!("{path} must be a string")),
                }
            }
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

    /// Text that is not free.
    fn word(&mut self, node: &Node, text: &str, kind: &Kind, path: &str) -> Option<Value> {
        let (good, words, known): (bool, String, &[&str]) = match kind {
            Kind::Choice(all) => (all.contains(&text), one_of(all), all),
            Kind::Restart => {
                let name = text.split_once(':').map_or(text, |(name, _)| name);
                (RESTARTS.contains(&name), one_of(RESTARTS), RESTARTS)
            }
            Kind::PullPolicy => (is_policy(text), unlike(text, POLICY), &POLICIES),
            _ => (is_container_name(text), unlike(text, CONTAINER_NAME), &[]),
        };
        if good || (self.raw && text.contains('$')) {
            return Some(json!(text));
        }
        let near = nearest(text, known.iter().copied());
        let words = format!("{path} {words}");
        self.problems.push(Problem { words, at: node.at, hint: near.map(hint) });
        None
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
        let missing = keys.iter().filter(|key| key.need);
        let missing = missing.filter(|key| entries.iter().all(|(name, _, _)| name != key.name));
        let missing: Vec<String> = missing.map(|key| format!("'{}'", key.name)).collect();
        if !missing.is_empty() {
            let what = if missing.len() == 1 { "property" } else { "properties" };
            self.wrong(node, format!("{path} missing {what} {}", missing.join(", ")));
        }
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
        let near = nearest(name, keys.iter().map(|key| key.name));
        self.problems.push(Problem {
            words: format!("{path} additional properties '{name}' not allowed"),
            at,
            hint: near.map(hint),
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
}

/// When a container is started again.
const RESTARTS: &[&str] = &["no", "always", "on-failure", "unless-stopped"];
/// When an image is pulled, of itself or with a time behind it.
const POLICIES: [&str; 8] =
    ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];

/// As the specification's schema has them.
const POLICY: &str =
    "always|never|build|if_not_present|missing|refresh|daily|weekly|every_([0-9]+[wdhms])+";
const CONTAINER_NAME: &str = "[a-zA-Z0-9][a-zA-Z0-9_.-]+";

fn is_policy(text: &str) -> bool {
    let every = text.strip_prefix("every_").unwrap_or_default();
    let timed = every.chars().all(|c| c.is_ascii_digit() || "wdhms".contains(c))
        && every.starts_with(|c: char| c.is_ascii_digit())
        && every.ends_with(|c: char| c.is_ascii_alphabetic());
    POLICIES.contains(&text) || timed
}

/// Two such letters side by side, as the pattern, which is not anchored, has it.
fn is_container_name(text: &str) -> bool {
    let next = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && next(pair[1]))
}

fn one_of(all: &[&str]) -> String {
    let quoted: Vec<String> = all.iter().map(|word| format!("'{word}'")).collect();
    format!("value must be one of {}", quoted.join(", "))
}

fn unlike(text: &str, pattern: &str) -> String {
    format!("'{text}' does not match pattern '{pattern}'")
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

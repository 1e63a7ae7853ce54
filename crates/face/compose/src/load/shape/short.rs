//! Short syntaxes: a text that stands for a mapping, a list of names that stands for settings by name.

use serde_json::{Map, Value, json};

use super::{
    super::{
        mounts, ports,
        schema::{self, Key, Kind},
    },
    Shaper,
};
use crate::yaml::{Node, Yaml};

impl Shaper {
    pub(super) fn special(&mut self, node: &Node, kind: &Kind, path: &str) -> Option<Value> {
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
            Key { name: "soft", kind: Kind::Int, keep: true, need: false },
            Key { name: "hard", kind: Kind::Int, keep: true, need: false },
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

//! `daemon.json`: dockerd's file, with dockerd's keys and rules: what a flag says, the file must not say, too.

use std::{collections::BTreeSet, io};

use serde_json::Value;

use super::{
    flags::{self, ROWS, Row},
    runtimes,
    settings::Settings,
};

/// Read unless another is named.
const FILE: &str = "/etc/ferry/daemon.json";

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// The settings of the flags with those of the file.
pub(super) fn merged(mut settings: Settings) -> Result<Settings, String> {
    let path = settings.one("config-file").unwrap_or(FILE).to_owned();
    let named = settings.one("config-file").is_some();
    let failed = |why: String| format!("unable to configure the daemon with file {path}: {why}");
    let text = match std::fs::metadata(&path).and_then(|status| {
        if status.len() > MAX_FILE {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        std::fs::read_to_string(&path)
    }) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => return Ok(settings),
        Err(error) => return Err(failed(error.to_string())),
    };
    for (name, values) in parse(&text, &settings.names()).map_err(failed)? {
        settings.set(name, values);
    }
    Ok(settings)
}

type Values = Vec<(&'static str, Vec<String>)>;

fn parse(text: &str, flags: &BTreeSet<&'static str>) -> Result<Values, String> {
    if text.trim().is_empty() {
        return Ok(Values::new());
    }
    let object: serde_json::Map<String, Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut settings = Values::new();
    let mut unknown = Vec::new();
    let mut twice = Vec::new();
    for (key, value) in object {
        let Some(row) = ROWS.iter().find(|row| key_of(row) == key) else {
            unknown.push(key);
            continue;
        };
        let name = row.flag.name();
        if flags.contains(name) {
            twice.push(name);
        }
        let values = values(&key, &value)?;
        for value in &values {
            flags::check(row, &key, value)?;
        }
        settings.push((name, values));
    }
    if !unknown.is_empty() {
        return Err(format!(
            "the following directives don't match any configuration option: {}",
            unknown.join(", ")
        ));
    }
    if !twice.is_empty() {
        return Err(format!(
            "the following directives are specified both as a flag and in the configuration file: {}",
            twice.join(", ")
        ));
    }
    Ok(settings)
}

fn key_of(row: &Row) -> &'static str {
    if row.key.is_empty() { row.flag.name() } else { row.key }
}

/// A value as its flag would have it, once for each element.
fn values(key: &str, value: &Value) -> Result<Vec<String>, String> {
    let scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    let wrong = || format!("{key}: a value of this kind means nothing there: {value}");
    match value {
        Value::Array(items) if key == "default-address-pools" => {
            items.iter().map(|item| pool(item).ok_or_else(wrong)).collect()
        }
        Value::Array(items) => items.iter().map(|item| scalar(item).ok_or_else(wrong)).collect(),
        Value::Object(_) if key == "builder" => Ok(vec![value.to_string()]),
        Value::Object(drivers) if key == "default-network-opts" => {
            let mut found = Vec::new();
            for (driver, options) in drivers {
                for (option, value) in options.as_object().ok_or_else(wrong)? {
                    found.push(format!("{driver}={option}={}", scalar(value).ok_or_else(wrong)?));
                }
            }
            Ok(found)
        }
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| {
                let value = match key {
                    "runtimes" => runtimes::of_file(name, value)?,
                    "default-ulimits" => ulimit(value).ok_or_else(wrong)?,
                    _ => scalar(value).ok_or_else(wrong)?,
                };
                Ok(format!("{name}={value}"))
            })
            .collect(),
        Value::Null => Ok(Vec::new()),
        _ => Ok(vec![scalar(value).ok_or_else(wrong)?]),
    }
}

/// `{"base": "10.0.0.0/8", "size": 24}`.
fn pool(value: &Value) -> Option<String> {
    Some(format!("base={},size={}", value.get("base")?.as_str()?, value.get("size")?.as_u64()?))
}

fn ulimit(value: &Value) -> Option<String> {
    let (soft, hard) = (value.get("Soft")?.as_i64()?, value.get("Hard")?.as_i64()?);
    Some(format!("{soft}:{hard}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_dockers() {
        let text = r#"{"hosts": ["unix:///x"], "registry-mirrors": ["https://m"], "debug": true, "log-opts": {"max-size": "1m"},
            "default-ulimits": {"nofile": {"Name": "nofile", "Hard": 2, "Soft": 1}}, "runtimes": {"crun": {"path": "/usr/bin/crun"}},
            "default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1400"}}}"#;
        let settings = parse(text, &BTreeSet::new()).unwrap();
        let of = |name: &str| settings.iter().find(|(known, _)| *known == name).unwrap().1.clone();
        assert_eq!(of("host"), ["unix:///x"]);
        assert_eq!(of("debug"), ["true"]);
        assert_eq!(of("log-opt"), ["max-size=1m"]);
        assert_eq!(of("default-ulimit"), ["nofile=1:2"]);
        assert_eq!(of("default-network-opt"), ["bridge=com.docker.network.driver.mtu=1400"]);
        assert_eq!(of("add-runtime"), ["crun=/usr/bin/crun"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let flags = BTreeSet::from(["debug"]);
        for (text, words) in [
            (r#"{"hots": []}"#, "configuration option: hots"),
            (r#"{"debug": true}"#, "both as a flag and in the configuration file: debug"),
            (r#"{"storage-opts": ["size=1G"]}"#, "storage-opts=size=1G is not supported"),
            (r#"{"hosts": [{}]}"#, "hosts"),
            (r#"{"default-network-opts": {"bridge": "x"}}"#, "default-network-opts"),
            ("[]", "invalid type"),
        ] {
            let error = parse(text, &flags).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

//! Further OCI runtimes: `--add-runtime NAME=PATH`, and dockerd's `runtimes` with arguments.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ferry_engine::RuntimeConfig;
use serde_json::Value;

use super::settings::Settings;

/// Ferry's own, which nobody else may be called.
const OWN: &str = "ferry";

/// Most arguments of a runtime.
const MAX_ARGS: usize = 128;

type Runtimes = BTreeMap<String, RuntimeConfig>;

/// The runtimes by name, and the default one's name (empty: Ferry's own).
pub(super) fn read(settings: &Settings) -> Result<(Runtimes, String), String> {
    let runtimes = settings
        .all("add-runtime")
        .iter()
        .map(|pair| parse(pair))
        .collect::<Result<Runtimes, String>>()?;
    let default = match settings.one("default-runtime").unwrap_or_default() {
        OWN => "",
        other => other,
    };
    if !default.is_empty() && !runtimes.contains_key(default) {
        return Err(format!(
            "specified default runtime '{default}' does not exist: register it with --add-runtime"
        ));
    }
    Ok((runtimes, default.to_owned()))
}

fn parse(pair: &str) -> Result<(String, RuntimeConfig), String> {
    let wrong = || format!("--add-runtime {pair}: expected name=path");
    let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
    if name.is_empty() || value.is_empty() {
        return Err(wrong());
    }
    if name == OWN {
        return Err(format!("runtime name '{OWN}' is reserved"));
    }
    // How `of_file` writes a program with arguments: no path begins like that.
    let mut words: Vec<String> = match value.strip_prefix('[') {
        Some(_) => serde_json::from_str(value).map_err(|_| wrong())?,
        None => vec![value.to_owned()],
    };
    if words.is_empty() {
        return Err(wrong());
    }
    let path = find(&words.remove(0));
    Ok((name.to_owned(), RuntimeConfig { path, args: words }))
}

/// A bare name is looked up where programs are: whoever runs it later has no PATH.
fn find(program: &str) -> PathBuf {
    if program.contains('/') {
        return PathBuf::from(program);
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .map(|directory| Path::new(directory).join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| PathBuf::from(program))
}

/// An entry of `runtimes` in `daemon.json`, as [`read`] takes it.
pub(super) fn of_file(name: &str, value: &Value) -> Result<String, String> {
    for (key, what) in [("runtimeType", "a containerd shim"), ("options", "options of one")] {
        if value.get(key).is_some_and(|value| !value.is_null()) {
            return Err(format!("runtimes: {name}: {key} ({what}) is not supported"));
        }
    }
    let path = match value.get("path").and_then(Value::as_str) {
        Some(path) if !path.is_empty() => path,
        _ => return Err(format!("runtimes: {name}: no \"path\"")),
    };
    let args = match value.get("runtimeArgs") {
        None | Some(Value::Null) => &[][..],
        Some(Value::Array(args)) if args.len() <= MAX_ARGS => args,
        Some(_) => return Err(format!("runtimes: {name}: runtimeArgs is not a list of words")),
    };
    if args.is_empty() {
        return Ok(path.to_owned());
    }
    if !args.iter().all(Value::is_string) {
        return Err(format!("runtimes: {name}: runtimeArgs is not a list of words"));
    }
    let words: Vec<Value> =
        std::iter::once(Value::from(path)).chain(args.iter().cloned()).collect();
    Ok(Value::Array(words).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_has_a_name_a_path_and_arguments() {
        let file = serde_json::json!({"path": "/usr/bin/crun", "runtimeArgs": ["--debug", "a=b"]});
        let (name, runtime) = parse(&format!("crun={}", of_file("crun", &file).unwrap())).unwrap();
        assert_eq!(name, "crun");
        assert_eq!(runtime.path, Path::new("/usr/bin/crun"));
        assert_eq!(runtime.args, ["--debug", "a=b"]);
        assert_eq!(parse("x=/a=b").unwrap().1.path, Path::new("/a=b"));
        for wrong in ["crun", "=x", "crun=", "crun=[", "crun=[]", "ferry=/x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for wrong in [
            serde_json::json!({}),
            serde_json::json!({"path": "/x", "runtimeArgs": [1]}),
            serde_json::json!({"runtimeType": "io.containerd.runc.v2"}),
        ] {
            assert!(of_file("x", &wrong).unwrap_err().starts_with("runtimes: x: "), "{wrong}");
        }
    }
}

//! Configuration lists: files in a directory, the first one by name counts.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use crate::CniError;

/// Largest configuration file that is read.
const MAX_FILE: u64 = 1 << 20;

/// The newest version of the specification that is spoken.
const NEWEST: (u32, u32) = (1, 1);

/// The list has no plugins but its own.
const ONLY_INLINED: &str = "loadOnlyInlinedPlugins";

/// Most plugins in a list.
const MAX_PLUGINS: usize = 64;

/// A configuration list.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfList {
    /// The network's name.
    pub name: String,
    /// Version of the specification that the plugins are to speak.
    pub version: String,
    /// CHECK is not to be called.
    pub disable_check: bool,
    /// GC is not to be called: somebody else attaches to this network, too.
    pub disable_gc: bool,
    plugins: Vec<Map<String, Value>>,
    text: String,
}

/// The list that is in force in a directory; `None` when there is none. A missing directory has none. A list may have further plugins,
/// each in a file of the folder of its name beside it (`NAME/*.conf`), unless it says `loadOnlyInlinedPlugins`.
///
/// # Errors
/// The first file is no configuration, or cannot be read, or one of its folder's.
pub fn load(directory: &Path) -> Result<Option<ConfList>, CniError> {
    let Some(path) = files(directory, &["conf", "conflist", "json"])?.into_iter().next() else {
        return Ok(None);
    };
    let config = |why: String| CniError::Config { path: path.clone(), why };
    let map = read_file(&path)?;
    let is_whole = truth(&map, ONLY_INLINED).map_err(config)?;
    let name = name(&map).map_err(config)?;
    if is_whole || is_single(&map) {
        return ConfList::from_map(map).map(Some).map_err(config);
    }
    let mut further = Vec::new();
    for file in files(&directory.join(name), &["conf"])?.into_iter().take(MAX_PLUGINS + 1) {
        let one = plugin(Value::Object(read_file(&file)?));
        let one = one.map_err(|why| CniError::Config { path: file.clone(), why })?;
        further.push(Value::Object(one));
    }
    ConfList::from_map(whole(map, further)).map(Some).map_err(config)
}

/// The files of a directory that have one of these endings, in order.
fn files(directory: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, CniError> {
    let read = |source| CniError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(read(error)),
    };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in entries {
        let path = entry.map_err(read)?.path();
        let extension = path.extension().and_then(|text| text.to_str());
        if extension.is_some_and(|ending| endings.contains(&ending)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// A list with its folder's plugins at its end. What it is undone with is this list: the folder may be another one then.
fn whole(mut map: Map<String, Value>, further: Vec<Value>) -> Map<String, Value> {
    if !further.is_empty() {
        let plugins = map.entry("plugins").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(plugins) = plugins {
            plugins.extend(further);
        }
        map.insert(ONLY_INLINED.to_owned(), Value::Bool(true));
    }
    map
}

/// A plugin's own configuration, which is a list of one.
fn is_single(map: &Map<String, Value>) -> bool {
    !map.contains_key("plugins") && map.contains_key("type")
}

fn read_file(path: &Path) -> Result<Map<String, Value>, CniError> {
    let read = |source| CniError::Read { path: path.to_owned(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(read)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(read)?;
    let config = |why: String| CniError::Config { path: path.to_owned(), why };
    if text.len() as u64 > MAX_FILE {
        return Err(config(format!("it has more than {MAX_FILE} bytes")));
    }
    object(&text).map_err(config)
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn name(map: &Map<String, Value>) -> Result<&str, String> {
    let name = map.get("name").and_then(Value::as_str).filter(|name| is_name(name));
    name.ok_or_else(|| "it has no valid \"name\"".to_owned())
}

impl ConfList {
    /// Reads a list, or the configuration of a single plugin as a list of one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::from_map(object(text)?)
    }

    fn from_map(mut map: Map<String, Value>) -> Result<Self, String> {
        let text = Value::Object(map.clone()).to_string();
        let name = name(&map)?.to_owned();
        let version = version(&map)?;
        let disable_check = truth(&map, "disableCheck")?;
        let disable_gc = truth(&map, "disableGC")?;
        let plugins = match map.remove("plugins") {
            None => vec![Value::Object(map)],
            Some(Value::Array(plugins)) => plugins,
            Some(_) => return Err("\"plugins\" is not a list".to_owned()),
        };
        if plugins.is_empty() || plugins.len() > MAX_PLUGINS {
            return Err(format!("it names {} plugins: 1 to {MAX_PLUGINS} can be", plugins.len()));
        }
        let plugins = plugins.into_iter().map(plugin).collect::<Result<_, _>>()?;
        Ok(ConfList { name, version, disable_check, disable_gc, plugins, text })
    }

    /// The list as it was read, with all its plugins.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn plugins(&self) -> &[Map<String, Value>] {
        &self.plugins
    }

    pub(crate) fn is_at_least(&self, major: u32, minor: u32) -> bool {
        numbers(&self.version).is_some_and(|own| own >= (major, minor))
    }

    /// What one plugin reads on its standard input.
    pub(crate) fn for_plugin(
        &self,
        plugin: &Map<String, Value>,
        runtime: Map<String, Value>,
        previous: Option<&Value>,
    ) -> Value {
        let mut config = plugin.clone();
        config.insert("name".to_owned(), Value::String(self.name.clone()));
        config.insert("cniVersion".to_owned(), Value::String(self.version.clone()));
        config.remove("capabilities");
        if !runtime.is_empty() {
            config.insert("runtimeConfig".to_owned(), Value::Object(runtime));
        }
        if let Some(previous) = previous {
            config.insert("prevResult".to_owned(), previous.clone());
        }
        Value::Object(config)
    }
}

/// The version that is spoken: `cniVersion`, or the newest of `cniVersions` that is known.
fn version(map: &Map<String, Value>) -> Result<String, String> {
    let is_known = |text: &str| numbers(text).is_some_and(|own| own <= NEWEST);
    let single = map.get("cniVersion").and_then(Value::as_str);
    let Some(several) = map.get("cniVersions") else {
        let own = single.unwrap_or("0.2.0");
        let known = numbers(own).is_some_and(|(major, _)| major <= NEWEST.0);
        return if known {
            Ok(own.to_owned())
        } else {
            Err(format!("unknown \"cniVersion\" {own}"))
        };
    };
    let several = several.as_array().ok_or("\"cniVersions\" is not a list")?;
    let known = several.iter().filter_map(Value::as_str).chain(single).filter(|own| is_known(own));
    let newest = known.max_by_key(|own| numbers(own));
    newest.map(str::to_owned).ok_or_else(|| "no version in \"cniVersions\" is known".to_owned())
}

fn truth(map: &Map<String, Value>, key: &str) -> Result<bool, String> {
    match map.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(_) => Err(format!("\"{key}\" is not a truth value")),
    }
}

fn plugin(value: Value) -> Result<Map<String, Value>, String> {
    let Value::Object(map) = value else { return Err("a plugin is no JSON object".to_owned()) };
    match map.get("type").and_then(Value::as_str) {
        // A path would lead out of the plugins' directories.
        Some(kind) if !kind.is_empty() && !kind.contains('/') && kind != ".." => Ok(map),
        Some(kind) => Err(format!("invalid plugin type \"{kind}\"")),
        None => Err("a plugin has no \"type\"".to_owned()),
    }
}

/// A network's name as the specification allows it.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((major, minor))
}

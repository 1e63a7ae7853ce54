//! The merged tree to a project: names, defaults, what one key implies for another, and what does not fit.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{
    LoadError, Request,
    consistency::{self, Places, place_of, placed},
    files::read_env,
    paths,
};
use crate::model::{Project, Service};

/// What the files do not say.
pub(super) struct Context<'a> {
    pub(super) name: String,
    pub(super) directory: PathBuf,
    pub(super) files: Vec<PathBuf>,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) profiles: BTreeSet<String>,
    pub(super) request: &'a Request,
    /// Where what they say stands.
    pub(super) places: Places,
}

/// The project.
pub(super) fn project(mut tree: Value, context: Context<'_>) -> Result<Project, LoadError> {
    let request = context.request;
    if !request.keep_paths {
        paths::resolve(&mut tree, &context.directory);
    }
    for key in ["services", "networks", "volumes", "secrets", "configs"] {
        if !tree[key].is_object() {
            tree[key] = json!({});
        }
    }
    if let Some(map) = tree.as_object_mut() {
        map.shift_remove("version");
        map.shift_remove("include");
    }
    let mut wrong = Vec::new();
    for (name, service) in tree["services"].as_object_mut().into_iter().flatten() {
        if !request.not_normalised {
            implied(service);
        }
        built(service, &context);
        // To Docker Compose none is not said.
        if service.get("mem_swappiness").is_some_and(|percent| percent == "0")
            && let Some(map) = service.as_object_mut()
        {
            map.shift_remove("mem_swappiness");
        }
        if !request.raw {
            match environment(service, &context) {
                Err(LoadError::Invalid(words)) => {
                    let at = place_of(&context.places, &format!("services.{name}.env_file"));
                    wrong.push(placed(&words, at, None));
                }
                other => other?,
            }
        }
    }
    if !wrong.is_empty() {
        return Err(LoadError::Invalid(wrong.join("\n")));
    }
    let on_default = paths::entries(&mut tree, "services")
        .any(|service| service["networks"].get("default").is_some());
    if on_default && tree["networks"].get("default").is_none() {
        tree["networks"]["default"] = json!({});
    }
    for key in ["networks", "volumes", "secrets", "configs"] {
        names(&mut tree, key, &context.name);
    }
    let all = tree["services"].as_object().cloned().unwrap_or_default();
    let (enabled, disabled) = by_profile(all, &context.profiles);
    if !request.unchecked {
        consistency::check(&enabled, &disabled, &tree, &context.places)?;
    }
    let mut services = BTreeMap::new();
    for (name, value) in &enabled {
        // Values that are still names of variables have no types.
        let service = if request.raw {
            Service { name: name.clone(), ..Service::default() }
        } else {
            typed(name, value)?
        };
        services.insert(name.clone(), service);
    }
    let mut sleeping = BTreeMap::new();
    for (name, value) in disabled.iter().filter(|_| !request.raw) {
        sleeping.insert(name.clone(), typed(name, value)?);
    }
    let mut profiles = BTreeSet::new();
    for service in services.values().chain(sleeping.values()) {
        profiles.extend(service.profiles.iter().cloned());
    }
    let full = tree["services"].take();
    tree["services"] = Value::Object(enabled);
    let part = |key: &str| {
        serde_json::from_value(tree[key].clone())
            .map_err(|error| LoadError::Invalid(format!("{key}: {error}")))
    };
    Ok(Project {
        networks: part("networks")?,
        volumes: serde_json::from_value(tree["volumes"].clone())
            .map_err(|error| LoadError::Invalid(format!("volumes: {error}")))?,
        secrets: files(&tree, "secrets")?,
        configs: files(&tree, "configs")?,
        name: context.name,
        directory: context.directory,
        files: context.files,
        environment: context.environment,
        profiles,
        services,
        disabled: sleeping,
        all_services: full,
        tree,
        all_resources: request.all_resources,
        compatibility: request.compatibility,
    })
}

fn files(tree: &Value, key: &str) -> Result<BTreeMap<String, crate::model::FileObject>, LoadError> {
    serde_json::from_value(tree[key].clone())
        .map_err(|error| LoadError::Invalid(format!("{key}: {error}")))
}

fn typed(name: &str, value: &Value) -> Result<Service, LoadError> {
    let mut service: Service = serde_json::from_value(value.clone())
        .map_err(|error| LoadError::Invalid(format!("services.{name}: {error}")))?;
    service.name = name.to_owned();
    service.value = value.clone();
    Ok(service)
}

/// What one key implies for another.
fn implied(service: &mut Value) {
    if service["pull_policy"] == "if_not_present" {
        service["pull_policy"] = json!("missing");
    }
    if service["network_mode"].is_null() && service["provider"].is_null() {
        let networks = &mut service["networks"];
        if networks.as_object().is_none_or(Map::is_empty) {
            *networks = json!({"default": null});
        }
    }
    let mut implied: Vec<(String, bool)> = Vec::new();
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        let other = service[key].as_str().and_then(|mode| mode.strip_prefix("service:"));
        implied.extend(other.map(|name| (name.to_owned(), true)));
    }
    for link in service["links"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        implied.push((link.split(':').next().unwrap_or(link).to_owned(), true));
    }
    for from in service["volumes_from"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !from.starts_with("container:") {
            implied.push((from.split(':').next().unwrap_or(from).to_owned(), false));
        }
    }
    for (name, restart) in implied {
        if !service["depends_on"].is_object() {
            service["depends_on"] = json!({});
        }
        if service["depends_on"].get(&name).is_none() {
            service["depends_on"][&name] =
                json!({"condition": "service_started", "restart": restart, "required": true});
        }
    }
    if let Some(map) = service.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// What is left out of `build`; arguments without a value are variables, or nothing.
fn built(service: &mut Value, context: &Context<'_>) {
    let Some(build) = service.get_mut("build").filter(|build| build.is_object()) else { return };
    if build["context"].is_null() {
        let here = context.directory.display().to_string();
        build["context"] = json!(if context.request.keep_paths { "." } else { here.as_str() });
    }
    if build["dockerfile_inline"].is_null() && build["dockerfile"].is_null() {
        build["dockerfile"] = json!("Dockerfile");
    }
    if let Some(args) = build.get_mut("args").and_then(Value::as_object_mut)
        && !context.request.raw
    {
        for (name, value) in args.iter_mut().filter(|(_, value)| value.is_null()) {
            *value = context.environment.get(name).map_or(Value::Null, |text| json!(text));
        }
        args.retain(|_, value| !value.is_null());
    }
    if let Some(map) = build.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
}

/// Variables from files, below those that are written; a variable without a value is ours.
fn environment(service: &mut Value, context: &Context<'_>) -> Result<(), LoadError> {
    let lookup = |name: &str| context.environment.get(name).cloned();
    let mut all: BTreeMap<String, Value> = BTreeMap::new();
    let keep = context.request.keep_env_files;
    let files = service["env_file"].as_array().cloned().unwrap_or_default();
    if context.request.sealed && (!files.is_empty() || !service["label_file"].is_null()) {
        return Err(LoadError::NotSupported("files with variables".to_owned()));
    }
    for file in files.iter().filter(|_| !keep) {
        let path = Path::new(file["path"].as_str().unwrap_or_default()).to_owned();
        if file["required"] == json!(false) && !path.exists() {
            continue;
        }
        if !path.exists() {
            return Err(LoadError::Invalid(format!(
                "env file {} not found: stat {0}: no such file or directory",
                path.display()
            )));
        }
        let raw = match file["format"].as_str() {
            None | Some("") => false,
            Some("raw") => true,
            Some(other) => {
                return Err(LoadError::Invalid(format!("unsupported env_file format {other:?}")));
            }
        };
        let before = all.clone();
        let earlier = |name: &str| before.get(name)?.as_str().map(str::to_owned);
        let values = read_env(&path, raw, &lookup, &earlier)?;
        all.extend(values.into_iter().map(|(name, value)| (name, json!(value))));
    }
    for (name, value) in service["environment"].as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => lookup(name).map_or(Value::Null, |value| json!(value)),
            value => value.clone(),
        };
        all.insert(name.clone(), value);
    }
    let mut labels: BTreeMap<String, Value> = BTreeMap::new();
    for file in service["label_file"].as_array().cloned().unwrap_or_default() {
        let values =
            read_env(Path::new(file.as_str().unwrap_or_default()), false, &lookup, &|_| None)?;
        labels.extend(values.into_iter().map(|(name, value)| (name, json!(value))));
    }
    if let Some(map) = service.as_object_mut() {
        if !keep {
            map.shift_remove("env_file");
        }
        // They are part of what a container's hash is of, but are not shown.
        if let Some(files) = map.shift_remove("label_file") {
            map.insert("label_files".to_owned(), files);
        }
        if !all.is_empty() {
            map.insert("environment".to_owned(), json!(all));
        }
        if !labels.is_empty() {
            for (name, value) in map.get("labels").and_then(Value::as_object).into_iter().flatten()
            {
                labels.insert(name.clone(), value.clone());
            }
            map.insert("labels".to_owned(), json!(labels));
        }
        map.retain(|_, value| !value.is_null());
    }
    Ok(())
}

/// Names as the daemon knows them.
fn names(tree: &mut Value, kind: &str, project: &str) {
    for (key, object) in tree[kind].as_object_mut().into_iter().flatten() {
        let old = object["external"].get("name").and_then(Value::as_str).map(str::to_owned);
        if object["external"].is_object() {
            object["external"] = json!(true);
        }
        if object["name"].as_str().is_none_or(str::is_empty) {
            let external = object["external"] == json!(true);
            let name = old
                .unwrap_or_else(|| if external { key.clone() } else { format!("{project}_{key}") });
            object["name"] = json!(name);
        }
        if let Some(map) = object.as_object_mut() {
            map.retain(|_, value| !value.is_null());
        }
    }
}

fn by_profile(
    all: Map<String, Value>,
    active: &BTreeSet<String>,
) -> (Map<String, Value>, Map<String, Value>) {
    all.into_iter().partition(|(_, service)| {
        let profiles = service["profiles"].as_array();
        profiles.is_none_or(Vec::is_empty)
            || active.contains("*")
            || profiles.into_iter().flatten().filter_map(Value::as_str).any(|p| active.contains(p))
    })
}

/// Leaves out what no service of the tree uses.
pub(crate) fn prune(tree: &mut Value) {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for service in tree["services"].as_object().into_iter().flatten().map(|(_, service)| service) {
        let mut note = |kind: &'static str, name: Option<&str>| {
            used.entry(kind).or_default().extend(name.map(str::to_owned));
        };
        for name in service["networks"].as_object().into_iter().flatten().map(|(name, _)| name) {
            note("networks", Some(name));
        }
        for mount in service["volumes"].as_array().into_iter().flatten() {
            note("volumes", mount["source"].as_str().filter(|_| mount["type"] == "volume"));
        }
        let built = service.get("build").map_or(&Value::Null, |build| &build["secrets"]);
        for (kind, list) in
            [("configs", &service["configs"]), ("secrets", &service["secrets"]), ("secrets", built)]
        {
            for item in list.as_array().into_iter().flatten() {
                note(kind, item["source"].as_str());
            }
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        let used = used.remove(kind).unwrap_or_default();
        if let Some(map) = tree.get_mut(kind).and_then(Value::as_object_mut) {
            map.retain(|name, _| used.contains(name));
        }
    }
}

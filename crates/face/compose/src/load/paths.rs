//! Relative paths of a project: they are relative to the directory of the file that says them.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};

/// `path` below `base` unless it is absolute, `~` as the home, dots resolved by the letters.
pub(crate) fn absolute(base: &Path, path: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let whole = match path.strip_prefix('~') {
        Some("") => home(),
        Some(rest) if rest.starts_with('/') => home().join(&rest[1..]),
        _ => base.join(path),
    };
    let mut clean = PathBuf::new();
    for part in whole.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(clean.pop()),
            other => clean.push(other),
        }
    }
    clean
}

fn make(value: &mut Value, base: &Path) {
    if let Some(text) = value.as_str() {
        *value = json!(absolute(base, text).display().to_string());
    }
}

/// The paths of a service.
pub(super) fn resolve_service(service: &mut Value, base: &Path) {
    if let Some(context) = service.pointer_mut("/build/context")
        && context.as_str().is_some_and(|text| !text.contains("://"))
    {
        make(context, base);
    }
    let contexts = service.pointer_mut("/build/additional_contexts");
    for (_, context) in contexts.and_then(Value::as_object_mut).into_iter().flatten() {
        let elsewhere = |text: &str| text.contains("://") || text.starts_with("service:");
        if context.as_str().is_some_and(|text| !elsewhere(text)) {
            make(context, base);
        }
    }
    for key in service.pointer_mut("/build/ssh").and_then(Value::as_array_mut).into_iter().flatten()
    {
        if let Some((id, path)) = key.as_str().and_then(|text| text.split_once(": ")) {
            *key = json!(format!("{id}: {}", absolute(base, path).display()));
        }
    }
    let triggers = service.pointer_mut("/develop/watch").and_then(Value::as_array_mut);
    for trigger in triggers.into_iter().flatten() {
        make(&mut trigger["path"], base);
    }
    for (list, field) in [("env_file", Some("path")), ("label_file", None)] {
        for item in service.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            match field {
                Some(field) => make(&mut item[field], base),
                None => make(item, base),
            }
        }
    }
    for mount in service.get_mut("volumes").and_then(Value::as_array_mut).into_iter().flatten() {
        if mount["type"] == "bind" {
            make(&mut mount["source"], base);
        }
    }
}

/// The paths of a whole project.
pub(super) fn resolve(tree: &mut Value, base: &Path) {
    for service in entries(tree, "services") {
        resolve_service(service, base);
    }
    for kind in ["configs", "secrets"] {
        for object in entries(tree, kind) {
            if object.get("file").is_some() {
                make(&mut object["file"], base);
            }
        }
    }
    for volume in entries(tree, "volumes") {
        let bound = volume.pointer("/driver_opts/o").and_then(Value::as_str) == Some("bind");
        if let Some(device) = volume.pointer_mut("/driver_opts/device").filter(|_| bound) {
            make(device, base);
        }
    }
}

/// The values of a mapping in the tree.
pub(super) fn entries<'a>(tree: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    tree.get_mut(name).and_then(Value::as_object_mut).into_iter().flat_map(|map| map.values_mut())
}

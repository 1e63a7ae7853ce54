//! `include`: projects inside the project, each with variables and relative paths of its own.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    LoadError, Loader,
    consistency::{Places, place_of, placed},
    files, paths, remote,
};
use crate::{remote::Registries, yaml::Place};

/// Files that include each other are no deeper than this.
const MAX_DEPTH: usize = 32;

/// Loads what one entry of `include`, in a file and at a place of it, names, and puts it into `tree`.
pub(super) fn include(
    loader: &mut Loader<'_>,
    entry: &Value,
    (from, at): (&Path, Place),
    tree: &mut Value,
) -> Result<(), LoadError> {
    let at = format!("{}:{}:{}", from.display(), at.line, at.column);
    if loader.request.sealed {
        return Err(LoadError::NotSupported("include".to_owned()));
    }
    let files = named(loader, if entry.is_string() { entry } else { &entry["path"] })?;
    let Some(first) = files.first() else {
        return Err(LoadError::Invalid(format!("include without path ({at})")));
    };
    let directory = match entry["project_directory"].as_str() {
        Some(text) => paths::absolute(&loader.directory, text),
        None => first.parent().unwrap_or(Path::new("/")).to_owned(),
    };
    let outer = top_places(tree, &loader.places);
    let mut chain = loader.chain.clone();
    if chain.is_empty() {
        chain.push(from.to_owned());
    }
    let environment =
        environment(loader, &entry["env_file"], &directory).map_err(|error| error.named_at(&at))?;
    let mut below = Loader {
        environment,
        warnings: Vec::new(),
        missing: std::mem::take(&mut loader.missing),
        request: loader.request,
        directory,
        chain: Vec::new(),
        places: std::mem::take(&mut loader.places),
    };
    let mut part = json!({});
    for file in &files {
        let cycle = chain.contains(file) || chain.len() > MAX_DEPTH;
        below.chain = chain.iter().cloned().chain([file.clone()]).collect();
        if cycle {
            let shown: Vec<String> =
                below.chain.iter().map(|path| path.display().to_string()).collect();
            let words = format!("include cycle detected:\n{}", shown.join("\n include "));
            let hint = "a file cannot be part of itself".to_owned();
            return Err(LoadError::Invalid(placed(&words, Some(at), Some(hint))));
        }
        below.file(file, &mut part).map_err(|error| match error {
            LoadError::Open { ref path, .. } if *path == file.display().to_string() => {
                error.named_at(&at)
            }
            other => other,
        })?;
    }
    if !loader.request.keep_paths {
        paths::resolve(&mut part, &below.directory);
    }
    loader.missing = below.missing;
    loader.places = below.places;
    loader.warnings.append(&mut below.warnings);
    import(part, tree, &outer, &loader.places)
}

const KINDS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// Where what is there so far stands: what is included may have the same names.
fn top_places(tree: &Value, places: &Places) -> Places {
    let names = KINDS.iter().flat_map(|kind| {
        let names = tree[*kind].as_object().into_iter().flat_map(|map| map.keys());
        names.map(move |name| format!("{kind}.{name}"))
    });
    names.filter_map(|name| Some((name.clone(), places.get(&name)?.clone()))).collect()
}

/// One path or several, below the directory; what lies elsewhere is fetched.
fn named(loader: &Loader<'_>, value: &Value) -> Result<Vec<PathBuf>, LoadError> {
    let one = |text: &str| {
        if remote::is_remote(text) {
            let registries = Registries { logins: loader.request.logins.as_ref() };
            return remote::fetch(text, &registries);
        }
        if text.contains("://") {
            return Err(LoadError::NotSupported(format!("include of {text}")));
        }
        Ok(paths::absolute(&loader.directory, text))
    };
    match value {
        Value::String(path) => Ok(vec![one(path)?]),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(one).collect(),
        _ => Ok(Vec::new()),
    }
}

/// The variables of an included file: ours, and below them those of its own `.env`, or of the files that are named.
fn environment(
    loader: &Loader<'_>,
    named_files: &Value,
    directory: &Path,
) -> Result<BTreeMap<String, String>, LoadError> {
    let mut files = named(loader, named_files)?;
    if files.is_empty() {
        files.extend(Some(directory.join(".env")).filter(|path| path.is_file()));
    }
    let mut all = BTreeMap::new();
    for file in files.iter().filter(|file| *file != Path::new("/dev/null")) {
        let outer = |name: &str| loader.environment.get(name).cloned();
        all.extend(files::read_env(file, false, &outer, &|_| None)?);
    }
    all.extend(loader.environment.clone());
    Ok(all)
}

/// Puts what was included beside what is there; the same name twice must be the same thing.
fn import(part: Value, tree: &mut Value, outer: &Places, inner: &Places) -> Result<(), LoadError> {
    let mut wrong = Vec::new();
    for kind in KINDS {
        for (name, value) in part[kind].as_object().into_iter().flatten() {
            match tree[kind].get(name) {
                Some(known) if known != value => {
                    let key = format!("{kind}.{name}");
                    let both = [outer, inner].map(|places| place_of(places, &key));
                    let both: Vec<String> = both.into_iter().flatten().collect();
                    let words = format!("{key} conflicts with imported resource");
                    wrong.push(placed(&words, Some(both.join(", ")), None));
                }
                _ => tree[kind][name] = value.clone(),
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(LoadError::Invalid(wrong.join("\n"))) }
}

#[cfg(test)]
mod tests {
    use super::super::{Request, load};

    #[test]
    fn an_include_that_stands_alone_has_a_place() {
        let directory = std::env::temp_dir().join(format!("ferry-include-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let request =
            Request { directory: Some(directory.display().to_string()), ..Request::default() };
        let said = |text: &str| {
            std::fs::write(directory.join("compose.yaml"), text).unwrap();
            ferry_errkind::chain(&load(&request).map(drop).unwrap_err())
        };
        let alone = said("services: {}\ninclude: nope.yaml\n");
        assert!(alone.contains("compose.yaml:2:10"), "{alone}");
        let listed = said("services: {}\ninclude:\n  - nope.yaml\n");
        assert!(listed.contains("compose.yaml:3:5"), "{listed}");
        std::fs::remove_dir_all(directory).unwrap();
    }
}

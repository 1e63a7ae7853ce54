//! Which files: `-f`, `COMPOSE_FILE`, or the first of the known names upwards; and the variables from `.env`.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{Found, LoadError, Request, dotenv, paths, remote};
use crate::{remote::Registries, yaml::MAX_BYTES};

pub(super) const NAMES: [&str; 4] =
    ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// Reads a file within the limit.
pub(crate) fn read(path: &Path) -> Result<String, LoadError> {
    let fail = |error: std::io::Error| LoadError::Open {
        path: path.display().to_string(),
        why: match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
            std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
            _ => error.to_string(),
        },
    };
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    } else {
        let file = File::open(path).map_err(fail)?;
        file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(fail)?;
    }
    if text.len() as u64 > MAX_BYTES {
        return Err(LoadError::TooLarge { path: path.display().to_string(), limit: MAX_BYTES });
    }
    Ok(text)
}

/// Finds files, directory and variables.
pub(super) fn find(request: &Request) -> Result<Found, LoadError> {
    let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let process: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let directory = request.directory.as_deref().map(|given| paths::absolute(&here, given));
    let start = directory.clone().unwrap_or_else(|| here.clone());
    let mut given: Vec<PathBuf> = request.files.iter().map(|file| named(&here, file)).collect();
    // Variables that choose files may stand in the `.env` beside us.
    let dotenv_at = match &directory {
        Some(directory) => directory.clone(),
        None => beside(&given).unwrap_or_else(|| start.clone()),
    };
    let mut environment = variables(request, &here, &dotenv_at, &process)?;
    if given.is_empty()
        && let Some(list) = environment.get("COMPOSE_FILE").filter(|list| !list.is_empty())
    {
        let separator = environment.get("COMPOSE_PATH_SEPARATOR").cloned();
        let separator = separator.unwrap_or_else(|| ":".to_owned());
        given = list.split(separator.as_str()).map(|file| named(&start, file)).collect();
    }
    let given = if given.is_empty() { search(&start)? } else { given };
    let named_by = directory.or_else(|| beside(&given)).unwrap_or_else(|| here.clone());
    if named_by != dotenv_at {
        environment = variables(request, &here, &named_by, &process)?;
    }
    let registries = Registries { logins: request.logins.as_ref() };
    let mut found = Found { directory: named_by.clone(), named_by, files: Vec::new(), environment };
    for file in given {
        let Some(name) = file.to_str().filter(|name| remote::is_remote(name)) else {
            found.files.push(file);
            continue;
        };
        let fetched = remote::fetch(name, &registries)?;
        // As with Docker Compose, relative paths lead to where it lies now.
        found.directory = fetched.parent().unwrap_or(&here).to_owned();
        found.files.push(fetched);
    }
    Ok(found)
}

/// A file's whole name; what lies elsewhere keeps its own.
fn named(here: &Path, file: &str) -> PathBuf {
    if file == "-" || remote::is_remote(file) {
        PathBuf::from(file)
    } else {
        paths::absolute(here, file)
    }
}

/// The directory of the first file that is one here.
fn beside(files: &[PathBuf]) -> Option<PathBuf> {
    let first = files.iter().find(|file| *file != Path::new("-"))?;
    if first.to_str().is_some_and(remote::is_remote) {
        return None;
    }
    first.parent().map(Path::to_owned)
}

fn search(start: &Path) -> Result<Vec<PathBuf>, LoadError> {
    for directory in start.ancestors() {
        let present = |names: &[&str]| {
            names.iter().map(|name| directory.join(name)).find(|path| path.is_file())
        };
        if let Some(file) = present(&NAMES) {
            return Ok(std::iter::once(file).chain(present(&OVERRIDES)).collect());
        }
    }
    Err(LoadError::NoFile)
}

/// The process's variables, and below them those of the files with variables.
fn variables(
    request: &Request,
    here: &Path,
    directory: &Path,
    process: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, LoadError> {
    let mut named: Vec<PathBuf> =
        request.env_files.iter().map(|file| paths::absolute(here, file)).collect();
    if named.is_empty()
        && let Some(list) = process.get("COMPOSE_ENV_FILES").filter(|list| !list.is_empty())
    {
        named = list.split(',').map(|file| paths::absolute(here, file)).collect();
    }
    let disabled = process.get("COMPOSE_DISABLE_ENV_FILE").is_some_and(|text| is_on(text));
    if named.is_empty() && !disabled {
        named = Some(directory.join(".env")).filter(|path| path.is_file()).into_iter().collect();
    }
    let mut all = BTreeMap::new();
    for path in named {
        let earlier = all.clone();
        let earlier = |name: &str| earlier.get(name).cloned();
        let outer = |name: &str| process.get(name).cloned();
        all.extend(read_env(&path, false, &outer, &earlier)?);
    }
    all.extend(process.clone());
    Ok(all)
}

/// Whether a variable of Compose's own is a switch that is on.
pub(crate) fn is_on(text: &str) -> bool {
    matches!(text.to_lowercase().as_str(), "1" | "t" | "true")
}

/// Reads one file of variables.
pub(super) fn read_env(
    path: &Path,
    raw: bool,
    outer: &dyn Fn(&str) -> Option<String>,
    earlier: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, LoadError> {
    let text = read(path).map_err(|error| match error {
        LoadError::Open { path, why } if why.starts_with("no such") => {
            LoadError::Invalid(format!("couldn't find env file: {path}"))
        }
        other => other,
    })?;
    let values =
        if raw { dotenv::parse_raw(&text, outer) } else { dotenv::parse(&text, outer, earlier) };
    values.map_err(|bad| {
        LoadError::Invalid(format!(
            "failed to read {}: line {}: {}",
            path.display(),
            bad.line,
            bad.words
        ))
    })
}

/// Refuses a name that cannot be a project's.
pub(super) fn check_name(name: &str) -> Result<String, LoadError> {
    if name.is_empty() || normalise(name) != name {
        return Err(LoadError::ProjectName(name.to_owned()));
    }
    Ok(name.to_owned())
}

/// The name that a directory gives its project.
pub(super) fn name_of(directory: &Path) -> Result<String, LoadError> {
    let name = directory.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = normalise(&name.unwrap_or_default().to_lowercase());
    if name.is_empty() { Err(LoadError::NoProjectName) } else { Ok(name) }
}

/// The name that a file gives its project, as Compose cleans it.
pub(super) fn cleaned_name(name: &str) -> Result<String, LoadError> {
    let name = normalise(&name.to_lowercase());
    if name.is_empty() { Err(LoadError::NoProjectName) } else { Ok(name) }
}

fn normalise(name: &str) -> String {
    let good = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    let text: String = name.chars().filter(good).collect();
    text.trim_start_matches(['-', '_']).to_owned()
}

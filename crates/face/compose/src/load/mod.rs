//! From Compose files to one project: read, interpolate, bring to long form, extend, merge, normalise, check.
//!
//! Start with [`load`].

mod consistency;
mod dotenv;
mod error;
mod extends;
mod files;
mod include;
mod interpolate;
mod merge;
mod mounts;
mod near;
mod normalise;
mod paths;
mod ports;
mod remote;
mod render;
pub(crate) mod schema;
mod shape;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

pub(crate) use error::LoadError;
pub(crate) use files::{is_on, read as read_file};
pub(crate) use normalise::prune;
pub(crate) use paths::absolute;
pub(crate) use remote::is_remote;
pub(crate) use render::{
    Form, config, html_safe, ordered_network, ordered_service, ordered_volume,
};
pub(crate) use shape::nanoseconds;

use crate::{
    model::Project,
    yaml::{self, Node, Order, Place, Yaml, YamlError},
};
use consistency::Places;
use files::read;
use interpolate::{Fault, Variables};
use schema::{FILE, Kind};

/// Keys are noted down to `services.x.deploy.resources.reservations.devices`.
const MAX_NOTED: usize = 6;

/// What the command line says about the project.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) files: Vec<String>,
    pub(crate) name: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) env_files: Vec<String>,
    pub(crate) profiles: Vec<String>,
    /// Variables stay as they are written.
    pub(crate) raw: bool,
    /// Files with variables stay names.
    pub(crate) keep_env_files: bool,
    /// Relative paths stay relative.
    pub(crate) keep_paths: bool,
    /// What does not fit together is not looked for.
    pub(crate) unchecked: bool,
    /// What one key implies for another is not added.
    pub(crate) not_normalised: bool,
    /// No file but the one that is given is opened.
    pub(crate) sealed: bool,
    /// Networks and volumes that no service uses are part of the project.
    pub(crate) all_resources: bool,
    /// Names are those of Compose 1.
    pub(crate) compatibility: bool,
    /// Who is logged in at which registry.
    pub(crate) logins: Option<ferry_cli::face::Logins>,
}

/// A project and what was noticed about its files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) project: Project,
    pub(crate) warnings: Vec<String>,
}

/// Loads a project.
pub(crate) fn load(request: &Request) -> Result<Loaded, LoadError> {
    let found = files::find(request)?;
    let mut loader = Loader {
        environment: found.environment,
        warnings: Vec::new(),
        missing: BTreeSet::new(),
        request,
        directory: found.directory.clone(),
        chain: Vec::new(),
        places: Places::new(),
    };
    let name = match request.name.clone().or_else(|| loader.variable("COMPOSE_PROJECT_NAME")) {
        Some(name) if !name.is_empty() => Some(files::check_name(&name)?),
        _ => None,
    };
    if let Some(name) = &name {
        loader.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
    }
    if name.is_none() {
        let early = loader.early_name(&found.files, &found.named_by)?;
        loader.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), early);
    }
    let mut tree = json!({});
    for path in &found.files {
        loader.file(path, &mut tree)?;
    }
    if tree.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err(LoadError::Invalid("empty compose file".to_owned()));
    }
    for missing in &loader.missing {
        loader.warnings.insert(
            0,
            format!("The {missing:?} variable is not set. Defaulting to a blank string."),
        );
    }
    let name = match (name, tree["name"].as_str()) {
        (Some(name), _) => name,
        (None, Some(name)) => files::cleaned_name(name)?,
        (None, None) => files::name_of(&found.named_by)?,
    };
    tree["name"] = json!(name);
    let mut profiles: BTreeSet<String> = request.profiles.iter().cloned().collect();
    if profiles.is_empty()
        && let Some(text) = loader.variable("COMPOSE_PROFILES")
    {
        profiles.extend(text.split(',').map(|name| name.trim().to_owned()));
    }
    let project = normalise::project(
        tree,
        normalise::Context {
            name,
            directory: found.directory,
            files: found.files,
            environment: loader.environment,
            profiles,
            request,
            places: loader.places,
        },
    )?;
    Ok(Loaded { project, warnings: loader.warnings })
}

/// Loads a project that is one text, without looking at any file or variable but those given: what can be done to a text from
/// anywhere.
pub(crate) fn from_text(
    text: &str,
    environment: BTreeMap<String, String>,
) -> Result<Project, LoadError> {
    let request = Request { sealed: true, ..Request::default() };
    let directory = PathBuf::from("/project");
    let mut loader = Loader {
        environment,
        warnings: Vec::new(),
        missing: BTreeSet::new(),
        request: &request,
        directory: directory.clone(),
        chain: Vec::new(),
        places: Places::new(),
    };
    let path = directory.join("compose.yaml");
    let documents = loader.documents_of(text, &path)?;
    let mut tree = json!({});
    loader.merge_documents(documents, &path, &mut tree)?;
    let name = match tree["name"].as_str() {
        Some(name) => files::cleaned_name(name)?,
        None => files::name_of(&directory)?,
    };
    tree["name"] = json!(name);
    let context = normalise::Context {
        name,
        directory,
        files: vec![path],
        environment: loader.environment,
        profiles: BTreeSet::new(),
        request: &request,
        places: loader.places,
    };
    normalise::project(tree, context)
}

/// A document of a file in long form.
struct Document {
    value: Value,
    /// Where `!reset` and `!override` stand.
    orders: Vec<(Vec<String>, Order)>,
    /// Where the entries of `include` stand.
    includes: Vec<Place>,
}

struct Loader<'a> {
    environment: BTreeMap<String, String>,
    warnings: Vec<String>,
    missing: BTreeSet<String>,
    request: &'a Request,
    /// What paths in files are relative to.
    directory: PathBuf,
    /// The files that include each other, outermost first.
    chain: Vec<PathBuf>,
    /// Where the keys of the project stand; those of later files are later ones.
    places: Places,
}

impl Loader<'_> {
    fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).cloned()
    }

    /// The name that the project will have, which its files may already use as a variable.
    fn early_name(&self, files: &[PathBuf], directory: &Path) -> Result<String, LoadError> {
        let mut name = None;
        for path in files.iter().filter(|path| *path != Path::new("-")) {
            let text = read(path)?;
            if !text.lines().any(|line| line.starts_with("name:")) {
                continue;
            }
            let lookup = |name: &str| self.variable(name);
            let mut variables = Variables { lookup: &lookup, missing: BTreeSet::new() };
            for node in yaml::parse(&text).unwrap_or_default() {
                let given = node.map().unwrap_or_default().iter().find(|(key, _, _)| key == "name");
                if let Some((_, _, Node { value: Yaml::Text(text), .. })) = given {
                    name = interpolate::interpolate(text, &mut variables).ok();
                }
            }
        }
        match name {
            Some(name) => files::cleaned_name(&name),
            None => files::name_of(directory),
        }
    }

    /// Merges the documents of a file into `tree`.
    fn file(&mut self, path: &Path, tree: &mut Value) -> Result<(), LoadError> {
        let documents = self.documents(path)?;
        self.merge_documents(documents, path, tree)
    }

    fn merge_documents(
        &mut self,
        documents: Vec<Document>,
        path: &Path,
        tree: &mut Value,
    ) -> Result<(), LoadError> {
        for Document { mut value, orders, includes } in documents {
            if value.get("version").is_some() {
                self.warnings.push(format!(
                    "{}: the attribute `version` is obsolete, it will be ignored, please remove it to avoid potential confusion",
                    path.display()
                ));
            }
            self.extend_all(&mut value, path)?;
            if let Some(list) = value.as_object_mut().and_then(|map| map.shift_remove("include")) {
                for (number, entry) in list.as_array().into_iter().flatten().enumerate() {
                    let at = includes.get(number).copied().unwrap_or_default();
                    include::include(self, entry, (path, at), &mut value)?;
                }
            }
            for (place, _) in orders {
                remove(tree, &place);
            }
            merge::merge(tree, value, &Kind::Object(FILE));
        }
        Ok(())
    }

    fn documents(&mut self, path: &Path) -> Result<Vec<Document>, LoadError> {
        if self.request.sealed {
            return Err(LoadError::NotSupported(format!("the file {}", path.display())));
        }
        self.documents_of(&read(path)?, path)
    }

    fn documents_of(&mut self, text: &str, path: &Path) -> Result<Vec<Document>, LoadError> {
        let nodes = yaml::parse(text).map_err(|error| {
            let shown = path.display();
            let words = match error {
                YamlError::Twice { .. } => {
                    error.to_string().replacen("yaml:", &format!("failed to parse {shown}:"), 1)
                }
                _ => error.to_string(),
            };
            let Place { line, column } = error.at();
            LoadError::Invalid(format!("{words} ({shown}:{line}:{column})"))
        })?;
        let mut documents = Vec::new();
        let mut wrong = Vec::new();
        for mut node in nodes {
            if matches!(node.value, Yaml::Plain(Value::Null)) {
                continue;
            }
            if !self.request.raw {
                self.interpolate(&mut node, "", path, &mut wrong);
            }
            let mut orders = Vec::new();
            collect_orders(&node, &mut Vec::new(), &mut orders);
            strip_reset(&mut node);
            note(&node, "", &path.display().to_string(), MAX_NOTED, &mut self.places);
            let mut shaper = shape::Shaper { raw: self.request.raw, ..shape::Shaper::default() };
            let value = shaper.shape(&node, &Kind::Object(FILE), "");
            for problem in shaper.problems {
                let place = format!("{}:{}:{}", path.display(), problem.at.line, problem.at.column);
                let hint = problem.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                wrong.push(if problem.words.starts_with("error while") {
                    format!("{} ({place})", problem.words)
                } else {
                    format!("validating {}: {} ({place}{hint})", path.display(), problem.words)
                });
            }
            let includes = places_of_items(&node, "include");
            documents.extend(value.map(|value| Document { value, orders, includes }));
        }
        if wrong.is_empty() { Ok(documents) } else { Err(LoadError::Invalid(wrong.join("\n"))) }
    }

    fn interpolate(&mut self, node: &mut Node, path: &str, file: &Path, wrong: &mut Vec<String>) {
        let at = node.at;
        let place = || format!("{}:{}:{}", file.display(), at.line, at.column);
        let below = |name: &str| {
            if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
        };
        match &mut node.value {
            Yaml::Text(text) if text.contains('$') => {
                let environment = &self.environment;
                let lookup = |name: &str| environment.get(name).cloned();
                let missing = std::mem::take(&mut self.missing);
                let mut variables = Variables { lookup: &lookup, missing };
                match interpolate::interpolate(text, &mut variables) {
                    Ok(new) => *text = new,
                    Err(Fault::Format) => wrong.push(format!(
                        "invalid interpolation format for {path}.\nYou may need to escape any $ with another $.\n{text} ({})",
                        place()
                    )),
                    Err(Fault::Required { name, words }) => wrong.push(format!(
                        "error while interpolating {path}: required variable {name} is missing a value: {words} ({})",
                        place()
                    )),
                }
                self.missing = variables.missing;
            }
            Yaml::List(items) => {
                for item in items {
                    self.interpolate(item, &below("[]"), file, wrong);
                }
            }
            Yaml::Map(entries) => {
                for (name, _, value) in entries {
                    self.interpolate(value, &below(name), file, wrong);
                }
            }
            _ => {}
        }
    }
}

/// Where the entries of a list at the top of a document stand.
fn places_of_items(document: &Node, key: &str) -> Vec<Place> {
    let found = document.map().unwrap_or_default().iter().find(|(name, _, _)| name == key);
    match found.map(|(_, _, node)| &node.value) {
        Some(Yaml::List(items)) => items.iter().map(|item| item.at).collect(),
        // One that stands alone is a list of one.
        _ => found.map(|(_, _, node)| node.at).into_iter().collect(),
    }
}

/// Notes where the keys of a document stand.
fn note(node: &Node, path: &str, file: &str, depth: usize, places: &mut Places) {
    let Some(below) = depth.checked_sub(1) else { return };
    for (name, at, value) in node.map().unwrap_or_default() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        note(value, &path, file, below, places);
        places.insert(path, (file.to_owned(), *at));
    }
}

/// Takes out what is there to remove what earlier files say.
fn strip_reset(node: &mut Node) {
    if let Yaml::Map(entries) = &mut node.value {
        entries.retain(|(_, _, value)| value.order != Order::Reset);
        entries.iter_mut().for_each(|(_, _, value)| strip_reset(value));
    }
}

fn collect_orders(node: &Node, path: &mut Vec<String>, out: &mut Vec<(Vec<String>, Order)>) {
    if node.order != Order::Merge {
        out.push((path.clone(), node.order));
    }
    for (name, _, value) in node.map().unwrap_or_default() {
        path.push(name.clone());
        collect_orders(value, path, out);
        path.pop();
    }
}

fn remove(tree: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut at = tree;
    for name in parents {
        match at.get_mut(name) {
            Some(below) => at = below,
            None => return,
        }
    }
    if let Some(map) = at.as_object_mut() {
        map.shift_remove(last);
    }
}

/// Where the project is and what it is made of.
struct Found {
    directory: PathBuf,
    /// The directory that gives the project its name.
    named_by: PathBuf,
    files: Vec<PathBuf>,
    environment: BTreeMap<String, String>,
}

/// Ports in short syntax, for `run --publish`.
pub(crate) fn parse_ports(text: &str) -> Result<Vec<crate::model::Port>, String> {
    let parse = |port: Value| serde_json::from_value(port).map_err(|error| error.to_string());
    ports::parse(text)?.into_iter().map(parse).collect()
}

/// A mount in short syntax, for `run --volume`. A path is relative to where we are.
pub(crate) fn parse_mount(text: &str) -> Result<crate::model::Mount, String> {
    let mut mount = mounts::parse(text)?;
    if mount["type"] == "bind" {
        let here = std::env::current_dir().map_err(|error| error.to_string())?;
        let source = mount["source"].as_str().unwrap_or_default();
        mount["source"] = json!(paths::absolute(&here, source).display().to_string());
    }
    serde_json::from_value(mount).map_err(|error| error.to_string())
}

/// A file with variables, for `run --env-from-file`.
pub(crate) fn variables_of(
    file: &str,
    outer: &dyn Fn(&str) -> Option<String>,
) -> Result<BTreeMap<String, String>, LoadError> {
    files::read_env(Path::new(file), false, outer, &|_| None)
}

/// The variables in the text of such a file.
pub(crate) fn variables_in(text: &str) -> Result<BTreeMap<String, String>, String> {
    let bad = |bad: dotenv::BadLine| format!("line {}: {}", bad.line, bad.words);
    dotenv::parse(text, &|_| None, &|_| None).map_err(bad)
}

/// A variable that a file names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) required: bool,
    pub(crate) default: String,
    pub(crate) alternate: String,
}

/// The variables that the files of a project name.
pub(crate) fn variables(request: &Request) -> Result<BTreeMap<String, Variable>, LoadError> {
    let found = files::find(request)?;
    let mut all = BTreeMap::new();
    for path in &found.files {
        let nodes =
            yaml::parse(&read(path)?).map_err(|error| LoadError::Invalid(error.to_string()))?;
        nodes.iter().for_each(|node| texts(node, &mut |text| interpolate::named(text, &mut all)));
    }
    Ok(all)
}

fn texts(node: &Node, visit: &mut dyn FnMut(&str)) {
    match &node.value {
        Yaml::Text(text) => visit(text),
        Yaml::List(items) => items.iter().for_each(|item| texts(item, visit)),
        Yaml::Map(entries) => entries.iter().for_each(|(_, _, value)| texts(value, visit)),
        Yaml::Plain(_) => {}
    }
}

/// A command line that is one string, for `run --entrypoint`.
pub(crate) fn split_words(text: &str) -> Result<Vec<String>, String> {
    words::split(text).map_err(str::to_owned)
}

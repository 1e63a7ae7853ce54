//! `cargo xtask tidy`: rules that the compiler does not know.
//!
//! The layer rule (ARCHITECTURE.md): a crate depends on crates of lower layers only, or on earlier ones of its own layer where
//! the table says so; siblings in `domain` never know each other.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The layers from the bottom up, each with its folder below `crates/`.
const LAYERS: [&str; 7] = ["pure", "host", "store", "domain", "engine", "face", "ferry"];

/// Layers whose crates may know each other (never in a circle: cargo sees to that).
const SOCIABLE: [&str; 4] = ["pure", "host", "store", "face"];

/// Edges that would be allowed by the layers and must not exist.
const FORBIDDEN: [(&str, &str, &str); 17] = [
    (
        "ferry-cli",
        "ferry-engine",
        "the command line speaks only the Engine API, so that it drives a real dockerd, too",
    ),
    ("ferry-client", "ferry-engine", "the client speaks only the Engine API"),
    ("ferry-cli", "ferry-server", "the command line does not know who serves"),
    ("ferry-cli", "ferry-model", "the command line knows the wire types only"),
    ("ferry-compose", "ferry-engine", "Compose speaks only the Engine API"),
    ("ferry-compose", "ferry-server", "Compose does not know who serves"),
    ("ferry-compose", "ferry-model", "Compose knows the wire types only"),
    ("ferry-kube", "ferry-engine", "manifests are played through the Engine API"),
    ("ferry-cri", "ferry-docker-api", "CRI and Docker's API are two dialects of one engine"),
    ("ferry-desktop", "ferry-engine", "the desktop speaks only the Engine API"),
    ("ferry-desktop", "ferry-server", "the desktop does not know who serves"),
    ("ferry-desktop", "ferry-model", "the desktop knows the wire types only"),
    ("ferry-top", "ferry-engine", "the desktop's sister speaks only the Engine API"),
    ("ferry-registry", "ferry-engine", "a registry runs where no engine does"),
    ("ferry-distribution", "ferry-engine", "images are copied where no engine is"),
    ("ferry-server", "ferry-client", "the server does not call itself"),
    ("ferry-engine", "ferry-docker-api", "the engine knows no dialect; faces convert"),
];

/// Longest source file that is read in one sitting; tests and tables may be longer.
const MAX_LINES: usize = 700;

/// Words that mark unfinished work.
const MARKERS: [&str; 4] = ["todo!(", "unimplemented!(", "FIXME", "XXX:"];

struct Crate {
    layer: usize,
    manifest: PathBuf,
    dependencies: Vec<String>,
}

/// Checks the tree and reports everything that is wrong at once.
pub fn run(root: &Path) -> Result<(), String> {
    let crates = read_crates(root)?;
    let mut wrong = Vec::new();
    for (name, member) in &crates {
        check_edges(name, member, &crates, &mut wrong);
        check_head(name, member, &mut wrong);
    }
    check_sources(&root.join("crates"), &mut wrong)?;
    if wrong.is_empty() {
        println!("== tidy: {} crates in order", crates.len());
        return Ok(());
    }
    Err(format!("tidy:\n  {}", wrong.join("\n  ")))
}

fn check_edges(name: &str, member: &Crate, all: &BTreeMap<String, Crate>, wrong: &mut Vec<String>) {
    for dependency in &member.dependencies {
        let Some(target) = all.get(dependency) else { continue };
        let sibling = target.layer == member.layer && !SOCIABLE.contains(&LAYERS[member.layer]);
        if target.layer > member.layer || sibling {
            wrong.push(format!(
                "{name} ({}) must not know {dependency} ({}): imports point down only",
                LAYERS[member.layer], LAYERS[target.layer]
            ));
        }
        for (from, to, why) in FORBIDDEN {
            if from == name && to == dependency {
                wrong.push(format!("{name} must not know {dependency}: {why}"));
            }
        }
    }
}

fn check_head(name: &str, member: &Crate, wrong: &mut Vec<String>) {
    let source = member.manifest.with_file_name("src");
    let text = fs::read_to_string(source.join("lib.rs"))
        .or_else(|_| fs::read_to_string(source.join("main.rs")))
        .unwrap_or_default();
    let head = text.lines().take_while(|line| line.starts_with("//!")).count();
    if head < 3 {
        wrong.push(format!(
            "{name}: the crate head (`//!`) does not say what it knows and where to start"
        ));
    }
}

fn check_sources(folder: &Path, wrong: &mut Vec<String>) -> Result<(), String> {
    for path in files(folder)? {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = read(&path)?;
        let tests = path.to_string_lossy().contains("tests");
        let table = text.lines().take(5).any(|line| line.contains("tidy: table"));
        if !tests && !table && text.lines().count() > MAX_LINES {
            wrong.push(format!("{}: more than {MAX_LINES} lines", path.display()));
        }
        for marker in MARKERS {
            if text.lines().any(|line| line.contains(marker) && !line.contains("//! #")) {
                wrong.push(format!("{}: contains `{marker}`", path.display()));
            }
        }
        if let Some(number) = text.lines().position(|line| line.ends_with([' ', '\t'])) {
            wrong.push(format!("{}:{}: trailing space", path.display(), number + 1));
        }
    }
    Ok(())
}

fn read_crates(root: &Path) -> Result<BTreeMap<String, Crate>, String> {
    let mut crates = BTreeMap::new();
    for path in files(&root.join("crates"))? {
        if path.file_name().is_none_or(|name| name != "Cargo.toml") {
            continue;
        }
        let relative = path.strip_prefix(root.join("crates")).unwrap_or(&path);
        let folder = relative.iter().next().map(|part| part.to_string_lossy().into_owned());
        let manifest: toml::Table =
            read(&path)?.parse().map_err(|error| format!("{}: {error}", path.display()))?;
        let name = manifest["package"]["name"].as_str().unwrap_or_default().to_owned();
        // Test support stands beside the layers: nothing but tests may use it, which dev-dependencies show.
        let Some(layer) = LAYERS.iter().position(|layer| Some(*layer) == folder.as_deref()) else {
            continue;
        };
        let dependencies = manifest
            .get("dependencies")
            .and_then(toml::Value::as_table)
            .map(|table| table.keys().cloned().collect())
            .unwrap_or_default();
        crates.insert(name, Crate { layer, manifest: path, dependencies });
    }
    Ok(crates)
}

/// Every file below `folder`, build output left out.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|error| format!("{}: {error}", folder.display()))?.path();
            if path.is_dir() && path.file_name().is_none_or(|name| name != "target") {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

//! `config` beside the real one: each case's output is what Docker Compose 2.40 gave (`scripts/compose-corpus.py` asks it).

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    load::{self, Form, Request},
    run::labels::service_hash,
};

/// Where the script had the files: paths are part of the hashes.
const BASE: &str = "/tmp/ferry-compose-corpus";

/// Cases in which we differ, each with its reason.
const DIFFERENT: &[(&str, &str)] = &[
    ("bad-yaml", "our parser names the line of the mistake, not that of the mapping's beginning"),
    (
        "environment-date",
        "a date is a text, as the specification has it; Compose's reader makes it a time and refuses it",
    ),
    ("no-env-resolution", "the flag is honoured; 2.40.3 takes it and resolves nevertheless"),
    (
        "resources-old",
        "cpu_percent may be a number, as the specification has it; 2.40.3 refuses all but text",
    ),
    (
        "wrong-bytes",
        "every mistake has its file, line and column; Compose reports this one after it has lost them",
    ),
    ("wrong-duration", "as wrong-bytes"),
    ("wrong-int", "as wrong-bytes"),
    (
        "wrong-type-ports",
        "the mistake that is reported is that ports are no mapping, not that a key is a number",
    ),
];

/// A case's sections by name.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut name = String::new();
    for line in text.split_inclusive('\n') {
        let head = line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --"));
        match head {
            Some(head) => {
                name = head.to_owned();
                all.entry(name.clone()).or_default();
            }
            None => all.entry(name.clone()).or_default().push_str(line),
        }
    }
    all
}

fn request(directory: &Path, parts: &BTreeMap<String, String>) -> Request {
    let words = |name: &str| -> Vec<String> {
        let text = parts.get(name).map(String::as_str).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect()
    };
    let options = words("options");
    let has = |flag: &str| options.iter().any(|word| word == flag);
    let mut request = Request {
        directory: Some(directory.display().to_string()),
        raw: has("--no-interpolate"),
        keep_env_files: has("--no-env-resolution"),
        keep_paths: has("--no-path-resolution"),
        unchecked: has("--no-consistency"),
        not_normalised: has("--no-normalize"),
        ..Request::default()
    };
    for pair in words("args").chunks(2) {
        let path = |name: &str| directory.join(name).display().to_string();
        match pair {
            [flag, value] if flag == "-f" => request.files.push(path(value)),
            [flag, value] if flag == "--profile" => request.profiles.push(value.clone()),
            [flag, value] if flag == "--env-file" => request.env_files.push(path(value)),
            [flag, value] if flag == "-p" => request.name = Some(value.clone()),
            other => panic!("unknown flags {other:?}"),
        }
    }
    request
}

/// What we say of a case, by the names of its expectations.
fn said(directory: &Path, parts: &BTreeMap<String, String>) -> BTreeMap<&'static str, String> {
    let mask = |text: String| text.replace(&directory.display().to_string(), "DIR");
    let mut request = request(directory, parts);
    let mut project = match load::load(&request) {
        Ok(loaded) => loaded.project,
        Err(error) => return [("want.error", mask(ferry_errkind::chain(&error)))].into(),
    };
    let raw = request.raw;
    load::prune(&mut project.tree);
    let shown = |form| mask(load::config(&project.tree, form, raw).unwrap());
    request.keep_env_files = true;
    let hashed = load::load(&request).unwrap().project;
    let hashes = hashed.services.iter();
    let hashes = hashes.map(|(name, service)| format!("{name} {}\n", service_hash(service)));
    [
        ("want.yaml", shown(Form::Yaml)),
        ("want.json", shown(Form::Json)),
        ("want.hash", hashes.collect()),
    ]
    .into()
}

/// Every line of a complaint is in ours, which also tells the place.
fn agrees(name: &str, want: &str, got: &str) -> bool {
    match name {
        "want.error" => want.lines().all(|line| got.contains(line)),
        _ => want.trim_end() == got.trim_end(),
    }
}

fn difference(want: &str, got: &str) -> String {
    let first = want.lines().zip(got.lines()).position(|(a, b)| a != b);
    let at = first.unwrap_or_else(|| want.lines().count().min(got.lines().count()));
    let from = at.saturating_sub(2);
    let shown = |text: &str| text.lines().skip(from).take(6).collect::<Vec<_>>().join("\n    ");
    format!("line {}\n  want\n    {}\n  got\n    {}", at + 1, shown(want), shown(got))
}

#[test]
fn the_canonical_form_is_docker_composes() {
    let only = std::env::var("CORPUS").ok();
    let (mut wrong, mut count) = (Vec::new(), 0);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut paths: Vec<_> =
        fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let case = path.file_stem().unwrap().to_string_lossy().into_owned();
        if only.as_ref().is_some_and(|only| *only != case) {
            continue;
        }
        count += 1;
        let parts = sections(&fs::read_to_string(&path).unwrap());
        let directory = Path::new(BASE).join(&case);
        drop(fs::remove_dir_all(&directory));
        for (name, text) in parts.iter().filter(|(name, _)| !name.starts_with("want.")) {
            let file = directory.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if name != "args" && name != "options" {
                fs::write(file, text).unwrap();
            }
        }
        let said = said(&directory, &parts);
        fs::remove_dir_all(&directory).unwrap();
        let listed = DIFFERENT.iter().any(|(known, _)| *known == case);
        let wants = parts.iter().filter(|(name, _)| name.starts_with("want."));
        let mut right = true;
        for (name, want) in wants {
            let got = said.get(name.as_str()).cloned().unwrap_or_default();
            let error = said.get("want.error").filter(|_| name != "want.error");
            if !agrees(name, want, &got) {
                right = false;
                if !listed {
                    let more = error.cloned().unwrap_or_else(|| difference(want, &got));
                    wrong.push(format!("{case} {name}: {more}"));
                }
            }
        }
        assert!(!(listed && right), "{case} is listed as different, and is not");
    }
    assert!(
        wrong.is_empty(),
        "{} expectations of {count} cases\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

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
    (
        "build-no-cache-filter",
        "the key is honoured, as the specification has it; 2.40.3 does not know it yet",
    ),
    ("bad-yaml", "our parser names the line of the mistake, not that of the mapping's beginning"),
    (
        "environment-date",
        "a date is a text, as the specification has it; Compose's reader makes it a time and refuses it",
    ),
    ("pre-start", "the key is honoured, as the specification has it; 2.40.3 does not know it yet"),
    (
        "pull-refresh-after",
        "the key is honoured, and so it is shown; 2.40.3 reads it, and forgets it",
    ),
    ("secret-content", "a secret may stand in the file, as a config may"),
    ("misfit-device-count", "it is told which of the devices it is"),
    ("no-env-resolution", "the flag is honoured; 2.40.3 takes it and resolves nevertheless"),
    (
        "resources-old",
        "cpu_percent may be a number, as the specification has it; 2.40.3 refuses all but text",
    ),
    (
        "wrong-bytes",
        "every mistake has its file, line and column; Compose reports this one after it has lost them",
    ),
    (
        "wrong-device",
        "the mistake that is reported is that a key is missing, not that a mapping is no text",
    ),
    ("wrong-duration", "as wrong-bytes"),
    ("wrong-env-file", "a missing key is told in the same words everywhere, with its place"),
    ("wrong-extends", "as wrong-env-file"),
    ("wrong-int", "as wrong-bytes"),
    ("wrong-mount-typeless", "as wrong-device"),
    (
        "wrong-type-ports",
        "the mistake that is reported is that ports are no mapping, not that a key is a number",
    ),
];

/// A case's sections by name.
pub(crate) fn sections(text: &str) -> BTreeMap<String, String> {
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

#[test]
fn a_canonical_form_is_its_own() {
    let text = "services: {a: {image: 'x:$T', ports: ['80:80'], environment: [A=$$b], x-y: {z: 1}}}\nvolumes: {v: }\n";
    let first = crate::canonical(text, [("T".to_owned(), "1".to_owned())].into()).unwrap();
    assert_eq!(crate::canonical(&first, BTreeMap::new()).unwrap(), first);
    assert!(crate::canonical("include: [/etc/passwd]", BTreeMap::new()).is_err());
}

/// Damages a text at a few places, in a way that only `seed` decides: bytes, pieces and lines are lost, doubled and swapped.
fn damaged(text: &str, seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    };
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=random(3) {
        let (at, other) = (random(lines.len()), random(lines.len()));
        if lines.is_empty() {
            break;
        }
        match random(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[other].clone()),
            2 => lines.swap(at, other),
            3 => lines[at].insert_str(0, "  "),
            4 => {
                let odd = [
                    "${", "$A", "&a ", "*a", "<<: ", "!reset ", "{", "[", "'", "- ", ": ", "null",
                    "-1", "é",
                ];
                let line = &mut lines[at];
                let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
                let place = places.get(random(places.len())).copied().unwrap_or(0);
                line.insert_str(place, odd[random(odd.len())]);
            }
            5 => lines[at] = lines[at].chars().rev().collect(),
            _ => {
                let length = lines[at].chars().count();
                let (from, to) = (random(length), random(length + 1));
                let kept = lines[at].chars().enumerate();
                lines[at] = kept.filter(|(i, _)| *i < from || *i >= to).map(|(_, c)| c).collect();
            }
        }
    }
    lines.join("\n")
}

#[test]
fn damaged_files_do_no_harm() {
    let rounds: u64 = std::env::var("ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let environment: BTreeMap<String, String> = [("TAG", "1"), ("EMPTY", "")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let (mut good, mut bad, mut wrong) = (0, 0, Vec::new());
    let mut before = String::new();
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        let parts = sections(&fs::read_to_string(&path).unwrap());
        let Some(text) = parts.get("compose.yaml") else { continue };
        for seed in 0..rounds {
            let text = match seed {
                0 => text.clone(),
                // Two documents of one file are merged, as two files are.
                seed if seed % 3 == 0 => format!("{before}\n---\n{}", damaged(text, seed)),
                seed => damaged(text, seed),
            };
            drop(crate::variables(&text));
            if let Ok(project) = load::from_text(&text, environment.clone()) {
                let names = project.services.keys().cloned().collect();
                drop(crate::kubernetes::convert(
                    &project,
                    &names,
                    &crate::kubernetes::Wishes::default(),
                ));
            }
            match crate::canonical(&text, environment.clone()) {
                // Compose doubles dollars in names, too, where they are not read as variables.
                Ok(first)
                    if first.lines().any(|line| {
                        line.split(':').next().is_some_and(|name| name.contains('$'))
                    }) => {}
                Ok(first) => {
                    good += 1;
                    // Once more, because Compose's form leaves out `create_host_path: false`, which is not the default.
                    let again = |text: &str| crate::canonical(text, BTreeMap::new());
                    let second = again(&first);
                    let third = second.clone().and_then(|second| again(&second));
                    if second.is_err() || second != third {
                        wrong.push(format!(
                            "{} {seed}\n{text}\n{first}\n{second:?}",
                            path.display()
                        ));
                    }
                }
                Err(_) => bad += 1,
            }
        }
        before.clone_from(text);
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n====\n"));
    assert!(good > 100 && bad > 100, "{good} good, {bad} bad");
}

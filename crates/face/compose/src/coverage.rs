//! Each key of the schema stands in a case of the corpus: `docs/compose-keys.md` is the table of that, made here (`UPDATE=1` writes it).

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;

use crate::{
    corpus::sections,
    load::schema::{self, Key, Kind},
};

/// What stands below a kind: keys, directly or in a list or by names.
fn below(kind: &Kind) -> Option<(&'static str, &'static [Key])> {
    Some(match *kind {
        Kind::Object(keys) => ("", keys),
        Kind::MapOf(&Kind::Object(keys)) => (".*", keys),
        Kind::ListOf(&Kind::Object(keys)) => ("[]", keys),
        Kind::Ports => ("[]", schema::PORT),
        Kind::Mounts => ("[]", schema::MOUNT),
        Kind::Configs | Kind::Secrets => ("[]", schema::FILE_REFERENCE),
        Kind::DependsOn => (".*", schema::DEPENDENCY),
        Kind::Networks => (".*", schema::SERVICE_NETWORK),
        Kind::EnvFiles => ("[]", schema::ENV_FILE),
        Kind::Devices => ("[]", schema::DEVICE),
        Kind::Gpus => ("[]", schema::DEVICE_REQUEST),
        Kind::Build => ("", schema::BUILD),
        Kind::Extends => ("", schema::EXTENDS),
        _ => return None,
    })
}

/// Every key by its path, such as `services.*.build.args`.
fn all(keys: &[Key], path: &str, into: &mut BTreeMap<String, String>) {
    for key in keys {
        let path = format!("{path}{}", key.name);
        into.insert(path.clone(), String::new());
        if let Some((between, keys)) = below(&key.kind) {
            all(keys, &format!("{path}{between}."), into);
        }
    }
}

/// Notes the keys of a file, with the first case that has them.
fn note(keys: &[Key], value: &Value, path: &str, case: &str, into: &mut BTreeMap<String, String>) {
    for key in keys {
        let Some(value) = value.get(key.name) else { continue };
        let path = format!("{path}{}", key.name);
        if let Some(first) = into.get_mut(&path).filter(|first| first.is_empty()) {
            case.clone_into(first);
        }
        let Some((between, keys)) = below(&key.kind) else { continue };
        let path = format!("{path}{between}.");
        match (between, value) {
            ("", value) => note(keys, value, &path, case, into),
            ("[]", Value::Array(items)) => {
                items.iter().for_each(|item| note(keys, item, &path, case, into));
            }
            (_, Value::Object(map)) => {
                map.values().for_each(|item| note(keys, item, &path, case, into));
            }
            _ => {}
        }
    }
}

#[test]
fn the_table_of_keys_is_that_of_the_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> =
        fs::read_dir(root.join("corpus")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut found = BTreeMap::new();
    all(schema::FILE, "", &mut found);
    for path in paths {
        let case = path.file_stem().unwrap().to_string_lossy().into_owned();
        for (_, text) in sections(&fs::read_to_string(&path).unwrap()) {
            for document in crate::yaml_documents(&text).unwrap_or_default() {
                note(schema::FILE, &document, "", &case, &mut found);
            }
        }
    }
    let mut table = "# Keys of Compose files\n\nMade by a test of `crates/face/compose`: each key, and a case of `corpus/` that has it. Every case's output is compared with that of\nDocker Compose 2.40.\n\n| key | case |\n|---|---|\n".to_owned();
    for (path, case) in &found {
        table.push_str(&format!("| `{path}` | {case} |\n"));
    }
    let file = root.join("../../../docs/compose-keys.md");
    if std::env::var("UPDATE").is_ok() {
        fs::write(&file, &table).unwrap();
    }
    let missing: Vec<&String> =
        found.iter().filter(|(_, case)| case.is_empty()).map(|(path, _)| path).collect();
    assert!(missing.is_empty(), "these keys are in no case: {missing:?}");
    assert!(fs::read_to_string(file).unwrap_or_default() == table, "UPDATE=1 writes the table");
}

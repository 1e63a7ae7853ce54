//! Variables: where words use them, and whether anything sets them.

use std::collections::{BTreeMap, BTreeSet};

use ferry_dockerfile::{Kind, expand};

use super::{Linter, Surroundings};

impl Linter<'_> {
    /// Variables that nothing sets.
    pub(super) fn variables(&mut self, around: &Surroundings<'_>) {
        let file = self.file;
        let mut stages: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
        // What the stage knows; `None` where its base image is not known.
        let mut known: Option<BTreeSet<String>> = None;
        let mut name = None;
        for instruction in &file.instructions {
            match &instruction.kind {
                Kind::From { image, name: own, .. } => {
                    if let Some(before) = name.replace(own.clone()).flatten() {
                        stages.insert(before, known.take());
                    }
                    let base = image.to_ascii_lowercase();
                    known = match stages.get(&base) {
                        Some(of_stage) => of_stage.clone(),
                        None if base == "scratch" => Some(BTreeSet::new()),
                        None => (around.env_of)(image).map(|env| {
                            let names = env.iter().filter_map(|one| one.split_once('='));
                            names.map(|(name, _)| name.to_owned()).collect()
                        }),
                    };
                    if let Some(known) = &mut known {
                        known.insert("PATH".to_owned());
                    }
                }
                kind => {
                    let Some(known) = &mut known else { continue };
                    let words = words_of(kind);
                    let missing: Vec<String> = words
                        .iter()
                        .flat_map(|word| used(word, file.escape))
                        .filter(|name| !known.contains(name) && !is_predefined(name))
                        .collect();
                    match kind {
                        Kind::Arg(args) => known.extend(args.iter().map(|arg| arg.name.clone())),
                        Kind::Env(pairs) => {
                            known.extend(pairs.iter().map(|(name, _)| name.clone()))
                        }
                        _ => {}
                    }
                    for name in missing {
                        let words = format!("Usage of undefined variable '${name}'");
                        self.find("UndefinedVar", instruction.line, words);
                    }
                }
            }
        }
    }
}

fn is_predefined(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("_proxy")
}

/// Words in which variables are replaced.
fn words_of(kind: &Kind) -> Vec<&str> {
    match kind {
        Kind::Copy { sources, destination, flags, .. } => {
            let paths = sources.iter().filter_map(|source| match source {
                ferry_dockerfile::Source::Path(path) => Some(path.as_str()),
                ferry_dockerfile::Source::Document(_) => None,
            });
            let flags = [&flags.from, &flags.chown, &flags.chmod];
            paths
                .chain([destination.as_str()])
                .chain(flags.into_iter().flatten().map(String::as_str))
                .collect()
        }
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]).collect()
        }
        Kind::Arg(args) => args.iter().filter_map(|arg| arg.default.as_deref()).collect(),
        Kind::Workdir(word) | Kind::User(word) | Kind::StopSignal(word) => vec![word],
        Kind::Expose(words) | Kind::Volume(words) => words.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Variables that a word uses without saying what to do where they are not set.
pub(super) fn used(word: &str, escape: char) -> Vec<String> {
    let asked = std::cell::RefCell::new(Vec::new());
    let value_of = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        None
    };
    // What does not read is an error of its own.
    drop(expand(word, escape, &value_of));
    let plain = |name: &String| {
        word.contains(&format!("${{{name}}}"))
            || word.match_indices(&format!("${name}")).any(|(at, found)| {
                !word[at + found.len()..]
                    .starts_with(|char: char| char.is_ascii_alphanumeric() || char == '_')
            })
    };
    asked.into_inner().into_iter().filter(plain).collect()
}

//! What the outcome of a step depends on, one by one. The step's key is a digest of all of them, so that whoever compares two lists of
//! facts, as `--explain` does, sees why their keys differ.

use std::collections::BTreeMap;

use ferry_oci::{Digest, Hasher};
use serde::{Deserialize, Serialize};

/// Begins what is hashed; another one is of another version, whose keys mean something else.
const VERSION: &str = "4";
/// Facts of a step that are written down, and bytes of each.
const MAX_FACTS: usize = 1000;
const MAX_VALUE: usize = 256;
/// Characters of a value that are shown.
const SHOWN: usize = 100;
/// Files of a mount that are named.
const NAMED: usize = 10;

/// The layers that a step finds.
pub(super) const BELOW: &str = "what it stands on";
/// Begins the names of what a `COPY` copies.
pub(super) const SOURCE: &str = "source ";
/// Begins the names of what a `RUN` mounts.
pub(super) const MOUNTED: &str = "content of the mount ";

/// What the outcome of a step depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    /// The instruction as it was written: only to find the step again.
    pub(super) text: String,
    list: Vec<(String, String)>,
    /// Files that a `RUN` mounts, by the fact that has them all, with their digests: only to name those that differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    mounted: BTreeMap<String, BTreeMap<String, String>>,
}

impl Facts {
    /// None yet, of an instruction.
    pub(super) fn of(text: &str) -> Facts {
        Facts { text: text.to_owned(), ..Facts::default() }
    }

    /// One more.
    pub(super) fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.list.push((name.into(), value.into()));
    }

    /// One more, if there is something to say.
    pub(super) fn add_some(&mut self, name: impl Into<String>, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    /// Which files a fact is about.
    pub(super) fn note_files(&mut self, name: String, files: BTreeMap<String, String>) {
        self.mounted.insert(name, files);
    }

    /// The step's key.
    pub(super) fn key(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(VERSION.as_bytes());
        // Where a source was says nothing about what comes of it.
        let named = |name: &str| if name.starts_with(SOURCE) { SOURCE.len() } else { name.len() };
        let names = self.list.iter().map(|(name, value)| (&name[..named(name)], value.as_str()));
        for text in names.flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.finish()
    }

    /// As they are written down: bounded, but what differs still does.
    pub(super) fn shortened(&self) -> Facts {
        let short = |value: &String| match value.char_indices().nth(MAX_VALUE) {
            Some((end, _)) => format!("{}… {}", &value[..end], Digest::sha256_of(value.as_bytes())),
            None => value.clone(),
        };
        let kept = self.list.iter().take(MAX_FACTS);
        let mut list: Vec<_> = kept.map(|(name, value)| (name.clone(), short(value))).collect();
        if let Some(rest) = self.list.get(MAX_FACTS..).filter(|rest| !rest.is_empty()) {
            let rest = Digest::sha256_of(format!("{rest:?}").as_bytes());
            list.push(("source (one of many more)".to_owned(), rest.to_string()));
        }
        Facts { text: self.text.clone(), list, mounted: self.mounted.clone() }
    }

    /// How near another step is: the same instruction first, then as much as possible the same. `None` where the two have nothing to do with
    /// each other.
    pub(super) fn likeness(&self, other: &Facts) -> Option<(bool, usize)> {
        let same = self.text == other.text;
        if !same && self.place() != other.place() {
            return None;
        }
        let own = self.map();
        let is_own =
            |(name, value): &&(String, String)| own.get(name.as_str()) == Some(&value.as_str());
        Some((same, other.list.iter().filter(is_own).count()))
    }

    /// The instruction's name and what it stands on.
    fn place(&self) -> (Option<&str>, Option<&str>) {
        let below = self.list.iter().find(|(name, _)| name == BELOW);
        (self.text.split_whitespace().next(), below.map(|(_, value)| value.as_str()))
    }

    /// What is not as it was before, in words. `below` is what the step stands on.
    pub(super) fn differences(&self, before: &Facts, below: &str) -> Vec<Difference> {
        let (now, then) = (self.map(), before.map());
        let mut names: Vec<&str> = self.list.iter().map(|(name, _)| name.as_str()).collect();
        names.extend(
            before
                .list
                .iter()
                .map(|(name, _)| name.as_str())
                .filter(|name| !now.contains_key(name)),
        );
        let differs = |name: &&str| now.get(name) != then.get(name);
        names
            .into_iter()
            .filter(differs)
            .map(|name| {
                let words = words(name, then.get(name).copied(), now.get(name).copied(), below);
                let named = self.files_that_differ(before, name);
                Difference { files: name.starts_with(SOURCE), words: words + &named }
            })
            .collect()
    }

    /// Files that a mount shows and that are not as they were, where both are known.
    fn files_that_differ(&self, before: &Facts, name: &str) -> String {
        let (Some(now), Some(then)) = (self.mounted.get(name), before.mounted.get(name)) else {
            return String::new();
        };
        let changed = now.iter().filter_map(|(path, digest)| match then.get(path) {
            None => Some(format!("{path} is new")),
            Some(other) if other != digest => Some(format!("{path} is not what it was")),
            Some(_) => None,
        });
        let gone = then.keys().filter(|path| !now.contains_key(*path));
        let all: Vec<String> = changed.chain(gone.map(|path| format!("{path} is gone"))).collect();
        let more = all.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        match all.is_empty() {
            true => String::new(),
            false => format!(": {}{more}", all[..all.len().min(NAMED)].join(", ")),
        }
    }

    fn map(&self) -> BTreeMap<&str, &str> {
        self.list.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

/// A fact that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Files that are copied: the layers say which.
    pub(super) files: bool,
    /// What differs.
    pub(super) words: String,
}

fn words(name: &str, then: Option<&str>, now: Option<&str>, below: &str) -> String {
    let hashed = name.starts_with(SOURCE) || name.starts_with(MOUNTED) || name == BELOW;
    let shown = |value: &str| {
        let short: String = value.chars().take(SHOWN).collect();
        let more = if short.len() < value.len() { "…" } else { "" };
        // A list has quotes of its own.
        if value.starts_with('[') { short + more } else { format!("{short:?}{more}") }
    };
    match (then, now) {
        _ if name == BELOW => format!("{name} is not what it was: {below}"),
        (Some(_), Some(_)) if hashed => format!("{name} is not what it was"),
        (Some(then), Some(now)) => format!("{name} is {}, was {}", shown(now), shown(then)),
        (None, Some(now)) if !hashed => format!("{name} is {}, was not set", shown(now)),
        (Some(then), None) if !hashed => format!("{name} is not set, was {}", shown(then)),
        (None, _) => format!("{name} is new"),
        (_, None) => format!("{name} is gone"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str, list: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::of(text);
        list.iter().for_each(|(name, value)| facts.add(*name, *value));
        facts
    }

    #[test]
    fn what_differs_is_named() {
        let before =
            facts("RUN x", &[(BELOW, "a"), ("argument A", "1"), ("user", "u"), ("source f", "9")]);
        let now = facts(
            "RUN x",
            &[(BELOW, "b"), ("argument A", "2"), ("variable V", ""), ("source f", "8")],
        );
        assert_ne!(now.key(), before.key());
        let found = now.differences(&before, "[1/2] COPY f /");
        let words: Vec<&str> = found.iter().map(|one| one.words.as_str()).collect();
        assert_eq!(
            words,
            [
                "what it stands on is not what it was: [1/2] COPY f /",
                "argument A is \"2\", was \"1\"",
                "variable V is \"\", was not set",
                "source f is not what it was",
                "user is not set, was \"u\"",
            ]
        );
        assert!(found[3].files && !found[1].files);
        assert_eq!(now.differences(&now, ""), []);
    }

    #[test]
    fn files_of_a_mount_are_named() {
        let mount = format!("{MOUNTED}/m");
        let of = |digest: &str, files: &[(&str, &str)]| {
            let mut facts = facts("RUN x", &[(mount.as_str(), digest)]);
            let files =
                files.iter().map(|(path, digest)| ((*path).to_owned(), (*digest).to_owned()));
            facts.note_files(mount.clone(), files.collect());
            facts
        };
        let before = of("1", &[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = of("2", &[("a", "1"), ("b", "2"), ("d", "1")]);
        let found = now.differences(&before, "");
        let words =
            "content of the mount /m is not what it was: b is not what it was, d is new, c is gone";
        assert_eq!(found[0].words, words);
        // They are only there to be named.
        assert_eq!(now.key(), facts("", &[(mount.as_str(), "2")]).key());
        assert_eq!(now.shortened(), now);
    }

    #[test]
    fn names_and_values_cannot_be_mistaken_for_each_other() {
        assert_ne!(facts("", &[("ab", "c")]).key(), facts("", &[("a", "bc")]).key());
        let moved = |path| facts("", &[(path, "digest")]).key();
        assert_eq!(moved("source a/f"), moved("source b/f"));
        // How it was written is none of its outcome.
        assert_eq!(facts("RUN x", &[("a", "b")]).key(), facts("RUN  x", &[("a", "b")]).key());
    }

    #[test]
    fn long_facts_are_kept_short_and_still_differ() {
        let long = |end: &str| facts("", &[("command", &format!("{}{end}", "é".repeat(5000)))]);
        let (one, other) = (long("1").shortened(), long("2").shortened());
        assert!(one.list[0].1.len() < 1000);
        assert_eq!(one.differences(&other, "").len(), 1);
    }

    #[test]
    fn the_same_instruction_is_nearer_than_one_at_the_same_place() {
        let now = facts("RUN a", &[(BELOW, "1"), ("command", "a")]);
        let same = facts("RUN a", &[(BELOW, "2"), ("command", "a")]);
        let edited = facts("RUN b", &[(BELOW, "1"), ("command", "b")]);
        let other = facts("RUN b", &[(BELOW, "2"), ("command", "b")]);
        assert!(now.likeness(&same) > now.likeness(&edited));
        assert!(now.likeness(&edited).is_some() && now.likeness(&other).is_none());
    }
}

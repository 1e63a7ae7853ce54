//! Which packages of programming languages are in an image: what pip, npm, cargo and Go leave in its files.

use std::{
    collections::BTreeSet,
    io::Read,
    path::{Component, Path},
};

use ferry_errkind::{ErrorKind, Failure};
use serde_json::Value;

use super::packages::Package;
use crate::ops::image::ImageTree;

/// Largest manifest that is read.
const MAX_MANIFEST: u64 = 16 << 20;
/// Most packages of one image.
const MAX_PACKAGES: usize = 100_000;

/// Who wrote a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer {
    Pip,
    Npm,
    Cargo,
    Go,
}

/// What an image has. A manifest that does not read is of something else, and says nothing.
pub(super) fn of(tree: &ImageTree) -> Result<Vec<Package>, Failure> {
    let mut found = BTreeSet::new();
    for entry in tree.entries()? {
        let Some(writer) = writer_of(&entry.path).filter(|_| entry.size <= MAX_MANIFEST) else {
            continue;
        };
        // A link, or a device, of that name.
        if entry.mode & 0o170_000 != 0o100_000 {
            continue;
        }
        let mut bytes = Vec::new();
        tree.file(&entry.path)?.take(MAX_MANIFEST).read_to_end(&mut bytes).map_err(|error| {
            let words = format!("cannot read {} of the image: {error}", entry.path.display());
            Failure::new(ErrorKind::Internal, words)
        })?;
        found.extend(read(writer, &String::from_utf8_lossy(&bytes)));
        if found.len() > MAX_PACKAGES {
            let words = format!("the image has more than {MAX_PACKAGES} packages");
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
    }
    Ok(found.into_iter().collect())
}

fn writer_of(path: &Path) -> Option<Writer> {
    let names: Vec<&str> = path
        .components()
        .rev()
        .take(4)
        .map_while(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    match names.as_slice() {
        ["METADATA", parent, ..] if parent.ends_with(".dist-info") => Some(Writer::Pip),
        ["PKG-INFO", parent, ..] if parent.ends_with(".egg-info") => Some(Writer::Pip),
        ["package.json", _, "node_modules", ..] => Some(Writer::Npm),
        ["package.json", _, scope, "node_modules"] if scope.starts_with('@') => Some(Writer::Npm),
        ["Cargo.lock", ..] => Some(Writer::Cargo),
        ["go.mod", ..] => Some(Writer::Go),
        _ => None,
    }
}

fn read(writer: Writer, text: &str) -> Vec<Package> {
    match writer {
        Writer::Pip => pip(text).into_iter().collect(),
        Writer::Npm => npm(text).into_iter().collect(),
        Writer::Cargo => cargo(text),
        Writer::Go => go(text),
    }
}

fn package(kind: &'static str, name: &str, version: &str, license: Option<String>) -> Package {
    let (name, version) = (name.to_owned(), version.to_owned());
    Package { name, version, architecture: String::new(), license, kind }
}

/// Headers, then a text about it.
fn pip(text: &str) -> Option<Package> {
    let headers = text.split("\n\n").next()?;
    let of = |wanted: &str| {
        let mut pairs = headers.lines().filter_map(|line| line.split_once(": "));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim())
    };
    // Some put a whole license there.
    let license = of("License-Expression").map(str::to_owned);
    Some(package("pypi", of("Name")?, of("Version")?, license))
}

fn npm(text: &str) -> Option<Package> {
    let value: Value = serde_json::from_str(text).ok()?;
    let license = value["license"].as_str().map(str::to_owned);
    Some(package("npm", value["name"].as_str()?, value["version"].as_str()?, license))
}

/// Tables `[[package]]` with `name = "…"` and `version = "…"`.
fn cargo(text: &str) -> Vec<Package> {
    let tables = text.split("[[package]]").skip(1);
    let read = |table: &str| {
        let of = |wanted: &str| {
            let mut pairs = table.lines().filter_map(|line| line.split_once(" = "));
            pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.trim_matches('"'))
        };
        Some(package("cargo", of("name")?, of("version")?, None))
    };
    tables.filter_map(read).collect()
}

/// `require module version`, or many between parentheses.
fn go(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let required = match (inside, line) {
            (false, "require (") => {
                inside = true;
                continue;
            }
            (true, ")") => {
                inside = false;
                continue;
            }
            (true, line) => line,
            (false, line) => line.strip_prefix("require ").unwrap_or_default(),
        };
        if let Some((module, version)) =
            required.split_once(' ').filter(|(_, it)| it.starts_with('v'))
        {
            found.push(package("golang", module, version.trim(), None));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(writer: Writer, text: &str) -> Vec<String> {
        let found = read(writer, text).into_iter();
        found.map(|one| format!("{} {} {}", one.kind, one.name, one.version)).collect()
    }

    #[test]
    fn manifests_are_known_by_their_places() {
        for (path, writer) in [
            ("usr/lib/python3/dist-packages/six-1.16.dist-info/METADATA", Some(Writer::Pip)),
            ("usr/lib/python3/dist-packages/six.egg-info/PKG-INFO", Some(Writer::Pip)),
            ("app/node_modules/left-pad/package.json", Some(Writer::Npm)),
            ("app/node_modules/@scope/pad/package.json", Some(Writer::Npm)),
            ("app/package.json", None),
            ("src/Cargo.lock", Some(Writer::Cargo)),
            ("go.mod", Some(Writer::Go)),
            ("METADATA", None),
        ] {
            assert_eq!(writer_of(Path::new(path)), writer, "{path}");
        }
    }

    #[test]
    fn manifests_read() {
        let text =
            "Metadata-Version: 2.1\nName: six\nVersion: 1.16.0\n\nVersion: of something else\n";
        assert_eq!(names(Writer::Pip, text), ["pypi six 1.16.0"]);
        let text = r#"{"name": "@scope/pad", "version": "2.0.0", "license": "MIT"}"#;
        assert_eq!(names(Writer::Npm, text), ["npm @scope/pad 2.0.0"]);
        assert_eq!(names(Writer::Npm, "{"), [""; 0]);
        let text = "version = 3\n\n[[package]]\nname = \"libc\"\nversion = \"0.2.1\"\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        assert_eq!(names(Writer::Cargo, text), ["cargo libc 0.2.1", "cargo own 0.1.0"]);
        let text = "module x\n\ngo 1.22\n\nrequire github.com/a/b v1.2.3\n\nrequire (\n\tgolang.org/x/c v0.1.0 // indirect\n)\n";
        assert_eq!(
            names(Writer::Go, text),
            ["golang github.com/a/b v1.2.3", "golang golang.org/x/c v0.1.0"]
        );
    }
}

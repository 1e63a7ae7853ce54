//! Which packages of its distribution are in an image: what dpkg and apk have written down of themselves.

use std::path::Path;

use ferry_errkind::{ErrorKind, Failure};
use ferry_sys::{Errno, root::InRoot};

/// Largest list of packages.
const MAX_LIST: usize = 64 << 20;
/// Largest `os-release`.
const MAX_RELEASE: usize = 1 << 20;

/// A package.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) license: Option<String>,
    /// The kind of a package URL.
    pub(super) kind: &'static str,
}

/// The packages of an image, and the distribution that they are of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Packages {
    /// `ID` and `VERSION_ID` of `os-release`.
    pub(super) distribution: (String, String),
    pub(super) all: Vec<Package>,
}

/// What a root file system has.
pub(super) fn of(root: &InRoot) -> Result<Packages, Failure> {
    let mut all = Vec::new();
    let (deb, apk) =
        (["/var/lib/dpkg/status"], ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"]);
    if let Some(text) = first(root, &deb, MAX_LIST)? {
        all.extend(paragraphs(&text).filter_map(|fields| debian(&fields)));
    }
    if let Some(text) = first(root, &apk, MAX_LIST)? {
        all.extend(paragraphs(&text).filter_map(|fields| alpine(&fields)));
    }
    all.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    let release = first(root, &["/etc/os-release", "/usr/lib/os-release"], MAX_RELEASE)?;
    let release = release.unwrap_or_default();
    let of = |wanted: &str| {
        let lines = release.lines().filter_map(|line| line.split_once('='));
        let mut found = lines.filter(|(name, _)| *name == wanted);
        found
            .next()
            .map(|(_, value)| value.trim_matches(['"', '\'']).to_owned())
            .unwrap_or_default()
    };
    Ok(Packages { distribution: (of("ID"), of("VERSION_ID")), all })
}

/// The first of these files that is there.
fn first(root: &InRoot, paths: &[&str], limit: usize) -> Result<Option<String>, Failure> {
    for path in paths {
        match root.read(Path::new(path), limit) {
            Ok(bytes) => return Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => {
                let words = format!("cannot read {path} of the image: {errno}");
                return Err(Failure::new(ErrorKind::Internal, words));
            }
        }
    }
    Ok(None)
}

/// Lines up to an empty one, as names and values. Lines that go on are left out: none of them is wanted.
fn paragraphs(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '\t']));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name, value.trim())).collect()
    })
}

fn field(fields: &[(&str, &str)], wanted: &str) -> Option<String> {
    let found = fields.iter().find(|(name, _)| *name == wanted)?;
    Some(found.1.to_owned()).filter(|value| !value.is_empty())
}

fn debian(fields: &[(&str, &str)]) -> Option<Package> {
    // What was removed but not purged is written down, too.
    if !field(fields, "Status")?.ends_with(" installed") {
        return None;
    }
    Some(Package {
        name: field(fields, "Package")?,
        version: field(fields, "Version")?,
        architecture: field(fields, "Architecture").unwrap_or_default(),
        license: None,
        kind: "deb",
    })
}

fn alpine(fields: &[(&str, &str)]) -> Option<Package> {
    Some(Package {
        name: field(fields, "P")?,
        version: field(fields, "V")?,
        architecture: field(fields, "A").unwrap_or_default(),
        license: field(fields, "L"),
        kind: "apk",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_read() {
        let text = "Package: bash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.2:1-2+b1\nDescription: a shell\n with: colons\n\n\
            Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: half\n";
        let found: Vec<Package> = paragraphs(text).filter_map(|fields| debian(&fields)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].name.as_str(), found[0].version.as_str()), ("bash", "5.2:1-2+b1"));
        let text = "C:Q1abc=\nP:musl\nV:1.2.4-r2\nA:x86_64\nL:MIT\nF:lib\n\nP:nothing\n";
        let found: Vec<Package> = paragraphs(text).filter_map(|fields| alpine(&fields)).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].kind, found[0].license.as_deref()), ("apk", Some("MIT")));
    }
}

//! What a service's files say: contents of its configs, secrets and small mounted files. They are no part of the config hash, which is
//! Docker Compose's, but of a label beside it; a container without the label is as it should be.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use ferry_cli::face::CliError;
use sha2::{Digest, Sha256};

use super::inject::{references, text_of};
use crate::model::{Mount, Project, Service};

/// A mounted file that is larger is data, not configuration.
const MAX_FILE: u64 = 256 << 10;
/// Files of a read-only directory that are looked at; with more, it is data.
const MAX_FILES: usize = 64;

/// The label's value: `what=digest` for each thing, sorted; empty where there is none.
pub(crate) fn label_of(project: &Project, service: &Service) -> Result<String, CliError> {
    let mut all = BTreeMap::new();
    for (kind, object, reference) in references(project, service) {
        let digest = match text_of(project, object)? {
            Some(text) => Some(short(text.as_bytes())),
            None => file(Path::new(&object.file)),
        };
        all.extend(digest.map(|digest| (format!("{kind}:{}", reference.source), digest)));
    }
    for mount in service.volumes.iter().filter(|mount| mount.r#type == "bind") {
        let digest = mounted(mount);
        all.extend(digest.map(|digest| (format!("bind:{}", mount.target), digest)));
    }
    let pairs: Vec<String> = all.iter().map(|(what, digest)| format!("{what}={digest}")).collect();
    Ok(pairs.join(","))
}

/// What is not the same in two labels, for people.
pub(crate) fn difference(old: &str, new: &str) -> Option<String> {
    if old.is_empty() || old == new {
        return None;
    }
    let read = |text: &str| -> BTreeMap<String, String> {
        let pairs = text.split(',').filter_map(|pair| pair.rsplit_once('='));
        pairs.map(|(what, digest)| (what.to_owned(), digest.to_owned())).collect()
    };
    let (old, new) = (read(old), read(new));
    let what = new.iter().find(|(what, digest)| old.get(*what) != Some(digest));
    let what = what.or_else(|| old.iter().find(|(what, _)| !new.contains_key(*what)));
    what.map(|(what, _)| match what.split_once(':') {
        Some(("bind", target)) => format!("the file at {target} has changed"),
        Some((kind, name)) => format!("the contents of {kind} {name} have changed"),
        None => "contents have changed".to_owned(),
    })
}

/// A file that is configuration: small, and text, since what a program writes for itself (a database) is neither for long. Of
/// directories only those that the container cannot write to.
fn mounted(mount: &Mount) -> Option<String> {
    let path = Path::new(&mount.source);
    let found = std::fs::metadata(path).ok()?;
    if found.is_file() {
        return file(path);
    }
    if !found.is_dir() || !mount.read_only {
        return None;
    }
    let mut names: Vec<_> = std::fs::read_dir(path).ok()?.take(MAX_FILES + 1).flatten().collect();
    if names.len() > MAX_FILES {
        return None;
    }
    names.sort_by_key(std::fs::DirEntry::file_name);
    let mut all = String::new();
    for entry in names {
        let digest = file(&entry.path()).unwrap_or_default();
        all.push_str(&format!("{}\0{digest}\0", entry.file_name().to_string_lossy()));
    }
    Some(short(all.as_bytes()))
}

fn file(path: &Path) -> Option<String> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    if found.len() > MAX_FILE {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_FILE + 1).read_to_end(&mut bytes).ok()?;
    (!bytes.contains(&0)).then(|| short(&bytes))
}

fn short(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_has_a_name() {
        let say = |old, new| difference(old, new).unwrap_or_default();
        assert_eq!(say("", "config:a=1"), "", "another program's container has no label");
        assert_eq!(say("config:a=1", "config:a=1"), "");
        assert_eq!(say("config:a=1", "config:a=2"), "the contents of config a have changed");
        assert_eq!(say("bind:/etc/x=1,config:a=1", "config:a=1"), "the file at /etc/x has changed");
    }
}

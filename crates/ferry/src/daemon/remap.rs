//! `--userns-remap`: dockerd's words for a range of ids.

use std::{fs, io};

use ferry_engine::{IdMaps, subordinate_ranges, unclaimed_range};

/// Whose ranges dockerd uses for `default`.
const DEFAULT_USER: &str = "dockremap";

/// Largest file of ranges or users that is read, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// Reads `default`, `USER` or `USER:GROUP`, each a name or a number with ranges in `/etc/subuid` and `/etc/subgid`.
///
/// `default` are the ranges of `dockremap`, if it has some. dockerd would make that user; no user is needed here, so it is
/// the first 65536 ids that these files give to nobody.
pub(super) fn read(text: &str) -> Result<IdMaps, String> {
    let failed = |why: String| format!("--userns-remap {text}: {why}");
    let (subuid, subgid) = (file("/etc/subuid"), file("/etc/subgid"));
    let (subuid, subgid) = (subuid.map_err(failed)?, subgid.map_err(failed)?);
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, group),
        None if text == "default" => (DEFAULT_USER, DEFAULT_USER),
        None => (text, text),
    };
    if user.is_empty() || group.is_empty() {
        return Err(failed("expected default, USER or USER:GROUP".to_owned()));
    }
    let uids = subordinate_ranges(&subuid, user, id_of("/etc/passwd", user).map_err(failed)?);
    let gids = subordinate_ranges(&subgid, group, id_of("/etc/group", group).map_err(failed)?);
    if text == "default" && uids.is_empty() && gids.is_empty() {
        return Ok(IdMaps::from_first(unclaimed_range(&[&subuid, &subgid])));
    }
    // dockerd's words.
    if uids.is_empty() {
        return Err(failed(format!(
            "can't create ID mappings: no subuid ranges found for user {user:?} (add a line such as {user}:100000:65536 to /etc/subuid)"
        )));
    }
    if gids.is_empty() {
        return Err(failed(format!(
            "can't create ID mappings: no subgid ranges found for group {group:?} (add a line such as {group}:100000:65536 to /etc/subgid)"
        )));
    }
    Ok(IdMaps { uids, gids })
}

/// A file that need not be there.
fn file(path: &str) -> Result<String, String> {
    match fs::metadata(path) {
        Ok(status) if status.len() > MAX_FILE => {
            return Err(format!("{path} is larger than 16 MiB"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        _ => {}
    }
    fs::read_to_string(path).map_err(|error| format!("read {path}: {error}"))
}

/// The number that a file such as `/etc/passwd` has for a name.
fn id_of(path: &str, name: &str) -> Result<Option<u32>, String> {
    let text = file(path)?;
    Ok(text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    }))
}

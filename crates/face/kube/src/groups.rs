//! The group of a pod (`fsGroup`) in volumes of claims that were there before: as in a cluster all in them becomes its own at each start.
//!
//! This program does it itself, in a container that has these volumes and nothing else.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

use ferry_cli::face::{CliError, Outcome};
use ferry_client::path_segment;
use serde_json::{Value, json};

use crate::{end, plan::PodPlan, play::Player, service::IMAGE};

/// The word for: always.
const ALWAYS: &str = "always";
/// The word for: where the volume itself is not the group's.
const MISMATCH: &str = "mismatch";

/// What the group may do with files, and with directories, which give the group to what is made in them.
const FILE: u32 = 0o660;
const DIRECTORY: u32 = 0o2770;

/// Gives what is in these volumes to a pod's group, if it has one.
pub(crate) async fn give(player: &Player<'_>, pod: &PodPlan, old: &[&str]) -> Result<(), CliError> {
    let Some(group) = pod.group.filter(|_| !old.is_empty()) else { return Ok(()) };
    if let Err(error) = player.bring(IMAGE, "", &[]).await {
        let words =
            "volumes that were there keep their groups, since what changes them cannot be had";
        player.cli.warn(&format!("{}: {words}: {error}", pod.owner));
        return Ok(());
    }
    let when = if pod.group_on_mismatch { MISMATCH } else { ALWAYS };
    let mut words = vec!["kube".to_owned(), "keep".to_owned(), "group".to_owned()];
    words.extend([group.to_string(), when.to_owned()]);
    let mut mounts = Vec::new();
    for (number, name) in old.iter().enumerate() {
        let place = format!("/volume-{number}");
        mounts.push(json!({
            "Type": "volume", "Source": name, "Target": place, "VolumeOptions": { "NoCopy": true },
        }));
        words.push(place);
    }
    let body = json!({
        "Image": IMAGE,
        "Entrypoint": ["/ferry"],
        "Cmd": words,
        // If it is left behind it goes with its pod.
        "Labels": pod.labels(),
        "HostConfig": { "Mounts": mounts, "NetworkMode": "none" },
    });
    let made: Value = player.client.post("/containers/create").json_body(&body).json().await?;
    let id = made["Id"].as_str().unwrap_or_default();
    let done = run(player, id).await;
    let removed = end::remove_one(player, id).await;
    done.and(removed)
}

async fn run(player: &Player<'_>, id: &str) -> Result<(), CliError> {
    player.post(id, "start").await?;
    let path = format!("/containers/{}", path_segment(id));
    let ended: Value = player.client.post(format!("{path}/wait")).json().await?;
    match ended["StatusCode"].as_i64() {
        Some(0) => Ok(()),
        code => {
            let why = "changing the group of a pod's volumes ended with exit code";
            Err(CliError::new(format!("{why} {}", code.unwrap_or(-1))))
        }
    }
}

/// Gives everything at these places to a group: `ferry kube keep group`.
pub(crate) fn change(group: &str, when: &str, places: &[&str]) -> Outcome {
    let wrong = |what: &str| CliError::new(format!("\"{what}\" is none"));
    let group: u32 = group.parse().map_err(|_| wrong(group))?;
    if !matches!(when, ALWAYS | MISMATCH) {
        return Err(wrong(when));
    }
    for place in places.iter().map(Path::new) {
        let failed =
            |error: io::Error| CliError::new(format!("cannot change {}: {error}", place.display()));
        if when == ALWAYS || !is_groups(place, group).map_err(failed)? {
            // What is inside comes first: where this is interrupted the place itself tells that it is not done.
            give_all(place, group).map_err(failed)?;
        }
    }
    Ok(0)
}

fn is_groups(place: &Path, group: u32) -> io::Result<bool> {
    let found = fs::symlink_metadata(place)?;
    Ok(found.gid() == group && found.mode() & DIRECTORY == DIRECTORY)
}

fn give_all(place: &Path, group: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(place)?;
    if found.is_dir() {
        for entry in fs::read_dir(place)? {
            match give_all(&entry?.path(), group) {
                // It has gone meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
    }
    if found.gid() != group {
        lchown(place, None, Some(group))?;
    }
    let more = if found.is_dir() { DIRECTORY } else { FILE };
    let mode = found.mode() & 0o7777;
    // The change of a group takes marks away.
    if !found.is_symlink() && (mode & more != more || found.gid() != group) {
        fs::set_permissions(place, Permissions::from_mode(mode | more))?;
    }
    Ok(())
}

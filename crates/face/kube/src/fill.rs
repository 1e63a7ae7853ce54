//! What is in volumes before a pod starts: files of ConfigMaps and Secrets, and empty directories that everybody may write to.

use ferry_archive::{Entry, Kind, TarWriter};
use ferry_cli::face::CliError;
use ferry_client::{Endpoint, path_segment};
use ferry_docker_api::Filters;
use serde_json::{Value, json};

use crate::{
    end, groups,
    plan::{ContainerPlan, OWNER, PARENT, POD, PodPlan},
    play::{Player, is_missing},
    service::IMAGE,
    volumes::{PutFile, Work},
};

/// Where a volume is while it is filled.
const PLACE: &str = "/ferry-volumes";

/// Makes the volume of a claim that no pod mounts yet. Whoever mounts it later may write to it.
pub(crate) async fn unused_claim(player: &Player<'_>, name: &str) -> Result<(), CliError> {
    let alone = PodPlan {
        name: name.to_owned(),
        owner: claim_owner(name),
        containers: vec![ContainerPlan::of(IMAGE)],
        work: Work { claims: vec![name.to_owned()], ..Work::default() },
        ..PodPlan::default()
    };
    // Another daemon than Ferry's has no such image, and its volumes are root's.
    match player.bring(IMAGE, "", &[]).await {
        Ok(()) => fill(player, &alone).await,
        Err(error) => {
            let words =
                "only root may write to it, since what gives others the right cannot be had";
            player.cli.warn(&format!("PersistentVolumeClaim/{name}: {words}: {error}"));
            volume(player, name, claim_labels(name), None).await.map(drop)
        }
    }
}

fn claim_owner(name: &str) -> String {
    format!("PersistentVolumeClaim/{name}")
}

fn claim_labels(name: &str) -> Value {
    json!({ OWNER: claim_owner(name) })
}

/// Makes a volume; true if it was not there.
async fn volume(
    player: &Player<'_>,
    name: &str,
    labels: Value,
    in_memory: Option<&str>,
) -> Result<bool, CliError> {
    match player.client.get(format!("/volumes/{}", path_segment(name))).json::<Value>().await {
        Ok(_) => return Ok(false),
        Err(error) if !is_missing(&error) => return Err(error.into()),
        Err(_) => {}
    }
    let mut body = json!({ "Name": name, "Labels": labels });
    if let Some(options) = in_memory {
        body["DriverOpts"] = json!({ "type": "tmpfs", "device": "tmpfs", "o": options });
    }
    player.client.post("/volumes/create").json_body(&body).done().await?;
    Ok(true)
}

/// Makes the volumes of a pod, and fills those that are new. Nothing of an earlier attempt is used again, and nothing is left by one that
/// fails.
pub(crate) async fn fill(player: &Player<'_>, pod: &PodPlan) -> Result<(), CliError> {
    if !pod.work.own.is_empty() {
        remove_own(player, &pod.owner, Some(&pod.name)).await?;
    }
    let mut new = Vec::new();
    let mut filled = make(player, pod, &mut new).await;
    // What is in memory has its rights from its mount, and would be gone with the container that fills it.
    let is_kept = |name: &&&str| pod.work.memory.iter().all(|(of, _)| of != **name);
    let kept: Vec<&str> = new.iter().filter(is_kept).copied().collect();
    if filled.is_ok() && !kept.is_empty() {
        filled = put_into(player, pod, &kept).await;
    }
    let claims = pod.work.claims.iter().map(String::as_str);
    let old: Vec<&str> = claims.filter(|claim| !new.contains(claim)).collect();
    if filled.is_ok() {
        filled = groups::give(player, pod, &old).await;
    }
    if filled.is_err() {
        for name in new {
            remove_volume(player, name).await.ok();
        }
    }
    filled
}

/// Makes volumes; `new` are those that were not there.
async fn make<'p>(
    player: &Player<'_>,
    pod: &'p PodPlan,
    new: &mut Vec<&'p str>,
) -> Result<(), CliError> {
    for name in &pod.work.own {
        let in_memory = pod.work.memory.iter().find(|(of, _)| of == name);
        let in_memory = in_memory.map(|(_, options)| options.as_str());
        if !volume(player, name, pod.labels(), in_memory).await? {
            let PodPlan { owner, name: pod, .. } = pod;
            let words = format!(
                "volume {name} is there already and is not that of {owner}'s pod {pod}: rename the volume in the manifest, or remove the other one"
            );
            return Err(CliError::new(words));
        }
        new.push(name.as_str());
    }
    for name in &pod.work.claims {
        if volume(player, name, claim_labels(name), None).await? {
            new.push(name);
        }
    }
    Ok(())
}

/// Gives new volumes their rights and files, by a container that never runs.
async fn put_into(player: &Player<'_>, pod: &PodPlan, new: &[&str]) -> Result<(), CliError> {
    let Some(first) = pod.containers.first() else { return Ok(()) };
    let group = u32::try_from(pod.group.unwrap_or(0)).unwrap_or(0);
    let mut tar = TarWriter::new(Vec::new());
    let mut mounts = Vec::new();
    for (number, name) in new.iter().enumerate() {
        let place = format!("{PLACE}-{number}");
        let fill = pod.work.fills.iter().find(|fill| fill.volume == **name);
        // Directories of a group give it to what is made in them.
        let mode = match (fill, pod.group) {
            (Some(_), None) => 0o755,
            (Some(_), Some(_)) => 0o2775,
            (None, None) => 0o777,
            (None, Some(_)) => 0o2777,
        };
        directory(&mut tar, &place, mode, group)?;
        for file in fill.into_iter().flat_map(|fill| &fill.files) {
            let more = if pod.group.is_some() { 0o040 } else { 0 };
            append(&mut tar, &format!("{place}/{}", file.path), file, file.mode | more, group)?;
        }
        mounts.push(json!({
            "Type": "volume", "Source": name, "Target": place, "VolumeOptions": { "NoCopy": true },
        }));
    }
    let body = json!({
        "Image": first.image,
        // It never runs.
        "Entrypoint": ["/"],
        // If it is left behind it goes with its pod.
        "Labels": pod.labels(),
        "HostConfig": { "Mounts": mounts, "NetworkMode": "none" },
    });
    let made: Value = player.client.post("/containers/create").json_body(&body).json().await?;
    let id = made["Id"].as_str().unwrap_or_default().to_owned();
    let tar = finish(tar)?;
    let filled = put(player, &id, tar).await;
    let removed = end::remove_one(player, &id).await;
    // Why it could not be filled says more than why that could not be tidied up.
    filled.and(removed)
}

/// Puts an archive into a container.
pub(crate) async fn put(player: &Player<'_>, id: &str, tar: Vec<u8>) -> Result<(), CliError> {
    let length = tar.len() as u64;
    let path = format!("/containers/{}/archive", path_segment(id));
    let call = player.client.put(path).query("path", "/");
    let body = std::io::Cursor::new(tar);
    Ok(call.upload("application/x-tar", body, Some(length)).done().await?)
}

/// Removes the volumes that were made for an object's pods alone, or for one of them.
pub(crate) async fn remove_own(
    player: &Player<'_>,
    owner: &str,
    pod: Option<&str>,
) -> Result<(), CliError> {
    // A cron job has those of the jobs that it made, too.
    for key in if pod.is_some() { &[OWNER][..] } else { &[OWNER, PARENT] } {
        let mut filters = Filters::default();
        filters.add("label", &format!("{key}={owner}"));
        if let Some(pod) = pod {
            filters.add("label", &format!("{POD}={pod}"));
        }
        let found: Value = player.client.get("/volumes").filters(&filters).json().await?;
        for one in found["Volumes"].as_array().into_iter().flatten() {
            remove_volume(player, one["Name"].as_str().unwrap_or_default()).await?;
        }
    }
    Ok(())
}

async fn remove_volume(player: &Player<'_>, name: &str) -> Result<(), CliError> {
    match player.client.delete(format!("/volumes/{}", path_segment(name))).done().await {
        Err(error) if !is_missing(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Looks whether places of this machine are what they should be. Of another machine only the daemon can tell.
pub(crate) fn places(player: &Player<'_>, places: &[(String, String)]) -> Result<(), CliError> {
    use std::os::unix::fs::FileTypeExt;
    let is_inside = std::env::var_os(crate::infra::SOCKET).is_some();
    if is_inside || !matches!(player.client.endpoint(), Endpoint::Unix(_)) {
        return Ok(());
    }
    for (path, kind) in places {
        if kind == "FileOrCreate" {
            let made = std::fs::OpenOptions::new().create(true).append(true).open(path);
            made.map_err(|error| CliError::new(format!("hostPath {path}: {error}")))?;
        }
        let found = std::fs::metadata(path)
            .map_err(|error| CliError::new(format!("hostPath {path}: {error}")))?
            .file_type();
        let is_right = match kind.as_str() {
            "Directory" => found.is_dir(),
            "File" | "FileOrCreate" => found.is_file(),
            "Socket" => found.is_socket(),
            "CharDevice" => found.is_char_device(),
            "BlockDevice" => found.is_block_device(),
            _ => true,
        };
        if !is_right {
            return Err(CliError::new(format!("hostPath {path} is no {kind}")));
        }
    }
    Ok(())
}

/// Files as a tar, below a directory. They are root's, as in a cluster.
pub(crate) fn packed<'f>(
    below: &str,
    files: impl Iterator<Item = &'f PutFile>,
) -> Result<Vec<u8>, CliError> {
    let mut tar = TarWriter::new(Vec::new());
    for file in files {
        append(&mut tar, &format!("{below}/{}", file.path), file, file.mode, 0)?;
    }
    finish(tar)
}

fn directory(
    tar: &mut TarWriter<Vec<u8>>,
    path: &str,
    mode: u32,
    gid: u32,
) -> Result<(), CliError> {
    let path = path.trim_start_matches('/').as_bytes().to_vec();
    let entry = Entry { path, kind: Kind::Directory, mode, gid, ..Entry::default() };
    let written = tar.append_file(&entry, std::io::empty());
    written.map_err(|error| CliError::new(format!("cannot pack a directory: {error}")))
}

fn append(
    tar: &mut TarWriter<Vec<u8>>,
    path: &str,
    file: &PutFile,
    mode: u32,
    gid: u32,
) -> Result<(), CliError> {
    let size = file.content.len() as u64;
    let path = path.trim_start_matches('/').as_bytes().to_vec();
    let entry = Entry { path, mode, gid, size, stored: size, ..Entry::default() };
    let written = tar.append_file(&entry, file.content.as_slice());
    written.map_err(|error| CliError::new(format!("cannot pack {}: {error}", file.path)))
}

fn finish(tar: TarWriter<Vec<u8>>) -> Result<Vec<u8>, CliError> {
    tar.finish().map_err(|error| CliError::new(format!("cannot pack files: {error}")))
}

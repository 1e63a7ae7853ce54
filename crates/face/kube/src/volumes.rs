//! Volumes of a pod, and where its containers have them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    manifest::{Manifests, Source},
    reader::Reader,
    settings::quantity,
};

/// Bits of a file of a ConfigMap or Secret, where it says nothing.
const MODE: i64 = 0o644;

/// What a volume of a pod is on this machine.
#[derive(Debug)]
pub(crate) enum Volume {
    Named(String),
    Host(String),
    Memory(String),
    /// Files of ConfigMaps and Secrets.
    Files(Vec<PutFile>),
}

/// A file that is put into a container before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutFile {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// What a container mounts, by the ways in which it comes there.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    pub(crate) binds: Vec<String>,
    pub(crate) mounts: Vec<Value>,
    pub(crate) tmpfs: Value,
    pub(crate) files: Vec<PutFile>,
}

/// Reads a volume of a pod; one that is the pod's alone goes to `own`.
pub(crate) fn volume(
    mut volume: Reader<'_>,
    pod: &str,
    manifests: &Manifests,
    own: &mut Vec<String>,
) -> Result<(String, Volume), String> {
    let name = volume.needed("name")?;
    for (key, named, source) in
        [("configMap", "name", Source::ConfigMap), ("secret", "secretName", Source::Secret)]
    {
        let mut of = volume.inside(key)?;
        let object = of.text(named)?;
        if object.is_empty() {
            of.finish()?;
            continue;
        }
        let files = files(&mut of, manifests, source, &object)?;
        of.finish()?;
        volume.finish()?;
        return Ok((name, Volume::Files(files)));
    }
    let claim = volume.take("persistentVolumeClaim");
    let host = volume.take("hostPath");
    let empty = volume.take("emptyDir");
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let is = if let Some(claim) = text(&claim, "claimName") {
        Volume::Named(claim)
    } else if let Some(path) = text(&host, "path") {
        Volume::Host(path)
    } else if !empty.is_null() && text(&empty, "medium").as_deref() == Some("Memory") {
        Volume::Memory(text(&empty, "sizeLimit").unwrap_or_default())
    } else if !empty.is_null() {
        let named = format!("{pod}-{name}");
        own.push(named.clone());
        Volume::Named(named)
    } else {
        return Err(format!(
            "{}: emptyDir, hostPath, configMap, secret and persistentVolumeClaim are supported",
            volume.path()
        ));
    };
    volume.finish()?;
    Ok((name, is))
}

/// The files of a ConfigMap or Secret: all of its keys, or those of `items`.
fn files(
    of: &mut Reader<'_>,
    manifests: &Manifests,
    source: Source,
    object: &str,
) -> Result<Vec<PutFile>, String> {
    let mode = of.number("defaultMode")?.unwrap_or(MODE);
    let optional = of.flag("optional")?.unwrap_or(false);
    let values = match manifests.values.get(&(source, object.to_owned())) {
        Some(values) => values,
        None if optional => &BTreeMap::new(),
        None => return Err(format!("{source:?} \"{object}\" is not in the manifests")),
    };
    let bits = |mode: i64, path: &str| {
        let bits = u32::try_from(mode).ok().filter(|mode| *mode <= 0o777);
        bits.ok_or_else(|| format!("{path}: mode {mode} is not between 0 and 0777"))
    };
    let chosen = of.each("items", |mut item| {
        let key = item.needed("key")?;
        let path = item.needed("path")?;
        let mode = item.number("mode")?.unwrap_or(mode);
        let content = values.get(&key).cloned();
        let missing = || format!("{source:?} \"{object}\" has no key \"{key}\"");
        let content = content.ok_or_else(missing)?;
        let mode = bits(mode, item.path())?;
        item.finish()?;
        Ok(PutFile { path: relative(&path)?, content, mode })
    })?;
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let mode = bits(mode, of.path())?;
    let all = values
        .iter()
        .map(|(key, content)| Ok(PutFile { path: relative(key)?, content: content.clone(), mode }));
    all.collect()
}

/// A path below a volume stays below it.
fn relative(path: &str) -> Result<String, String> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("\"{path}\" is no path below a volume"));
    }
    Ok(path.to_owned())
}

/// Reads what a container mounts.
pub(crate) fn mounts(
    reader: &mut Reader<'_>,
    volumes: &BTreeMap<String, Volume>,
) -> Result<Mounted, String> {
    let mut all = Mounted { tmpfs: json!({}), ..Mounted::default() };
    reader.each("volumeMounts", |mut mount| {
        let name = mount.needed("name")?;
        let path = mount.needed("mountPath")?;
        let read_only = mount.flag("readOnly")?.unwrap_or(false);
        let below = match mount.text("subPath")?.as_str() {
            "" => None,
            below => Some(relative(below)?),
        };
        let volume = volumes.get(&name);
        let volume =
            volume.ok_or_else(|| format!("{}: there is no volume \"{name}\"", mount.path()))?;
        let mode = if read_only { ":ro" } else { "" };
        match (volume, below) {
            (Volume::Named(volume), None) => all.binds.push(format!("{volume}:{path}{mode}")),
            (Volume::Named(volume), Some(below)) => all.mounts.push(json!({
                "Type": "volume", "Source": volume, "Target": path, "ReadOnly": read_only,
                "VolumeOptions": { "Subpath": below },
            })),
            (Volume::Host(source), None) => all.binds.push(format!("{source}:{path}{mode}")),
            (Volume::Host(source), Some(below)) => {
                all.binds.push(format!("{}/{below}:{path}{mode}", source.trim_end_matches('/')));
            }
            (Volume::Memory(_), Some(_)) => {
                return Err(format!("{}.subPath: not of a volume in memory", mount.path()));
            }
            (Volume::Memory(size), None) => {
                let size = quantity(size).map_or_else(String::new, |size| format!("size={size}"));
                all.tmpfs[path] = json!(size);
            }
            (Volume::Files(files), below) => put(&mut all.files, files, &path, below.as_deref())?,
        }
        mount.finish()
    })?;
    Ok(all)
}

/// Files of a volume at a place: all of them, those below a directory of it, or one.
fn put(
    to: &mut Vec<PutFile>,
    files: &[PutFile],
    place: &str,
    below: Option<&str>,
) -> Result<(), String> {
    let before = to.len();
    for file in files {
        let rest = match below {
            None => Some(format!("{}/{}", place.trim_end_matches('/'), file.path)),
            Some(below) if file.path == below => Some(place.to_owned()),
            Some(below) => file
                .path
                .strip_prefix(below)
                .and_then(|rest| rest.strip_prefix('/'))
                .map(|rest| format!("{}/{rest}", place.trim_end_matches('/'))),
        };
        to.extend(rest.map(|path| PutFile { path, ..file.clone() }));
    }
    match below {
        Some(below) if to.len() == before => {
            Err(format!("subPath \"{below}\": the volume has no such file"))
        }
        _ => Ok(()),
    }
}

//! Volumes of a pod, and where its containers have them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    env::{Values, expanded},
    fields::{self, Field},
    manifest::Source,
    reader::Reader,
    settings::quantity,
};

/// Bits of a file of a ConfigMap or Secret, where it says nothing.
const MODE: i64 = 0o644;

/// What a volume of a pod is on this machine.
#[derive(Debug)]
pub(crate) enum Volume {
    Named(String),
    /// Files of others: nobody in the pod writes to them.
    ReadOnly(String),
    /// A place of this machine; it must be there already.
    Host(String, bool),
    Memory(String),
    Image(String),
}

/// A file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PutFile {
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// What is put into a volume before a container starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) volume: String,
    pub(crate) files: Vec<PutFile>,
    /// It is a claim: only a new one is touched.
    pub(crate) is_claim: bool,
}

/// What is to be done for the volumes of a pod.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Volumes that are the pod's alone.
    pub(crate) own: Vec<String>,
    pub(crate) fills: Vec<Fill>,
    pub(crate) claims: Vec<String>,
    /// Images that are mounted, and how they are pulled.
    pub(crate) images: Vec<(String, String)>,
    /// Places of this machine that must be of a kind.
    pub(crate) places: Vec<(String, String)>,
}

/// What a container mounts, by the ways in which it comes there.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    pub(crate) binds: Vec<String>,
    pub(crate) mounts: Vec<Value>,
    pub(crate) tmpfs: Value,
}

/// Reads a volume of a pod.
pub(crate) fn volume(
    mut volume: Reader<'_>,
    values: Values<'_>,
    work: &mut Work,
) -> Result<(String, Volume), String> {
    let name = volume.needed("name")?;
    let own = format!("{}-{name}", values.pod.name);
    let is = if volume.has("configMap") || volume.has("secret") {
        let files = of_object(&mut volume, values, "secretName", None)?;
        filled(own, files, work)
    } else if volume.has("downwardAPI") {
        let mut of = volume.inside("downwardAPI")?;
        let mode = of.number("defaultMode")?.unwrap_or(MODE);
        let files = of_fields(&mut of, values, mode)?;
        of.finish()?;
        filled(own, files, work)
    } else if volume.has("projected") {
        let files = projected(&mut volume, values)?;
        filled(own, files, work)
    } else if volume.has("persistentVolumeClaim") {
        let mut of = volume.inside("persistentVolumeClaim")?;
        let claim = of.needed("claimName")?;
        let read_only = of.flag("readOnly")?.unwrap_or(false);
        of.finish()?;
        work.claims.push(claim.clone());
        if read_only { Volume::ReadOnly(claim) } else { Volume::Named(claim) }
    } else if volume.has("hostPath") {
        host(&mut volume, work)?
    } else if volume.has("image") {
        let mut of = volume.inside("image")?;
        let image = of.needed("reference")?;
        work.images.push((image.clone(), of.text("pullPolicy")?));
        of.finish()?;
        Volume::Image(image)
    } else if volume.has("emptyDir") {
        empty(&mut volume, own, work)?
    } else {
        // An empty one says nothing of what it is: it is empty.
        let path = volume.path().to_owned();
        volume.finish().map_err(|why| {
            format!(
                "{why}: configMap, downwardAPI, emptyDir, hostPath, image, persistentVolumeClaim, projected and secret are"
            )
        })?;
        return Err(format!("{path}: it is not said what \"{name}\" is"));
    };
    volume.finish()?;
    Ok((name, is))
}

/// A place of this machine.
fn host(volume: &mut Reader<'_>, work: &mut Work) -> Result<Volume, String> {
    let mut of = volume.inside("hostPath")?;
    let (path, kind) = (of.needed("path")?, of.text("type")?);
    let is_known = matches!(
        kind.as_str(),
        "" | "DirectoryOrCreate"
            | "Directory"
            | "FileOrCreate"
            | "File"
            | "Socket"
            | "CharDevice"
            | "BlockDevice"
    );
    if !is_known || !path.starts_with('/') {
        return Err(format!("{}: \"{path}\" of type \"{kind}\" cannot be", of.path()));
    }
    of.finish()?;
    let must_be = !matches!(kind.as_str(), "" | "DirectoryOrCreate");
    if must_be {
        work.places.push((path.clone(), kind));
    }
    Ok(Volume::Host(path, must_be))
}

/// A directory of the pod's own.
fn empty(volume: &mut Reader<'_>, own: String, work: &mut Work) -> Result<Volume, String> {
    let mut of = volume.inside("emptyDir")?;
    let size = match of.take("sizeLimit") {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    let medium = of.text("medium")?;
    if !size.is_empty() && quantity(&size).is_none() {
        return Err(format!("{}.sizeLimit: \"{size}\" is no quantity", of.path()));
    }
    if !size.is_empty() && medium != "Memory" {
        of.tell("sizeLimit", "is not kept: only one in memory has a size here");
    }
    of.finish()?;
    match medium.as_str() {
        "Memory" => Ok(Volume::Memory(size)),
        "" => {
            work.own.push(own.clone());
            Ok(Volume::Named(own))
        }
        other => Err(format!("{}.emptyDir.medium: \"{other}\" is not supported", volume.path())),
    }
}

/// A volume of the pod's own with these files.
fn filled(own: String, files: Vec<PutFile>, work: &mut Work) -> Volume {
    work.own.push(own.clone());
    work.fills.push(Fill { volume: own.clone(), files, is_claim: false });
    Volume::ReadOnly(own)
}

/// Files of the ConfigMap or Secret that is named inside.
fn of_object(
    of: &mut Reader<'_>,
    values: Values<'_>,
    secret_name: &str,
    mode: Option<i64>,
) -> Result<Vec<PutFile>, String> {
    let (key, named, source) = if of.has("configMap") {
        ("configMap", "name", Source::ConfigMap)
    } else {
        ("secret", secret_name, Source::Secret)
    };
    let mut of = of.inside(key)?;
    let object = of.needed(named)?;
    let mode = match mode {
        Some(mode) => mode,
        None => of.number("defaultMode")?.unwrap_or(MODE),
    };
    let files = files(&mut of, values, source, &object, mode)?;
    of.finish()?;
    Ok(files)
}

/// Files of several sources.
fn projected(volume: &mut Reader<'_>, values: Values<'_>) -> Result<Vec<PutFile>, String> {
    let mut of = volume.inside("projected")?;
    let mode = of.number("defaultMode")?.unwrap_or(MODE);
    let all = of.each("sources", |mut source| {
        let files = if source.has("downwardAPI") {
            let mut inner = source.inside("downwardAPI")?;
            let files = of_fields(&mut inner, values, mode)?;
            inner.finish()?;
            files
        } else if source.has("configMap") || source.has("secret") {
            of_object(&mut source, values, "name", Some(mode))?
        } else {
            source.notice("serviceAccountToken", "is left out: there is no cluster that gives it");
            source.notice("clusterTrustBundle", "is left out: there is no cluster that gives it");
            Vec::new()
        };
        source.finish()?;
        Ok(files)
    })?;
    of.finish()?;
    Ok(all.concat())
}

/// Files with what a pod says about itself.
fn of_fields(of: &mut Reader<'_>, values: Values<'_>, mode: i64) -> Result<Vec<PutFile>, String> {
    of.each("items", |mut item| {
        let path = relative(&item.needed("path")?)?;
        let mode = bits(item.number("mode")?.unwrap_or(mode), item.path())?;
        let content = match fields::of_pod(&mut item, values.pod)? {
            Some(Field::Known(text)) => text,
            Some(Field::Late(field)) => {
                return Err(format!("{}: {field} cannot be in a file", item.path()));
            }
            None => fields::of_resources(&mut item, values.pod, "")?
                .ok_or_else(|| format!("{}: it is not said what is in it", item.path()))?,
        };
        item.finish()?;
        Ok(PutFile { path, content: content.into_bytes(), mode })
    })
}

fn bits(mode: i64, path: &str) -> Result<u32, String> {
    let bits = u32::try_from(mode).ok().filter(|mode| *mode <= 0o777);
    bits.ok_or_else(|| format!("{path}: mode {mode} is not between 0 and 0777"))
}

/// The files of a ConfigMap or Secret: all of its keys, or those of `items`.
fn files(
    of: &mut Reader<'_>,
    values: Values<'_>,
    source: Source,
    object: &str,
    mode: i64,
) -> Result<Vec<PutFile>, String> {
    let optional = of.flag("optional")?.unwrap_or(false);
    let values = match values.manifests.values.get(&(source, object.to_owned())) {
        Some(values) => values,
        None if optional => &BTreeMap::new(),
        None => return Err(format!("{source:?} \"{object}\" is not in the manifests")),
    };
    let is_chosen = of.has("items");
    let chosen = of.each("items", |mut item| {
        let key = item.needed("key")?;
        let path = relative(&item.needed("path")?)?;
        let mode = bits(item.number("mode")?.unwrap_or(mode), item.path())?;
        let content = match values.get(&key) {
            Some(content) => Some(content.clone()),
            None if optional => None,
            None => return Err(format!("{source:?} \"{object}\" has no key \"{key}\"")),
        };
        item.finish()?;
        Ok(content.map(|content| PutFile { path, content, mode }))
    })?;
    if is_chosen {
        return Ok(chosen.into_iter().flatten().collect());
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

/// Reads what a container mounts; `env` is for `subPathExpr`.
pub(crate) fn mounts(
    reader: &mut Reader<'_>,
    volumes: &BTreeMap<String, Volume>,
    env: &[String],
) -> Result<Mounted, String> {
    let mut all = Mounted { tmpfs: json!({}), ..Mounted::default() };
    reader.each("volumeMounts", |mut mount| {
        let name = mount.needed("name")?;
        let path = mount.needed("mountPath")?;
        if path.contains(':') {
            return Err(format!("{}.mountPath: \"{path}\" cannot be", mount.path()));
        }
        let read_only = mount.flag("readOnly")?.unwrap_or(false);
        let below = match mount.text("subPath")? {
            text if text.is_empty() => expanded(&mount.text("subPathExpr")?, env),
            text => text,
        };
        let below = if below.is_empty() { below } else { relative(&below)? };
        let propagation = match mount.text("mountPropagation")?.as_str() {
            "" | "None" => "",
            "HostToContainer" => "rslave",
            "Bidirectional" => "rshared",
            other => {
                return Err(format!("{}.mountPropagation: \"{other}\" cannot be", mount.path()));
            }
        };
        let recursive = match mount.text("recursiveReadOnly")?.as_str() {
            "" | "Disabled" | "IfPossible" => false,
            "Enabled" if read_only => true,
            other => {
                return Err(format!("{}.recursiveReadOnly: \"{other}\" cannot be", mount.path()));
            }
        };
        let volume = volumes.get(&name);
        let volume =
            volume.ok_or_else(|| format!("{}: there is no volume \"{name}\"", mount.path()))?;
        let placed = Placed { path, below, read_only, recursive, propagation };
        placed.add(volume, &mut all).map_err(|why| format!("{}: {why}", mount.path()))?;
        mount.finish()
    })?;
    Ok(all)
}

/// Where a volume goes.
struct Placed {
    path: String,
    below: String,
    read_only: bool,
    recursive: bool,
    propagation: &'static str,
}

impl Placed {
    fn add(&self, volume: &Volume, all: &mut Mounted) -> Result<(), String> {
        let Placed { path, below, .. } = self;
        match volume {
            Volume::Named(source) => all.mounts.push(self.of_volume(source, self.read_only)),
            Volume::ReadOnly(source) => all.mounts.push(self.of_volume(source, true)),
            Volume::Host(source, must_be) => {
                let below = match below.as_str() {
                    "" => source.clone(),
                    below => format!("{}/{below}", source.trim_end_matches('/')),
                };
                if *must_be || self.recursive || below.contains(':') {
                    all.mounts.push(self.of_place(&below));
                } else {
                    let mut options = vec![if self.read_only { "ro" } else { "rw" }];
                    options.extend((!self.propagation.is_empty()).then_some(self.propagation));
                    all.binds.push(format!("{below}:{path}:{}", options.join(",")));
                }
            }
            Volume::Memory(_) if !below.is_empty() => {
                return Err("subPath cannot be of a volume in memory".to_owned());
            }
            Volume::Memory(size) => {
                let size = quantity(size).map(|size| format!("size={size}"));
                let options: Vec<String> =
                    self.read_only.then(|| "ro".to_owned()).into_iter().chain(size).collect();
                all.tmpfs[path] = json!(options.join(","));
            }
            Volume::Image(source) => {
                let mut mount =
                    json!({ "Type": "image", "Source": source, "Target": path, "ReadOnly": true });
                if !below.is_empty() {
                    mount["ImageOptions"] = json!({ "Subpath": below });
                }
                all.mounts.push(mount);
            }
        }
        Ok(())
    }

    fn of_volume(&self, source: &str, read_only: bool) -> Value {
        let mut mount = json!({ "Type": "volume", "Source": source, "Target": self.path });
        if read_only {
            mount["ReadOnly"] = json!(true);
        }
        // A cluster hides what the image has there.
        mount["VolumeOptions"] = json!({ "NoCopy": true });
        if !self.below.is_empty() {
            mount["VolumeOptions"]["Subpath"] = json!(self.below);
        }
        mount
    }

    fn of_place(&self, source: &str) -> Value {
        let mut options = json!({});
        if !self.propagation.is_empty() {
            options["Propagation"] = json!(self.propagation);
        }
        if self.recursive {
            options["ReadOnlyForceRecursive"] = json!(true);
        }
        json!({
            "Type": "bind", "Source": source, "Target": self.path,
            "ReadOnly": self.read_only, "BindOptions": options,
        })
    }
}

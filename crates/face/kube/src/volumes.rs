//! Volumes of a pod.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    env::Values,
    fields::{self, Field},
    manifest::Source,
    reader::Reader,
    settings::quantity,
};

/// Bits of a file of a ConfigMap or Secret, where it says nothing.
const MODE: i64 = 0o644;

/// What a volume can be.
const KINDS: &str = "configMap, downwardAPI, emptyDir, hostPath, image, persistentVolumeClaim, projected and secret";

/// What a volume of a pod is on this machine.
#[derive(Debug)]
pub(crate) enum Volume {
    Named(String),
    /// Files of others: nobody in the pod writes to them.
    ReadOnly(String),
    /// A place of this machine; it must be there already.
    Host(String, bool),
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
}

/// What is to be done for the volumes of a pod.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// Volumes that are the pod's alone.
    pub(crate) own: Vec<String>,
    pub(crate) fills: Vec<Fill>,
    pub(crate) claims: Vec<String>,
    /// Those of them that are in memory, and how they are mounted.
    pub(crate) memory: Vec<(String, String)>,
    /// Images that are mounted, and how they are pulled.
    pub(crate) images: Vec<(String, String)>,
    /// Places of this machine that must be of a kind.
    pub(crate) places: Vec<(String, String)>,
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
        empty(&mut volume, own, values, work)?
    } else {
        // One that does not say what it is, is empty; it may say what is not known here.
        return match volume.finish() {
            Ok(()) => {
                work.own.push(own.clone());
                Ok((name, Volume::Named(own)))
            }
            Err(why) => Err(format!("{why}: {KINDS} are")),
        };
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
fn empty(
    volume: &mut Reader<'_>,
    own: String,
    values: Values<'_>,
    work: &mut Work,
) -> Result<Volume, String> {
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
        "Memory" => work.memory.push((own.clone(), in_memory(values, &size))),
        "" => {}
        other => {
            return Err(format!("{}.emptyDir.medium: \"{other}\" is not supported", volume.path()));
        }
    }
    work.own.push(own.clone());
    Ok(Volume::Named(own))
}

/// Options of a file system in memory, which everybody in the pod may write to.
fn in_memory(values: Values<'_>, size: &str) -> String {
    let mut options = match values.group() {
        Some(group) => format!("mode=2777,gid={group}"),
        None => "mode=0777".to_owned(),
    };
    if let Some(size) = quantity(size) {
        options.push_str(&format!(",size={size}"));
    }
    options
}

/// A volume of the pod's own with these files.
fn filled(own: String, files: Vec<PutFile>, work: &mut Work) -> Volume {
    work.own.push(own.clone());
    work.fills.push(Fill { volume: own.clone(), files });
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
        let of_pod = fields::of_pod(&mut item, values.pod)?;
        let content = match of_pod.or(fields::of_resources(&mut item, values.pod, "")?) {
            Some(Field::Known(text)) => text,
            Some(Field::Late(field)) => {
                let why = "is known when the pod runs, and cannot be in a file here";
                return Err(format!("{}: {field} {why}", item.path()));
            }
            None => return Err(format!("{}: it is not said what is in it", item.path())),
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
pub(crate) fn relative(path: &str) -> Result<String, String> {
    if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(format!("\"{path}\" is no path below a volume"));
    }
    Ok(path.to_owned())
}

//! Where containers have the volumes of their pod.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    env::expanded,
    fields,
    reader::Reader,
    volumes::{Volume, relative},
};

/// What a container mounts, by the ways in which it comes there.
#[derive(Debug, Default)]
pub(crate) struct Mounted {
    pub(crate) binds: Vec<String>,
    pub(crate) mounts: Vec<Value>,
}

/// Reads what a container mounts; `env` is for `subPathExpr`.
pub(crate) fn mounts(
    reader: &mut Reader<'_>,
    volumes: &BTreeMap<String, Volume>,
    env: &[String],
) -> Result<Mounted, String> {
    let mut all = Mounted::default();
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
        if !fields::late_in(&below).is_empty() {
            let why = "is known when the pod runs, and cannot be part of a path here";
            return Err(format!(
                "{}.subPathExpr: {} {why}",
                mount.path(),
                fields::late_in(&below)[0]
            ));
        }
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
        placed.add(volume, &mut all);
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
    fn add(&self, volume: &Volume, all: &mut Mounted) {
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
            Volume::Image(source) => {
                let mut mount =
                    json!({ "Type": "image", "Source": source, "Target": path, "ReadOnly": true });
                if !below.is_empty() {
                    mount["ImageOptions"] = json!({ "Subpath": below });
                }
                all.mounts.push(mount);
            }
        }
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

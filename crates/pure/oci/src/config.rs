//! Image configurations (image-spec `config.md`, and Docker's additions to it).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    Digest,
    manifest::{MAX_MANIFEST, ParseError},
};

/// An image's configuration. Its digest is the image's id, so its exact bytes are kept beside; this is for reading.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// `amd64`, …
    pub architecture: String,
    /// `linux`, …
    pub os: String,
    /// Version, for Windows.
    #[serde(rename = "os.version", skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// `v8`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// What containers inherit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ContainerDefaults>,
    /// The layers.
    #[serde(deserialize_with = "null_default")]
    pub rootfs: RootFs,
    /// What was done, bottom first.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_default")]
    pub history: Vec<History>,
    /// The comment of an import or commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Version of the program that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docker_version: Option<String>,
}

/// What containers inherit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerDefaults {
    /// `user[:group]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `80/tcp`, …
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "set",
        serialize_with = "as_set"
    )]
    pub exposed_ports: Option<BTreeSet<String>>,
    /// `NAME=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env: Option<Vec<String>>,
    /// Entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// Command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Paths that get a volume.
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "set",
        serialize_with = "as_set"
    )]
    pub volumes: Option<BTreeSet<String>>,
    /// Working directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Signal that stops it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// The command is one string already (Windows).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args_escaped: Option<bool>,
    /// Health check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthDefaults>,
    /// Triggers of images built on this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_build: Option<Vec<String>>,
    /// Shell of the shell form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
}

/// A health check's definition; nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthDefaults {
    /// `["CMD", …]`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<Vec<String>>,
    /// Between probes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// For one probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Failures do not count so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between probes in that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures until unhealthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Digests of the uncompressed layers, bottom first.
    #[serde(deserialize_with = "null_default")]
    pub diff_ids: Vec<Digest>,
}

impl Default for RootFs {
    fn default() -> Self {
        RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// A step of an image's making.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// It made no layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub empty_layer: Option<bool>,
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ParseError`].
    pub fn parse(bytes: &[u8]) -> Result<ImageConfig, ParseError> {
        if bytes.len() > MAX_MANIFEST {
            return Err(ParseError::TooLarge(bytes.len()));
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// `null` where Go writes an empty list.
fn null_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Go's `map[string]struct{}`: `{"80/tcp": {}}`.
fn set<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeSet<String>>, D::Error> {
    let map: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(deserializer)?;
    Ok(map.map(|map| map.into_keys().collect()))
}

#[expect(clippy::ref_option, reason = "serde hands out a reference to the field")]
fn as_set<S: serde::Serializer>(
    set: &Option<BTreeSet<String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Empty {}
    serializer.collect_map(set.iter().flatten().map(|key| (key, Empty {})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_docker_configuration() {
        let json = br#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":null,
            "ExposedPorts":{"80/tcp":{}},"Volumes":{"/data":{}},"Labels":null,"OnBuild":null},
            "rootfs":{"type":"layers","diff_ids":null},"history":null,"container":"x"}"#;
        let config = ImageConfig::parse(json).unwrap();
        let defaults = config.config.unwrap();
        assert_eq!(defaults.exposed_ports.unwrap().into_iter().collect::<Vec<_>>(), ["80/tcp"]);
        assert_eq!(defaults.cmd, None);
        assert!(config.rootfs.diff_ids.is_empty());
    }

    #[test]
    fn sets_are_written_as_go_does() {
        let defaults = ContainerDefaults {
            volumes: Some(["/data".to_owned()].into()),
            ..ContainerDefaults::default()
        };
        assert_eq!(serde_json::to_string(&defaults).unwrap(), r#"{"Volumes":{"/data":{}}}"#);
    }
}

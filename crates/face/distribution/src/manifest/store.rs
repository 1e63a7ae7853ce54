//! Manifests that are on their way into a list: files in docker's own directory and form, so that docker goes on with ours and we with
//! docker's.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use ferry_cli::face::CliError;
use ferry_oci::{Descriptor, Digest, Manifest, Reference, media};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Larger files are none of ours: a manifest in base64, and once more as JSON.
const MAX_FILE: u64 = 16 << 20;

/// `<configuration>/manifests/<list>/<manifest>`.
#[derive(Debug)]
pub(super) struct Store(PathBuf);

/// A manifest of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Kept {
    /// Its complete name.
    #[serde(rename = "Ref")]
    pub(super) name: String,
    /// What the list will say of it.
    pub(super) descriptor: Descriptor,
    /// Its bytes, in base64.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) raw: String,
    /// The same, read, for people.
    #[serde(rename = "SchemaV2Manifest", default, skip_serializing_if = "Option::is_none")]
    pub(super) docker: Option<Value>,
    #[serde(rename = "OCIManifest", default, skip_serializing_if = "Option::is_none")]
    pub(super) oci: Option<Value>,
}

impl Kept {
    /// A manifest as a registry gave it.
    pub(super) fn new(name: &Reference, descriptor: Descriptor, json: &[u8]) -> Kept {
        let value: Option<Value> = serde_json::from_slice(json).ok();
        let oci = descriptor.media_type == media::OCI_MANIFEST;
        let (docker, oci) = if oci { (None, value) } else { (value, None) };
        Kept { name: name.canonical(), descriptor, raw: STANDARD.encode(json), docker, oci }
    }

    /// Its bytes, if they are those of its digest.
    pub(super) fn json(&self) -> Result<Bytes, CliError> {
        let json = STANDARD.decode(&self.raw).unwrap_or_default();
        if Digest::sha256_of(&json) == self.descriptor.digest {
            return Ok(json.into());
        }
        Err(CliError::new(format!("{} has no payload", self.name))
            .with_hint("remove the list with 'manifest rm', and create it again"))
    }

    /// What it refers to: configuration and layers.
    pub(super) fn blobs(&self) -> Result<Vec<Descriptor>, CliError> {
        let manifest: Manifest = serde_json::from_slice(&self.json()?)
            .map_err(|error| CliError::new(format!("{} does not read: {error}", self.name)))?;
        Ok(std::iter::once(manifest.config).chain(manifest.layers).collect())
    }

    pub(super) fn reference(&self) -> Result<Reference, CliError> {
        Reference::parse(&self.name).map_err(|error| CliError::new(error.to_string()))
    }
}

impl Store {
    /// Below a directory of configuration.
    pub(super) fn new(configuration: &Path) -> Store {
        Store(configuration.join("manifests"))
    }

    /// The manifests of a list, in the order of their names; `None` when there is no such list.
    pub(super) fn list(&self, list: &Reference) -> Result<Option<Vec<Kept>>, CliError> {
        let directory = self.0.join(file_name(list));
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(failed("read", &directory))?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.map_err(failed("read", &directory))?.path());
        }
        paths.sort();
        paths.iter().map(|path| read(path)).collect::<Result<_, _>>().map(Some)
    }

    /// One manifest of a list.
    pub(super) fn get(
        &self,
        list: &Reference,
        manifest: &Reference,
    ) -> Result<Option<Kept>, CliError> {
        let path = self.0.join(file_name(list)).join(file_name(manifest));
        if path.is_file() { read(&path).map(Some) } else { Ok(None) }
    }

    /// Keeps a manifest of a list, all of it or nothing.
    pub(super) fn save(
        &self,
        list: &Reference,
        manifest: &Reference,
        kept: &Kept,
    ) -> Result<(), CliError> {
        let directory = self.0.join(file_name(list));
        fs::create_dir_all(&directory).map_err(failed("make directory", &directory))?;
        let path = directory.join(file_name(manifest));
        let text = serde_json::to_vec(kept)
            .map_err(|error| CliError::new(format!("cannot write the manifest: {error}")))?;
        // Beside the list's directory: what is in it is a manifest.
        let temporary = self.0.join(format!(".{}", std::process::id()));
        fs::write(&temporary, text).map_err(failed("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(failed("write", &path))
    }

    /// Forgets a list.
    pub(super) fn remove(&self, list: &Reference) -> Result<(), CliError> {
        let directory = self.0.join(file_name(list));
        fs::remove_dir_all(&directory).map_err(failed("remove", &directory))
    }
}

fn read(path: &Path) -> Result<Kept, CliError> {
    let size = fs::metadata(path).map_err(failed("read", path))?.len();
    if size > MAX_FILE {
        return Err(CliError::new(format!("{} is too large for a manifest", path.display())));
    }
    let bytes = fs::read(path).map_err(failed("read", path))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| CliError::new(format!("{} does not read: {error}", path.display())))
}

/// A complete name as docker makes a file's name of it. Names have neither dots at their beginning nor empty parts.
fn file_name(name: &Reference) -> String {
    name.canonical().replace(':', "-").replace('/', "_")
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CliError {
    let path = path.to_owned();
    move |error| CliError::new(format!("cannot {doing} {}: {error}", path.display()))
}

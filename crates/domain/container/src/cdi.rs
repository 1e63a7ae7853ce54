//! Devices by name: the Container Device Interface 0.x and 1.0 (cncf-tags/container-device-interface `SPEC.md`).
//!
//! Vendors put files that say what a container needs for a device: nodes, mounts, environment, hooks. Here they are read and put into
//! a specification; which files there are is the engine's business.

mod edits;
mod yaml;

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Kinded};
use ferry_model::container::DeviceRequest;
use ferry_oci::runtime::Spec;
use serde::Deserialize;

use edits::apply;
pub use edits::{DeviceNode, Edits, Hook, Mount, NodeLookup};

/// Largest file that is read, in bytes.
pub const MAX_CDI_FILE: u64 = 8 << 20;

/// What a GPU is called when nobody names a vendor.
const GPU_KINDS: [&str; 2] = ["nvidia.com/gpu", "amd.com/gpu"];

/// A file of a vendor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiFile {
    /// `0.3.0` to `1.0.0`.
    pub cdi_version: String,
    /// `vendor.com/class`.
    pub kind: String,
    /// Free text.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// Devices.
    #[serde(default)]
    pub devices: Vec<CdiDevice>,
    /// What every one of them needs.
    #[serde(default)]
    pub container_edits: Edits,
}

/// A device of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CdiDevice {
    /// Its name after the `=`.
    pub name: String,
    /// Free text.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// What it needs.
    pub container_edits: Edits,
}

/// A file that is none of CDI's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdiFileError {
    /// Neither JSON nor YAML of the right shape.
    #[error("{0}")]
    Shape(String),
    /// A newer version than this knows.
    #[error("version {0} of CDI is not known")]
    Version(String),
    /// `kind` is not `vendor/class`.
    #[error("invalid kind {0:?}")]
    Kind(String),
    /// A device's name does not read.
    #[error("invalid device name {0:?}")]
    Device(String),
    /// Something that this engine cannot do for a container.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// A container asks for devices that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdiError {
    /// No file names them. Docker's words.
    #[error("CDI device injection failed: unresolvable CDI devices {0}")]
    Unresolvable(String),
    /// No driver for a request. Docker's words.
    #[error("could not select device driver \"{driver}\" with capabilities: {capabilities}")]
    Driver {
        /// The driver that was asked for.
        driver: String,
        /// As Go prints them.
        capabilities: String,
    },
    /// A node of the device is not on this machine.
    #[error("CDI device injection failed: failed to inject devices: {0}")]
    Node(String),
}

impl Kinded for CdiError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Reads a file: JSON, which is YAML, or YAML.
///
/// # Errors
/// It is not CDI's, or wants what this engine does not do.
pub fn read_cdi(text: &str) -> Result<CdiFile, CdiFileError> {
    let value = yaml::parse(text).map_err(CdiFileError::Shape)?;
    let file: CdiFile =
        serde_json::from_value(value).map_err(|error| CdiFileError::Shape(error.to_string()))?;
    let known = |version: &str| {
        let mut parts = version.split('.').map(str::parse::<u32>);
        matches!(
            (parts.next(), parts.next()),
            (Some(Ok(0)), Some(Ok(3..=9))) | (Some(Ok(1)), Some(Ok(0)))
        )
    };
    if !known(&file.cdi_version) {
        return Err(CdiFileError::Version(file.cdi_version));
    }
    if file
        .kind
        .split_once('/')
        .is_none_or(|(vendor, class)| !word(vendor, "_-.") || !word(class, "_-"))
    {
        return Err(CdiFileError::Kind(file.kind));
    }
    let named = |name: &str| {
        name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
    };
    if let Some(device) = file.devices.iter().find(|device| !named(&device.name)) {
        return Err(CdiFileError::Device(device.name.clone()));
    }
    let all = file.devices.iter().map(|device| &device.container_edits);
    for edits in all.chain([&file.container_edits]) {
        edits.check()?;
    }
    Ok(file)
}

fn word(text: &str, extra: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

/// All files, later directories before earlier ones: `(directory's rank, file)`.
#[derive(Debug, Clone, Default)]
pub struct CdiRegistry {
    files: Vec<(usize, CdiFile)>,
}

impl CdiRegistry {
    /// Takes files with the rank of their directory: the higher wins.
    pub fn new(files: Vec<(usize, CdiFile)>) -> CdiRegistry {
        CdiRegistry { files }
    }

    /// The qualified names of all devices, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .files
            .iter()
            .flat_map(|(_, file)| {
                file.devices.iter().map(|device| format!("{}={}", file.kind, device.name))
            })
            .filter(|name| self.find(name).is_some())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// The file and the device of a qualified name. Two of one rank contradict each other: then there is none.
    fn find(&self, name: &str) -> Option<(usize, &CdiDevice)> {
        let (kind, device) = name.split_once('=')?;
        let mut found: Option<(usize, usize, &CdiDevice)> = None;
        let mut twice = false;
        for (index, (rank, file)) in self.files.iter().enumerate() {
            let known = file.devices.iter().find(|known| file.kind == kind && known.name == device);
            let Some(known) = known else { continue };
            match found {
                Some((best, ..)) if *rank < best => {}
                Some((best, ..)) if *rank == best => twice = true,
                _ => {
                    twice = false;
                    found = Some((*rank, index, known));
                }
            }
        }
        found.filter(|_| !twice).map(|(_, index, device)| (index, device))
    }

    /// The qualified names that requests ask for.
    ///
    /// # Errors
    /// No driver of this engine meets a request.
    pub fn resolve(&self, requests: &[DeviceRequest]) -> Result<Vec<String>, CdiError> {
        let mut names = Vec::new();
        for request in requests {
            if request.driver == "cdi" {
                names.extend(request.device_ids.iter().cloned());
            } else {
                names.extend(self.graphics(request)?);
            }
        }
        Ok(names)
    }

    /// `--gpus`, through the files of the vendor.
    fn graphics(&self, request: &DeviceRequest) -> Result<Vec<String>, CdiError> {
        let refuse = || {
            let sets: Vec<String> =
                request.capabilities.iter().map(|set| format!("[{}]", set.join(" "))).collect();
            CdiError::Driver {
                driver: request.driver.clone(),
                capabilities: format!("[{}]", sets.join(" ")),
            }
        };
        let wants_gpu = request.capabilities.iter().any(|set| set.iter().any(|name| name == "gpu"));
        let kind = GPU_KINDS
            .into_iter()
            .filter(|kind| {
                request.driver.is_empty() || kind.starts_with(&format!("{}.", request.driver))
            })
            .find(|kind| self.files.iter().any(|(_, file)| file.kind == *kind))
            .filter(|_| wants_gpu)
            .ok_or_else(refuse)?;
        if !request.device_ids.is_empty() {
            return Ok(request.device_ids.iter().map(|id| format!("{kind}={id}")).collect());
        }
        if request.count >= 0 {
            return Ok((0..request.count).map(|number| format!("{kind}={number}")).collect());
        }
        let all = format!("{kind}=all");
        if self.find(&all).is_some() {
            return Ok(vec![all]);
        }
        let prefix = format!("{kind}=");
        Ok(self.names().into_iter().filter(|name| name.starts_with(&prefix)).collect())
    }

    /// Puts devices into a specification.
    ///
    /// # Errors
    /// One of them is not known, or a node of it is not there.
    pub fn inject(
        &self,
        names: &[String],
        spec: &mut Spec,
        node: NodeLookup<'_>,
    ) -> Result<(), CdiError> {
        let unknown: Vec<&str> =
            names.iter().filter(|name| self.find(name).is_none()).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(CdiError::Unresolvable(unknown.join(", ")));
        }
        let mut files = Vec::new();
        for (index, device) in names.iter().filter_map(|name| self.find(name)) {
            if !files.contains(&index) {
                files.push(index);
                apply(&self.files[index].1.container_edits, spec, node).map_err(CdiError::Node)?;
            }
            apply(&device.container_edits, spec, node).map_err(CdiError::Node)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

//! Volumes.

use std::collections::BTreeMap;

use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A volume of the `local` driver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// Its name; 64 hexadecimal digits when nobody gave one.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `local`.
    pub driver: String,
    /// Where its content is on the host.
    pub mountpoint: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Made for one container because nobody gave a name.
    pub anonymous: bool,
    /// What it was called before; its directory may still be, when a crash cut a renaming off.
    pub former_name: String,
    /// The number of its project on the file system, which has its quota; 0 is none.
    pub project: u32,
}

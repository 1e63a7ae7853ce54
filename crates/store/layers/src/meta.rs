//! `meta.json` of a layer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) const META: &str = "meta.json";
pub(crate) const SYNCED: &str = "synced";
const VERSION: u32 = 1;
/// Far more than the few numbers in it need.
const LARGEST: u64 = 64 << 10;

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) version: u32,
    pub(crate) tar_size: u64,
    pub(crate) files_size: u64,
    pub(crate) entries: u64,
    /// The kernel's boot during which the layer was ingested.
    pub(crate) boot_id: String,
}

impl Meta {
    pub(crate) fn new(applied: &ferry_archive::Applied, boot_id: &str) -> Self {
        Self {
            version: VERSION,
            tar_size: applied.tar_size,
            files_size: applied.unpacked.files_size,
            entries: applied.unpacked.entries,
            boot_id: boot_id.to_owned(),
        }
    }

    pub(crate) fn write(&self, layer: &Path) -> io::Result<()> {
        let mut file = File::create_new(layer.join(META))?;
        file.write_all(&serde_json::to_vec(self)?)
    }

    pub(crate) fn read(layer: &Path) -> io::Result<Self> {
        let mut text = Vec::new();
        File::open(layer.join(META))?.take(LARGEST).read_to_end(&mut text)?;
        let meta: Self = serde_json::from_slice(&text)?;
        if meta.version != VERSION {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "unknown layer version"));
        }
        Ok(meta)
    }
}

/// Identifies this boot of the kernel: what an earlier boot left unsynced may be torn.
pub(crate) fn boot_id() -> io::Result<String> {
    let mut id = String::new();
    File::open("/proc/sys/kernel/random/boot_id")?.take(64).read_to_string(&mut id)?;
    Ok(id.trim_end().to_owned())
}

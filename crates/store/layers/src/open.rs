//! Opening the store: who is here, who cannot be trusted, what is left over.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ferry_oci::Digest;
use rustix::fs::IFlags;

use crate::error::OpenStoreError;
use crate::meta::{Meta, SYNCED, boot_id};
use crate::scratch::{PREFIX, Scratch};
use crate::store::{Known, LayerStore};

impl LayerStore {
    /// Opens the store, makes it where it is missing, drops what an unclean end left (see the crate's head) and
    /// sweeps leftovers in the background. One process at a time: the caller holds the data root's lock.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, OpenStoreError> {
        let root = root.into();
        let failed = |source| OpenStoreError::Open { path: root.clone(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(&root).map_err(failed)?;
        spread_layers(&root);
        let boot_id = boot_id().map_err(OpenStoreError::BootId)?;
        let (mut layers, mut leftovers) = (BTreeMap::new(), Vec::new());
        for entry in std::fs::read_dir(&root).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(PREFIX) {
                leftovers.push(name);
                continue;
            }
            let Ok(diff_id) = format!("sha256:{name}").parse::<Digest>() else { continue };
            if let Some(known) = examine(&entry.path(), &diff_id, &boot_id) {
                layers.insert(diff_id, known);
            } else {
                // Out of the way at once, so that the layer can be ingested again; gone a little later.
                leftovers.push(Scratch::take(&root, &name).map_err(failed)?.abandon());
            }
        }
        sweep(&root, leftovers);
        Ok(Self::with(root, boot_id, layers))
    }
}

/// Whether the layer can be trusted.
fn examine(path: &Path, diff_id: &Digest, boot_id: &str) -> Option<Known> {
    let meta = match Meta::read(path) {
        Ok(meta) => meta,
        Err(error) => {
            tracing::warn!(%diff_id, %error, "dropping a layer whose record cannot be read");
            return None;
        }
    };
    let synced = path.join(SYNCED).exists();
    if !synced && meta.boot_id != boot_id {
        tracing::warn!(%diff_id, "dropping a layer that was not synced before the machine went down");
        return None;
    }
    Some(Known::new(diff_id.clone(), &meta, synced))
}

/// Asks ext4 to place each layer in a block group of its own. Layers are unrelated trees, which is what the flag
/// says; and without a journal ext4 searches for a long time (0.3 ms a file measured) where many inodes were
/// removed in the last minutes, as after the removal of an image. Other file systems do not know the flag.
fn spread_layers(root: &Path) {
    let Ok(directory) = File::open(root) else { return };
    if let Ok(flags) = rustix::fs::ioctl_getflags(&directory)
        && !flags.contains(IFlags::TOPDIR)
        && let Err(error) = rustix::fs::ioctl_setflags(&directory, flags | IFlags::TOPDIR)
    {
        tracing::debug!(%error, "the file system does not spread directories on demand");
    }
}

/// Removes leftovers beside the caller's work: there may be gigabytes of them.
fn sweep(root: &Path, leftovers: Vec<String>) {
    if leftovers.is_empty() {
        return;
    }
    let root = root.to_owned();
    let work = move || {
        let Ok(directory) = File::open(&root) else { return };
        for name in leftovers {
            let removed = ferry_archive::remove_tree(directory.as_fd(), name.as_bytes());
            if let Err(error) = removed {
                tracing::warn!(name, %error, "cannot sweep the leftover of a layer");
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("sweep".into()).spawn(work) {
        tracing::warn!(%error, "cannot start a thread to sweep leftovers");
    }
}

//! The store and what can be asked of it.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ferry_archive::{DIFF, RecipeReader};
use ferry_oci::Digest;

use crate::error::{OpenTarError, RemoveError, SyncError, UnknownLayer, VerifyError};
use crate::meta::{Meta, SYNCED};
use crate::scratch::Scratch;
use crate::tar::LayerTar;

/// Layers on disk. Shareable between threads; every method blocks on the disk only as long as its own layer takes.
#[derive(Debug)]
pub struct LayerStore {
    pub(crate) root: PathBuf,
    pub(crate) boot_id: String,
    layers: Mutex<BTreeMap<Digest, Known>>,
}

/// One layer of the store. As long as somebody has what [`LayerStore::ingest`] or [`LayerStore::get`] answered, it is not removed: time
/// to say elsewhere that it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// SHA-256 of its uncompressed tar.
    pub diff_id: Digest,
    /// Length of that tar.
    pub tar_size: u64,
    /// Sum of its file sizes: what Docker calls the size of a layer.
    pub size: u64,
    /// Entries in the tar.
    pub entries: u64,
    /// Counts who has it; the store's own is one.
    pin: Arc<()>,
}

#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) layer: Layer,
    pub(crate) synced: bool,
}

impl Known {
    pub(crate) fn new(diff_id: Digest, meta: &Meta, synced: bool) -> Self {
        let layer = Layer {
            diff_id,
            tar_size: meta.tar_size,
            size: meta.files_size,
            entries: meta.entries,
            pin: Arc::default(),
        };
        Self { layer, synced }
    }
}

/// A layer that is in the store no more. Its files go when this is dropped.
#[derive(Debug)]
pub struct Detached {
    diff_id: Digest,
    scratch: Scratch,
}

impl Detached {
    /// Removes the files, and says whether that worked.
    ///
    /// # Errors
    /// The disk fails: the rest goes when the store is opened next.
    pub fn remove(self) -> Result<(), RemoveError> {
        let Detached { diff_id, scratch } = self;
        scratch.remove().map_err(|source| RemoveError::Remove { diff_id, source })
    }
}

impl LayerStore {
    pub(crate) fn with(root: PathBuf, boot_id: String, layers: BTreeMap<Digest, Known>) -> Self {
        Self { root, boot_id, layers: Mutex::new(layers) }
    }

    /// The layer, if it is here.
    pub fn get(&self, diff_id: &Digest) -> Option<Layer> {
        self.known().get(diff_id).map(|known| known.layer.clone())
    }

    /// Whether the layer is here.
    pub fn contains(&self, diff_id: &Digest) -> bool {
        self.known().contains_key(diff_id)
    }

    /// The layer's size as Docker counts it, if it is here.
    pub fn size(&self, diff_id: &Digest) -> Option<u64> {
        self.known().get(diff_id).map(|known| known.layer.size)
    }

    /// All layers, ordered by digest. To have these keeps none of them.
    pub fn list(&self) -> Vec<Layer> {
        let loose = |known: &Known| Layer { pin: Arc::default(), ..known.layer.clone() };
        self.known().values().map(loose).collect()
    }

    /// Lower directories for overlayfs, the topmost first, of layers given as an image configuration lists
    /// them: the bottom first. One that is in an image twice (two steps that did the same, or nothing) is there once, at its
    /// upper place, where it hides its lower one whole; overlayfs takes no directory twice.
    pub fn lower_dirs(&self, diff_ids: &[Digest]) -> Result<Vec<PathBuf>, UnknownLayer> {
        let known = self.known();
        let mut directories = Vec::with_capacity(diff_ids.len());
        let mut seen = HashSet::with_capacity(diff_ids.len());
        for diff_id in diff_ids.iter().rev() {
            if !seen.insert(diff_id) {
                continue;
            }
            if !known.contains_key(diff_id) {
                return Err(UnknownLayer { diff_id: diff_id.clone() });
            }
            directories.push(self.path(diff_id).join(DIFF));
        }
        Ok(directories)
    }

    /// The exact tar that the layer came from, uncompressed. Read it with large buffers (256 KiB). Accidental
    /// damage is found on the way (CRC-32 of each file); [`LayerStore::verify`] goes further.
    pub fn tar(&self, diff_id: &Digest) -> Result<LayerTar, OpenTarError> {
        self.reader(diff_id).map(|(reader, length)| LayerTar::new(reader, length))
    }

    /// Reads the whole layer and checks that recipe and files still make the tar of its digest.
    pub fn verify(&self, diff_id: &Digest) -> Result<(), VerifyError> {
        let mut tar = self.reader(diff_id)?.0.strict();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match std::io::Read::read(&mut tar, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(source) => {
                    return Err(VerifyError::Damaged { diff_id: diff_id.clone(), source });
                }
            }
        }
    }

    /// Makes every layer committed so far survive a power cut. Call it once for all layers of an image, before
    /// the image is recorded.
    pub fn sync(&self) -> Result<(), SyncError> {
        let unsynced: Vec<Digest> = {
            let known = self.known();
            known
                .values()
                .filter(|known| !known.synced)
                .map(|it| it.layer.diff_id.clone())
                .collect()
        };
        if unsynced.is_empty() {
            return Ok(());
        }
        let root = File::open(&self.root).map_err(SyncError::Flush)?;
        let flush = || rustix::fs::syncfs(&root).map_err(|error| SyncError::Flush(error.into()));
        flush()?;
        let mut marked = Vec::with_capacity(unsynced.len());
        for diff_id in unsynced {
            match File::create(self.path(&diff_id).join(SYNCED)) {
                Ok(_) => marked.push(diff_id),
                // Removed in the meantime: nothing to mark.
                Err(_) if !self.contains(&diff_id) => {}
                Err(source) => return Err(SyncError::Mark { diff_id, source }),
            }
        }
        // All marks in one go: a build has a layer for each step, and to sync them one by one took longer than the steps.
        flush()?;
        for diff_id in marked {
            if let Some(known) = self.known().get_mut(&diff_id) {
                known.synced = true;
            }
        }
        Ok(())
    }

    /// Removes a layer. The caller knows that no image and no container uses it. A crash on the way leaves
    /// either the whole layer or a leftover for the next sweep.
    pub fn remove(&self, diff_id: &Digest) -> Result<(), RemoveError> {
        self.detach(diff_id)?.remove()
    }

    /// Takes a layer out of the store, which is quick; its files are there until [`Detached::remove`].
    ///
    /// # Errors
    /// It is not there, somebody has its [`Layer`], or the disk fails.
    pub fn detach(&self, diff_id: &Digest) -> Result<Detached, RemoveError> {
        // Directory and map change together, or a layer ingested just now could be lost from one of them.
        let mut known = self.known();
        let Some(found) = known.get(diff_id) else {
            return Err(UnknownLayer { diff_id: diff_id.clone() }.into());
        };
        if Arc::strong_count(&found.layer.pin) > 1 {
            return Err(RemoveError::InUse { diff_id: diff_id.clone() });
        }
        let scratch = Scratch::take(&self.root, &diff_id.hex())
            .map_err(|source| RemoveError::Remove { diff_id: diff_id.clone(), source })?;
        known.remove(diff_id);
        Ok(Detached { diff_id: diff_id.clone(), scratch })
    }

    fn reader(&self, diff_id: &Digest) -> Result<(RecipeReader, u64), OpenTarError> {
        let layer = self.get(diff_id);
        let layer = layer.ok_or_else(|| UnknownLayer { diff_id: diff_id.clone() })?;
        let directory = File::open(self.path(diff_id))
            .map_err(|source| OpenTarError::OpenLayer { diff_id: diff_id.clone(), source })?;
        let reader = RecipeReader::open(directory.as_fd())
            .map_err(|source| OpenTarError::OpenRecipe { diff_id: diff_id.clone(), source })?;
        Ok((reader, layer.tar_size))
    }

    /// The directory of a layer, whether it is there or not.
    pub(crate) fn path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join(diff_id.hex())
    }

    /// Puts a finished layer in its place, unless another ingest of it was faster: its copy is as good.
    pub(crate) fn commit(
        &self,
        scratch: Scratch,
        diff_id: Digest,
        meta: &Meta,
    ) -> std::io::Result<Layer> {
        let (layer, spare) = {
            let mut known = self.known();
            let spare = scratch.commit(&diff_id.hex())?;
            let entry = known.entry(diff_id.clone());
            let known = entry.or_insert_with(|| Known::new(diff_id, meta, false));
            (known.layer.clone(), spare)
        };
        // There may be a million files in it: nobody waits for them. If the process ends before, the next one sweeps it.
        if let Some(spare) = spare {
            let discard = std::thread::Builder::new().name("discard".to_owned());
            discard.spawn(move || drop(spare)).ok();
        }
        Ok(layer)
    }

    /// A panic elsewhere cannot leave the map half changed, so a poisoned lock is as good as any.
    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, Known>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

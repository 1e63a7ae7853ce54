//! Images: which are here, what they are called, which may go.
//!
//! Knows: image records, names, digests, the rules of tagging and removing. Does not know: registries (`ferry-transfer`),
//! the bytes of layers (`ferry-layers`), containers (the engine tells who uses an image).
//! Start with [`ImageStore`], [`Users`], [`RemovalPlan`].
//!
//! Invariant: a name points at an image that is here; both are changed in one transaction.

mod attestations;
mod blobs;
mod error;
mod removal;
mod resolve;
#[cfg(test)]
mod tests;
mod variants;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, Table};
use ferry_model::image::Image;
use ferry_oci::{Digest, ImageConfig, Reference};
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

pub use attestations::Attestation;
pub use blobs::LayerBlob;
pub use error::ImageError;
pub use removal::{RemovalPlan, User, Users};

const IMAGES: Table<Image> = Table::new("image");
const NAMES: Table<Name> = Table::new("image_name");

/// What a name points at. Its key is the canonical reference: `docker.io/library/nginx:latest` or `…@sha256:…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Name {
    image: Digest,
    since: Timestamp,
}

/// All images of one data root. Reads are from memory; a change waits for the disk.
#[derive(Debug)]
pub struct ImageStore {
    db: Arc<Db>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    images: BTreeMap<Digest, Arc<Entry>>,
    names: BTreeMap<String, Name>,
    /// What stands beside the image of a name, or of an id.
    variants: BTreeMap<String, Vec<Digest>>,
}

/// An image with its configuration, parsed once.
#[derive(Debug)]
pub struct Entry {
    /// The record.
    pub image: Image,
    /// Its configuration.
    pub config: ImageConfig,
}

impl Entry {
    /// The diff ids of its layers, bottom first.
    pub fn layers(&self) -> &[Digest] {
        &self.config.rootfs.diff_ids
    }
}

/// An image and what it is called.
#[derive(Debug, Clone)]
pub struct Named {
    /// The image.
    pub entry: Arc<Entry>,
    /// Tagged names, familiar form, sorted.
    pub tags: Vec<String>,
    /// Names by digest, familiar form, sorted.
    pub digests: Vec<String>,
    /// When it last got a tag.
    pub last_tagged: Option<Timestamp>,
}

impl ImageStore {
    /// Reads all records.
    ///
    /// # Errors
    /// When a record cannot be read or an image's configuration is broken.
    pub fn open(db: Arc<Db>) -> Result<ImageStore, ImageError> {
        let record = |source| ImageError::Record { source };
        let mut state = State::default();
        for (_, image) in db.all(&IMAGES).map_err(record)? {
            state.images.insert(image.id.clone(), Arc::new(entry(image)?));
        }
        state.names = db.all(&NAMES).map_err(record)?.into_iter().collect();
        // A name whose image is gone can only come from a hand that edited the file: it must not make a start fail.
        let State { images, names, .. } = &mut state;
        names.retain(|_, name| images.contains_key(&name.image));
        state.variants = db.all(&variants::VARIANTS).map_err(record)?.into_iter().collect();
        Ok(ImageStore { db, state: Mutex::new(state) })
    }

    /// Keeps an image and lets `names` point at it, in one transaction. Names that pointed elsewhere move; the images that
    /// they leave stay, nameless. Its layers must be durable already.
    ///
    /// # Errors
    /// When the configuration is no image configuration or the disk fails.
    pub fn put(
        &self,
        image: Image,
        names: &[Reference],
        now: Timestamp,
    ) -> Result<Arc<Entry>, ImageError> {
        let new = Arc::new(entry(image)?);
        let mut state = self.lock();
        // The same image from another registry has another manifest; the one it came with first stays.
        let entry = state.images.get(&new.image.id).cloned().unwrap_or(new);
        let mut batch = Batch::new();
        let record = |source| ImageError::Record { source };
        batch.put(&IMAGES, &entry.image.id.to_string(), &entry.image).map_err(record)?;
        let name = Name { image: entry.image.id.clone(), since: now };
        for reference in names {
            batch.put(&NAMES, &reference.canonical(), &name).map_err(record)?;
            batch.delete(&variants::VARIANTS, &reference.canonical());
        }
        self.db.write(batch).map_err(record)?;
        state.images.insert(entry.image.id.clone(), Arc::clone(&entry));
        for reference in names {
            state.names.insert(reference.canonical(), name.clone());
            state.variants.remove(&reference.canonical());
        }
        Ok(entry)
    }

    /// The image that `name` means: a reference, an id, or the beginning of an id.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] with Docker's words, or an ambiguous beginning.
    pub fn get(&self, name: &str) -> Result<Named, ImageError> {
        let state = self.lock();
        let id = resolve::resolve(&state, name)?;
        state.named(&id).ok_or_else(|| ImageError::NotFound(name.to_owned()))
    }

    /// All images with their names, in no order that means anything; without those that only stand beside others.
    pub fn list(&self) -> Vec<Named> {
        let state = self.lock();
        let beside = state.beside();
        let own = state.images.keys().filter(|id| !beside.contains(id));
        own.filter_map(|id| state.named(id)).collect()
    }

    /// Lets `reference` point at the image that `name` means, and at what stands beside it there.
    ///
    /// # Errors
    /// When there is no such image or the disk fails.
    pub fn tag(
        &self,
        name: &str,
        reference: &Reference,
        now: Timestamp,
    ) -> Result<Digest, ImageError> {
        let mut state = self.lock();
        let image = resolve::resolve(&state, name)?;
        let record = |source| ImageError::Record { source };
        let others = state.variants.get(&resolve::key(&state, name, &image)).cloned();
        let (key, name) = (reference.canonical(), Name { image: image.clone(), since: now });
        let mut batch = Batch::new();
        batch.put(&NAMES, &key, &name).map_err(record)?;
        match &others {
            Some(others) => batch.put(&variants::VARIANTS, &key, others).map_err(record)?,
            None => batch.delete(&variants::VARIANTS, &key),
        }
        self.db.write(batch).map_err(record)?;
        match others {
            Some(others) => state.variants.insert(key.clone(), others),
            None => state.variants.remove(&key),
        };
        state.names.insert(key, name);
        Ok(image)
    }

    /// What `rmi name` would do, by Docker's rules, given who uses images.
    ///
    /// # Errors
    /// [`ImageError::Conflict`] with Docker's words where Docker refuses.
    pub fn plan_removal(
        &self,
        name: &str,
        force: bool,
        users: &Users,
    ) -> Result<RemovalPlan, ImageError> {
        let state = self.lock();
        let mut plan = removal::plan(&state, name, force, users)?;
        let mut keys = plan.keys.clone();
        keys.extend(plan.delete.then(|| plan.image.to_string()));
        plan.others = state.left_alone(&keys, users);
        plan.others.retain(|other| *other != plan.image);
        Ok(plan)
    }

    /// Does what was planned, in one transaction. Layers are not touched: see [`ImageStore::layers`].
    ///
    /// # Errors
    /// When the disk fails.
    pub fn remove(&self, plan: &RemovalPlan) -> Result<(), ImageError> {
        let mut state = self.lock();
        let mut batch = Batch::new();
        for key in &plan.keys {
            batch.delete(&NAMES, key);
            batch.delete(&variants::VARIANTS, key);
        }
        let gone: Vec<&Digest> =
            plan.delete.then_some(&plan.image).into_iter().chain(&plan.others).collect();
        for image in &gone {
            batch.delete(&IMAGES, &image.to_string());
            batch.delete(&attestations::ATTESTATIONS, &image.to_string());
            batch.delete(&variants::VARIANTS, &image.to_string());
        }
        self.db.write(batch).map_err(|source| ImageError::Record { source })?;
        for key in &plan.keys {
            state.names.remove(key);
            state.variants.remove(key);
        }
        for image in gone {
            state.images.remove(image);
            state.variants.remove(&image.to_string());
        }
        Ok(())
    }

    /// Every layer that an image here has.
    pub fn layers(&self) -> BTreeSet<Digest> {
        self.lock().images.values().flat_map(|entry| entry.layers().iter().cloned()).collect()
    }

    /// A panic while the lock was held leaves the maps as a whole insertion left them: the disk is written first.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn named(&self, id: &Digest) -> Option<Named> {
        let entry = Arc::clone(self.images.get(id)?);
        let mut named = Named { entry, tags: Vec::new(), digests: Vec::new(), last_tagged: None };
        for (key, name) in self.names.iter().filter(|(_, name)| name.image == *id) {
            let Ok(reference) = Reference::parse(key) else { continue };
            if reference.digest().is_some() {
                named.digests.push(reference.familiar());
            } else {
                named.tags.push(reference.familiar());
                named.last_tagged = named.last_tagged.max(Some(name.since));
            }
        }
        Some(named)
    }
}

fn entry(image: Image) -> Result<Entry, ImageError> {
    let config = ImageConfig::parse(image.config_json.as_bytes())
        .map_err(|source| ImageError::Config { id: image.id.clone(), source })?;
    Ok(Entry { image, config })
}

//! Images of several platforms under one name: what an index is at a registry. One of them has the name, the others stand beside it;
//! these are listed only where something else names them, and go with the last name that they stand beside.

use std::{collections::BTreeSet, sync::Arc};

use ferry_db::{Batch, Table};
use ferry_oci::{Digest, Reference};

use crate::{Entry, ImageError, ImageStore, State, Users};

/// By canonical name, and by the image's id for whoever goes by that.
pub(crate) const VARIANTS: Table<Vec<Digest>> = Table::new("image_variant");

impl ImageStore {
    /// Lets `others` stand beside an image, under its id and these names, instead of those that did before.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn put_variants(
        &self,
        image: &Digest,
        names: &[Reference],
        others: &[Digest],
    ) -> Result<(), ImageError> {
        let record = |source| ImageError::Record { source };
        let mut keys: Vec<String> = names.iter().map(Reference::canonical).collect();
        keys.push(image.to_string());
        let mut state = self.lock();
        // A name that moved on meanwhile, or an image that went, has nothing to stand beside.
        let is_of = |key: &String| match state.names.get(key) {
            Some(name) => name.image == *image,
            None => *key == image.to_string() && state.images.contains_key(image),
        };
        keys.retain(is_of);
        // Most images stand alone, now as before.
        keys.retain(|key| state.variants.get(key).map(Vec::as_slice).unwrap_or_default() != others);
        if keys.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for key in &keys {
            match others.is_empty() {
                true => batch.delete(&VARIANTS, key),
                false => batch.put(&VARIANTS, key, &others.to_vec()).map_err(record)?,
            }
        }
        self.db.write(batch).map_err(record)?;
        for key in keys {
            match others.is_empty() {
                true => state.variants.remove(&key),
                false => state.variants.insert(key, others.to_vec()),
            };
        }
        Ok(())
    }

    /// The images that stand beside the one of a canonical name or an id, in their order.
    pub fn variants(&self, key: &str) -> Vec<Arc<Entry>> {
        let state = self.lock();
        let others = state.variants.get(key).into_iter().flatten();
        others.filter_map(|id| state.images.get(id).cloned()).collect()
    }
}

impl State {
    /// Images that only stand beside others.
    pub(crate) fn beside(&self) -> BTreeSet<&Digest> {
        let named: BTreeSet<&Digest> = self.names.values().map(|name| &name.image).collect();
        self.variants.values().flatten().filter(|id| !named.contains(id)).collect()
    }

    /// The name, other than these, that has an image beside its own.
    pub(crate) fn has_beside(&self, image: &Digest, keys: &[String]) -> Option<&str> {
        let names = self.names.keys().filter(|key| !keys.contains(key));
        let mut names = names.map(String::as_str);
        names.find(|key| self.variants.get(*key).is_some_and(|others| others.contains(image)))
    }

    /// Those that nothing names any more once these keys are gone, and no container has.
    pub(crate) fn left_alone(&self, keys: &[String], users: &Users) -> Vec<Digest> {
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.variants.iter().partition(|(key, _)| keys.contains(key));
        let stays = |id: &Digest| {
            stay.iter().any(|(_, others)| others.contains(id))
                || self.names.iter().any(|(key, name)| name.image == *id && !keys.contains(key))
                || users.contains_key(id)
        };
        let gone: BTreeSet<&Digest> = gone.into_iter().flat_map(|(_, others)| others).collect();
        gone.into_iter().filter(|id| !stays(id)).cloned().collect()
    }
}

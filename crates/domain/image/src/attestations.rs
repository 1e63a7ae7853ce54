//! What is said of how an image was made, and of what is in it, beside the image itself.

use ferry_db::{Batch, Table};
use ferry_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{ImageError, ImageStore};

/// By image. Read where an image is exported, and not kept in memory.
pub(crate) const ATTESTATIONS: Table<Vec<Attestation>> = Table::new("image_attestation");

/// Something that is said of an image (an in-toto predicate).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// What sort of thing, as a URI.
    pub predicate_type: String,
    /// What is said: JSON.
    pub predicate: String,
}

impl ImageStore {
    /// What is said of an image.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn attestations(&self, image: &Digest) -> Result<Vec<Attestation>, ImageError> {
        let found = self.db.get(&ATTESTATIONS, &image.to_string());
        Ok(found.map_err(|source| ImageError::Record { source })?.unwrap_or_default())
    }

    /// Says something of an image that is here, or nothing, instead of what was said before.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn attest(&self, image: &Digest, said: Vec<Attestation>) -> Result<(), ImageError> {
        // Not while the image is being removed.
        let state = self.lock();
        if !state.images.contains_key(image) {
            return Ok(());
        }
        let record = |source| ImageError::Record { source };
        let mut batch = Batch::new();
        match said.is_empty() {
            true => batch.delete(&ATTESTATIONS, &image.to_string()),
            false => batch.put(&ATTESTATIONS, &image.to_string(), &said).map_err(record)?,
        }
        self.db.write(batch).map_err(record)
    }
}

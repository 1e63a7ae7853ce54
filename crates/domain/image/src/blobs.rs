//! Under which digests a layer is known to registries, so that a push can ask for it instead of sending it.

use ferry_db::{Batch, Table};
use ferry_oci::{Descriptor, Digest};
use serde::{Deserialize, Serialize};

use crate::{ImageError, ImageStore};

const BLOBS: Table<Vec<LayerBlob>> = Table::new("layer_blob");
/// Most blobs of a layer, and places of a blob, that are remembered.
const MAX_KEPT: usize = 8;

/// A blob that holds a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// Media type, digest, size.
    pub descriptor: Descriptor,
    /// Repositories that had it, with their registry, the latest first.
    pub places: Vec<String>,
}

impl ImageStore {
    /// The blobs that a layer is known to be, the latest first.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub fn blobs(&self, layer: &Digest) -> Result<Vec<LayerBlob>, ImageError> {
        let blobs = self.db.get(&BLOBS, &layer.to_string());
        Ok(blobs.map_err(|source| ImageError::Record { source })?.unwrap_or_default())
    }

    /// Remembers that layers are these blobs in `place`.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn note_blobs<'a>(
        &self,
        place: &str,
        blobs: impl Iterator<Item = (&'a Digest, Descriptor)>,
    ) -> Result<(), ImageError> {
        // Two at once would lose what one of them has noted.
        let _guard = self.lock();
        let record = |source| ImageError::Record { source };
        let mut batch = Batch::new();
        for (layer, descriptor) in blobs {
            let known = self.blobs(layer)?;
            let noted = noted(known.clone(), descriptor, place);
            if noted != known {
                batch.put(&BLOBS, &layer.to_string(), &noted).map_err(record)?;
            }
        }
        self.db.write(batch).map_err(record)
    }

    /// Forgets the blobs of layers that are gone.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget_blobs(&self, layers: &[Digest]) -> Result<(), ImageError> {
        let mut batch = Batch::new();
        for layer in layers {
            batch.delete(&BLOBS, &layer.to_string());
        }
        self.db.write(batch).map_err(|source| ImageError::Record { source })
    }
}

fn noted(mut known: Vec<LayerBlob>, descriptor: Descriptor, place: &str) -> Vec<LayerBlob> {
    let at = known.iter().position(|blob| blob.descriptor.digest == descriptor.digest);
    let mut places = at.map(|at| known.remove(at).places).unwrap_or_default();
    places.retain(|other| other != place);
    places.insert(0, place.to_owned());
    places.truncate(MAX_KEPT);
    known.insert(0, LayerBlob { descriptor, places });
    known.truncate(MAX_KEPT);
    known
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_latest_comes_first_and_nothing_grows_without_end() {
        let blob = |number: u64| Descriptor {
            media_type: "x".to_owned(),
            digest: Digest::sha256_of(&number.to_le_bytes()),
            size: number,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
            artifact_type: None,
        };
        let mut known = noted(Vec::new(), blob(1), "r/a");
        known = noted(known, blob(2), "r/a");
        known = noted(known, blob(1), "r/b");
        assert_eq!(known.len(), 2);
        assert_eq!(known[0].places, ["r/b", "r/a"]);
        for number in 0..100 {
            known = noted(known, blob(number), &format!("r/{number}"));
            known = noted(known, blob(7), &format!("r/{number}"));
        }
        assert_eq!((known.len(), known[0].places.len()), (MAX_KEPT, MAX_KEPT));
    }
}

//! The build cache: what a step made of an image. A record is of use as long as all layers of its image are there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_db::{Batch, Db, Table};
use ferry_errkind::Failure;
use ferry_layers::LayerStore;
use ferry_oci::{Digest, ImageConfig};
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

const STEPS: Table<Record> = Table::new("build_step");

/// Most steps that are remembered; those that were used last stay.
const MAX_RECORDS: usize = 4000;

/// The outcome of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    config_json: String,
    made: Timestamp,
    used: Timestamp,
}

#[derive(Debug, Clone)]
struct Known {
    record: Record,
    layers: Vec<Digest>,
}

/// All steps that are remembered. Reads are from memory.
#[derive(Debug)]
pub(crate) struct BuildCache {
    db: Arc<Db>,
    known: Mutex<BTreeMap<String, Known>>,
}

impl BuildCache {
    pub(crate) fn open(db: Arc<Db>) -> Result<BuildCache, Failure> {
        let mut known = BTreeMap::new();
        for (key, record) in db.all(&STEPS)? {
            // A record that does not read is a step that has to be done again.
            let Ok(config) = ImageConfig::parse(record.config_json.as_bytes()) else { continue };
            known.insert(key, Known { record, layers: config.rootfs.diff_ids });
        }
        Ok(BuildCache { db, known: Mutex::new(known) })
    }

    /// What the step made, if all of it is still here.
    pub(super) fn find(&self, key: &Digest, layers: &LayerStore, now: Timestamp) -> Option<String> {
        let mut known = self.lock();
        let found = known.get_mut(&key.to_string())?;
        if !found.layers.iter().all(|layer| layers.contains(layer)) {
            return None;
        }
        found.record.used = now;
        Some(found.record.config_json.clone())
    }

    /// Remembers steps: all of a build in one transaction.
    pub(super) fn keep(
        &self,
        steps: &[(Digest, String)],
        layers: &LayerStore,
        now: Timestamp,
    ) -> Result<(), Failure> {
        // What was not written to disk would be forgotten by a power cut, and the record must not outlive it.
        layers.sync()?;
        let mut known = self.lock();
        let mut batch = Batch::new();
        for (key, config_json) in steps {
            let config = ImageConfig::parse(config_json.as_bytes()).map_err(|error| {
                Failure::new(ferry_errkind::ErrorKind::Internal, ferry_errkind::chain(&error))
            })?;
            let record = Record { config_json: config_json.clone(), made: now, used: now };
            batch.put(&STEPS, &key.to_string(), &record)?;
            known.insert(key.to_string(), Known { record, layers: config.rootfs.diff_ids });
        }
        let mut by_age: Vec<(Timestamp, String)> =
            known.iter().map(|(key, one)| (one.record.used, key.clone())).collect();
        by_age.sort();
        let over = by_age.len().saturating_sub(MAX_RECORDS);
        for (_, key) in by_age.into_iter().take(over) {
            batch.delete(&STEPS, &key);
            known.remove(&key);
        }
        Ok(self.db.write(batch)?)
    }

    /// Forgets all steps; answers how many there were.
    pub(super) fn clear(&self) -> Result<Vec<String>, Failure> {
        let mut known = self.lock();
        let mut batch = Batch::new();
        for key in known.keys() {
            batch.delete(&STEPS, key);
        }
        self.db.write(batch)?;
        Ok(std::mem::take(&mut *known).into_keys().collect())
    }

    /// Every layer that a remembered step has.
    pub(crate) fn layers(&self) -> BTreeSet<Digest> {
        self.lock().values().flat_map(|one| one.layers.iter().cloned()).collect()
    }

    /// A panic while the lock was held leaves whole records.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

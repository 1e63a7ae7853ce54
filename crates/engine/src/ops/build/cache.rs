//! The build cache: what steps made of what they found. A record is of use as long as its layer is there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use ferry_db::{Batch, Db, Table};
use ferry_errkind::Failure;
use ferry_layers::LayerStore;
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use super::facts::Facts;

const STEPS: Table<Record> = Table::new("build_made");
/// What steps depended on: read where somebody asks why one was not known, and not kept in memory.
const FACTS: Table<Facts> = Table::new("build_facts");
/// Images of other machines that a name meant, by name and platform: they are here without a name, as it means this machine's.
const BASES: Table<String> = Table::new("build_base");

/// Most steps that are remembered; those that were used last stay.
const MAX_RECORDS: usize = 10_000;

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made {
    /// Its layer; `None` where it changed nothing.
    pub(super) layer: Option<Digest>,
    /// When, as it stands in the image.
    pub(super) created: String,
    /// The instruction.
    pub(super) what: String,
    /// Bytes of the layer.
    #[serde(default)]
    pub(super) size: u64,
}

/// A step that was done, and what it depended on.
#[derive(Debug)]
pub(super) struct Past {
    pub(super) facts: Facts,
    /// What it made.
    pub(super) layer: Option<Digest>,
    /// When it was used last.
    pub(super) used: Timestamp,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    made: Made,
    added: Timestamp,
    used: Timestamp,
    #[serde(default)]
    uses: u64,
}

/// A record of the build cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheRecord {
    /// The step's key.
    pub id: String,
    /// What was done.
    pub description: String,
    /// `regular`, `exec.cachemount` or `source.local`.
    pub kind: &'static str,
    /// Bytes.
    pub size: u64,
    /// When it was made.
    pub created: Timestamp,
    /// When it was used last.
    pub used: Timestamp,
    /// How often it was.
    pub uses: u64,
    /// An image or a container has its layer, too.
    pub shared: bool,
    /// A build is using it.
    pub in_use: bool,
}

/// All steps that are remembered. Reads are from memory.
#[derive(Debug)]
pub(crate) struct BuildCache {
    db: Arc<Db>,
    known: Mutex<Known>,
    turns: Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    /// Names of containers that steps run in.
    containers: Mutex<BTreeSet<String>>,
}

#[derive(Debug, Default)]
struct Known {
    records: BTreeMap<String, Record>,
    /// Those that the disk does not know yet.
    fresh: BTreeSet<String>,
    /// What they depended on.
    facts: BTreeMap<String, Facts>,
}

impl BuildCache {
    pub(crate) fn open(db: Arc<Db>) -> Result<BuildCache, Failure> {
        let records = db.all(&STEPS)?.into_iter().collect();
        let known = Known { records, ..Known::default() };
        Ok(BuildCache {
            db,
            known: Mutex::new(known),
            turns: Mutex::default(),
            containers: Mutex::default(),
        })
    }

    /// The id of the image that a name meant for a platform when it was fetched last.
    pub(super) fn base(&self, name: &str) -> Result<Option<String>, Failure> {
        Ok(self.db.get(&BASES, name)?)
    }

    /// Remembers what a name means for a platform.
    pub(super) fn learn_base(&self, name: &str, image: &str) -> Result<(), Failure> {
        let mut batch = Batch::new();
        batch.put(&BASES, name, &image.to_owned())?;
        Ok(self.db.write(batch)?)
    }

    /// Forgets which images are only here to be built on; answers their ids.
    pub(super) fn forget_bases(&self) -> Result<Vec<String>, Failure> {
        let all = self.db.all(&BASES)?;
        let mut batch = Batch::new();
        all.iter().for_each(|(name, _)| batch.delete(&BASES, name));
        self.db.write(batch)?;
        Ok(all.into_iter().map(|(_, image)| image).collect())
    }

    /// Waits until nobody else does the same step: what comes of it will do for both.
    pub(super) async fn turn(&self, key: &Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            match turns.get(key).and_then(Weak::upgrade) {
                Some(turn) => turn,
                None => {
                    let turn = Arc::new(tokio::sync::Mutex::new(()));
                    turns.insert(key.clone(), Arc::downgrade(&turn));
                    turn
                }
            }
        };
        turn.lock_owned().await
    }

    /// Notes the container of a step: nothing of it needs to outlive a power cut.
    pub(super) fn enter(&self, name: &str) {
        let mut containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        containers.insert(name.to_owned());
    }

    /// The container of a step is gone.
    pub(super) fn leave(&self, name: &str) {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Whether a step runs in the container of that name.
    pub(crate) fn is_step(&self, name: &str) -> bool {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// What the step made, if it is still here.
    pub(super) fn find(&self, key: &Digest, layers: &LayerStore, now: Timestamp) -> Option<Made> {
        let mut known = self.lock();
        let found = known.records.get_mut(&key.to_string())?;
        if !found.made.layer.iter().all(|layer| layers.contains(layer)) {
            return None;
        }
        found.used = now;
        found.uses += 1;
        Some(found.made.clone())
    }

    /// The layer that a step made when it was done last.
    pub(super) fn layer(&self, key: &Digest) -> Option<Digest> {
        self.lock().records.get(&key.to_string())?.made.layer.clone()
    }

    /// Remembers a step, and what it depended on where that is known; on disk it is only after [`BuildCache::persist`].
    pub(super) fn learn(&self, key: &Digest, made: Made, facts: Option<&Facts>, now: Timestamp) {
        let facts = facts.map(Facts::shortened);
        let mut known = self.lock();
        let key = key.to_string();
        known.facts.extend(facts.map(|facts| (key.clone(), facts)));
        known.records.insert(key.clone(), Record { made, added: now, used: now, uses: 0 });
        known.fresh.insert(key);
    }

    /// Whether the step is remembered, be its layer here or not.
    pub(super) fn knows(&self, key: &Digest) -> bool {
        self.lock().records.contains_key(&key.to_string())
    }

    /// Every step of which it is known what it depended on.
    pub(super) fn past(&self) -> Result<Vec<Past>, Failure> {
        let written = self.db.all(&FACTS)?;
        let known = self.lock();
        let fresh = known.facts.iter().map(|(key, facts)| (key.clone(), facts.clone()));
        let all = written.into_iter().chain(fresh);
        let past = all.filter_map(|(key, facts)| {
            let record = known.records.get(&key)?;
            Some(Past { facts, layer: record.made.layer.clone(), used: record.used })
        });
        Ok(past.collect())
    }

    /// Writes down what was learnt: all of a build in one transaction.
    pub(super) fn persist(&self, layers: &LayerStore) -> Result<(), Failure> {
        if self.lock().fresh.is_empty() {
            return Ok(());
        }
        // What was not written to disk would be forgotten by a power cut, and the record must not outlive it.
        layers.sync()?;
        let mut known = self.lock();
        let mut batch = Batch::new();
        for key in std::mem::take(&mut known.fresh) {
            if let Some(record) = known.records.get(&key) {
                batch.put(&STEPS, &key, record)?;
            }
        }
        for (key, facts) in std::mem::take(&mut known.facts) {
            if known.records.contains_key(&key) {
                batch.put(&FACTS, &key, &facts)?;
            }
        }
        let mut by_age: Vec<(Timestamp, String)> =
            known.records.iter().map(|(key, one)| (one.used, key.clone())).collect();
        by_age.sort();
        let over = by_age.len().saturating_sub(MAX_RECORDS);
        for (_, key) in by_age.into_iter().take(over) {
            batch.delete(&STEPS, &key);
            batch.delete(&FACTS, &key);
            known.records.remove(&key);
        }
        Ok(self.db.write(batch)?)
    }

    /// Everything that is remembered, least recently used first.
    pub(super) fn list(&self) -> Vec<(String, Made, [Timestamp; 2], u64)> {
        let known = self.lock();
        let mut all: Vec<_> = known
            .records
            .iter()
            .map(|(key, one)| (key.clone(), one.made.clone(), [one.added, one.used], one.uses))
            .collect();
        all.sort_by(|one, other| (one.2[1], &one.0).cmp(&(other.2[1], &other.0)));
        all
    }

    /// Forgets these.
    pub(super) fn forget(&self, keys: &BTreeSet<String>) -> Result<(), Failure> {
        let mut known = self.lock();
        let mut batch = Batch::new();
        for key in keys {
            batch.delete(&STEPS, key);
            batch.delete(&FACTS, key);
            known.facts.remove(key);
            known.records.remove(key);
            known.fresh.remove(key);
        }
        Ok(self.db.write(batch)?)
    }

    /// Every layer that a remembered step has.
    pub(crate) fn layers(&self) -> BTreeSet<Digest> {
        self.lock().records.values().filter_map(|one| one.made.layer.clone()).collect()
    }

    /// A panic while the lock was held leaves whole records.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

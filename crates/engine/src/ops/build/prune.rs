//! `builder du` and `builder prune`: what the cache has, and what of it is to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use ferry_errkind::Failure;
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;

use super::{cache::CacheRecord, kept, mounts};
use crate::{Engine, Shared, config::BuildGcRule, ops::image};

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Only what was not used for so long.
    pub unused_for: Option<Duration>,
    /// Bytes that may stay.
    pub budget: Budget,
    /// Only records of which this says yes; `None` is all.
    pub ids: Option<Vec<String>>,
    /// Only records of this kind.
    pub kinds: Option<Vec<String>>,
}

/// How much may stay, by BuildKit's rules. All zero is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes that always may stay.
    pub reserved: u64,
    /// Bytes that may stay at most; 0 is no limit.
    pub max_used: u64,
    /// Bytes that are to be free on the disk afterwards.
    pub min_free: u64,
}

impl Budget {
    /// Bytes that may stay of `total`, with `free` bytes on the disk; `None` where nothing is to.
    fn keep(&self, total: u64, free: u64) -> Option<u64> {
        if *self == Budget::default() {
            return None;
        }
        let mut keep = if self.max_used > 0 { self.max_used } else { u64::MAX };
        let missing = self.min_free.saturating_sub(free);
        if missing > 0 {
            keep = keep.min(total.saturating_sub(missing));
        } else if self.max_used == 0 && self.min_free == 0 {
            keep = self.reserved;
        }
        Some(keep.max(self.reserved))
    }
}

/// What the cache has.
///
/// # Errors
/// When the engine is going away.
pub async fn records(engine: &Engine) -> Result<Vec<CacheRecord>, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || Ok(of(&shared))).await
}

pub(crate) fn of(shared: &Shared) -> Vec<CacheRecord> {
    let leased: BTreeSet<Digest> = shared.leased().into_iter().collect();
    let images: BTreeSet<Digest> = image::layers_in_use(shared);
    let kept = mounts::kept(shared).into_iter().map(|kept| CacheRecord {
        description: format!("cached mount {}", kept.id),
        id: kept.name,
        kind: "exec.cachemount",
        size: kept.size,
        created: kept.created,
        used: kept.used,
        uses: 1,
        shared: false,
        in_use: kept.in_use,
    });
    let trees = kept::list(shared).into_iter().map(|tree| CacheRecord {
        description: "local source for context".to_owned(),
        id: tree.name,
        kind: "source.local",
        size: tree.size,
        created: tree.created,
        used: tree.used,
        uses: 1,
        shared: false,
        in_use: tree.in_use,
    });
    let listed = shared.builds.list().into_iter().filter(|(_, made, ..)| made.what != "first");
    let mut all: Vec<CacheRecord> = listed
        .map(|(id, made, [created, used], uses)| {
            let here = |layers: &BTreeSet<Digest>| {
                made.layer.as_ref().is_some_and(|layer| layers.contains(layer))
            };
            CacheRecord {
                shared: here(&images),
                in_use: here(&leased),
                size: made.layer.as_ref().map_or(0, |layer| shared.layer_room(layer)),
                id: id.trim_start_matches("sha256:").to_owned(),
                description: made.what,
                kind: "regular",
                created,
                used,
                uses,
            }
        })
        .chain(kept)
        .chain(trees)
        .collect();
    all.sort_by(|one, other| (one.used, &one.id).cmp(&(other.used, &other.id)));
    all
}

/// Forgets steps, least recently used first; answers which, and the bytes that are free again.
///
/// # Errors
/// When the disk fails.
pub async fn prune(engine: &Engine, request: PruneRequest) -> Result<(Vec<String>, u64), Failure> {
    let shared = engine.shared.clone();
    if request.is_everything() {
        dismiss_bases(engine).await?;
    }
    crate::blocking(move || {
        let all = of(&shared);
        // What an image has, too, takes no room of its own: to forget it would free nothing.
        let mut room: u64 = sizes(&all).values().sum();
        let free = rustix::fs::statvfs(&shared.config.data_root)
            .map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize));
        let keep = request.budget.keep(room, free);
        let now: Timestamp = shared.now();
        let (mut gone, mut keys, mut freed) = (Vec::new(), BTreeSet::new(), 0);
        for record in all.into_iter().filter(|record| !record.in_use) {
            if keep.is_some_and(|keep| room <= keep) {
                break;
            }
            if !request.takes(&record, now) || keep.is_some() && record.shared {
                continue;
            }
            if !record.shared {
                room = room.saturating_sub(record.size);
            }
            let there = match record.kind {
                "regular" => keys.insert(format!("sha256:{}", record.id)),
                kind => {
                    let removed = match kind {
                        "source.local" => kept::discard(&shared, &record.id)?,
                        _ => mounts::remove(&shared, &record.id),
                    };
                    freed += if removed { record.size } else { 0 };
                    removed
                }
            };
            if there {
                gone.push(record.id);
            }
        }
        shared.builds.forget(&keys)?;
        Ok((gone, freed + image::sweep_layers(&shared)))
    })
    .await
}

/// Removes the images that are here only to be built on.
async fn dismiss_bases(engine: &Engine) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    for id in crate::blocking(move || shared.builds.forget_bases()).await? {
        let named = image::inspect(engine, &id).await;
        // One that got a name stays; one that has a container, or that another image stands on, is refused.
        if named.is_ok_and(|view| view.repo_tags.is_empty())
            && let Err(failure) = image::remove(engine, &id, false, false).await
        {
            tracing::debug!("a base image stays: {}", failure.message());
        }
    }
    Ok(())
}

impl PruneRequest {
    /// Whether nothing is to stay.
    fn is_everything(&self) -> bool {
        self.unused_for.is_none()
            && self.budget == Budget::default()
            && self.ids.is_none()
            && self.kinds.is_none()
    }

    fn takes(&self, record: &CacheRecord, now: Timestamp) -> bool {
        let young = self.unused_for.is_some_and(|age| now.since(record.used) < age);
        let other = self.ids.as_ref().is_some_and(|ids| !ids.contains(&record.id));
        let kinds = self.kinds.as_ref();
        let kind = kinds.is_some_and(|kinds| !kinds.iter().any(|kind| kind == record.kind));
        !young && !other && !kind
    }
}

/// Whether the cache is being looked at, and whether it is to be looked at once more.
#[derive(Debug, Default)]
pub(crate) struct Collecting(Mutex<(bool, bool)>);

/// Applies the daemon's rules to the cache, beside whatever else is done.
pub(super) fn ask_to_collect(engine: &Engine) {
    if engine.shared.config.build_gc.is_empty() {
        return;
    }
    let mut state = engine.shared.build_gc.0.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::replace(&mut state.0, true) {
        state.1 = true;
        return;
    }
    let engine = engine.clone();
    tokio::spawn(async move {
        loop {
            let began = Instant::now();
            collect(&engine).await;
            // To look at all that there is costs: it takes no more than a tenth of the time.
            tokio::time::sleep(began.elapsed() * 9).await;
            let mut state = engine.shared.build_gc.0.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut state.1) {
                state.0 = false;
                return;
            }
        }
    });
}

async fn collect(engine: &Engine) {
    for rule in &engine.shared.config.build_gc {
        let BuildGcRule { kinds, unused_for, budget } = rule.clone();
        match prune(engine, PruneRequest { unused_for, budget, ids: None, kinds }).await {
            Ok((gone, freed)) if !gone.is_empty() => {
                tracing::info!(records = gone.len(), freed, "the build cache kept its budget");
            }
            Ok(_) => {}
            Err(failure) => tracing::warn!(%failure, "the build cache may be over its budget"),
        }
    }
}

/// A layer that two steps made is there once.
fn sizes(records: &[CacheRecord]) -> BTreeMap<(u64, &str, &str), u64> {
    let own = records.iter().filter(|record| !record.shared);
    own.map(|record| {
        let name = if record.kind == "regular" { "" } else { record.id.as_str() };
        ((record.size, record.description.as_str(), name), record.size)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_buildkits() {
        let keep = |reserved, max_used, min_free, total, free| {
            Budget { reserved, max_used, min_free }.keep(total, free)
        };
        assert_eq!(keep(0, 0, 0, 100, 100), None);
        assert_eq!(keep(0, 50, 0, 100, 100), Some(50));
        assert_eq!(keep(70, 50, 0, 100, 100), Some(70));
        assert_eq!(keep(30, 0, 0, 100, 100), Some(30));
        // 20 are missing on the disk.
        assert_eq!(keep(0, 0, 60, 100, 40), Some(80));
        assert_eq!(keep(90, 0, 60, 100, 40), Some(90));
        assert_eq!(keep(0, 50, 60, 100, 40), Some(50));
        // Nothing is: all may stay.
        assert_eq!(keep(0, 0, 60, 100, 70), Some(u64::MAX));
    }
}

//! `builder du` and `builder prune`: what the cache has, and what of it is to go.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ferry_errkind::Failure;
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;

use super::{cache::CacheRecord, mounts};
use crate::{Engine, Shared, ops::image};

/// What is to go.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Only what was not used for so long.
    pub unused_for: Option<Duration>,
    /// Bytes that may stay.
    pub keep: u64,
    /// Only records of which this says yes; `None` is all.
    pub ids: Option<Vec<String>>,
    /// Only records of this kind.
    pub kinds: Option<Vec<String>>,
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
    crate::blocking(move || {
        let all = of(&shared);
        let mut room: u64 = sizes(&all).values().sum();
        let now: Timestamp = shared.now();
        let (mut gone, mut keys, mut freed) = (Vec::new(), BTreeSet::new(), 0);
        for record in all.into_iter().filter(|record| !record.in_use) {
            let young = request.unused_for.is_some_and(|age| now.since(record.used) < age);
            let other = request.ids.as_ref().is_some_and(|ids| !ids.contains(&record.id));
            let kind = request
                .kinds
                .as_ref()
                .is_some_and(|kinds| !kinds.iter().any(|kind| kind == record.kind));
            if young || other || kind {
                continue;
            }
            if request.keep > 0 && room <= request.keep {
                break;
            }
            room = room.saturating_sub(record.size);
            if record.kind == "regular" {
                keys.insert(format!("sha256:{}", record.id));
            } else if mounts::remove(&shared, &record.id) {
                freed += record.size;
            } else {
                continue;
            }
            gone.push(record.id);
        }
        shared.builds.forget(&keys)?;
        Ok((gone, freed + image::sweep_layers(&shared)))
    })
    .await
}

/// A layer that two steps made is there once.
fn sizes(records: &[CacheRecord]) -> BTreeMap<(u64, &str), u64> {
    records.iter().map(|record| ((record.size, record.description.as_str()), record.size)).collect()
}

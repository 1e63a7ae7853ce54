//! `system df`: what takes room on the disk, in blocks, as du counts it.
//!
//! Lists of images and containers show lengths of files, as Docker's do; this is about the disk, where a small file takes a
//! block, a hole nothing, and a layer of two images its room once.

use std::collections::{BTreeMap, BTreeSet};

use ferry_errkind::Failure;
use ferry_model::{
    container::{ListContainers, ListedContainer},
    image::{ImageView, ListImages},
    volume::Volume,
};
use ferry_oci::Digest;

use super::{
    build::{self, CacheRecord},
    container, image, volume,
};
use crate::{Engine, Shared, usage::disk_use};

/// What to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Images and layers.
    pub images: bool,
    /// Containers.
    pub containers: bool,
    /// Volumes.
    pub volumes: bool,
    /// The build cache.
    pub builds: bool,
}

/// What takes how much. A list is `None` when nobody asked.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// All layers of images, each once.
    pub layers: u64,
    /// Images; `size` and `shared_size` are room on the disk.
    pub images: Option<Vec<ImageView>>,
    /// Containers; `size` is room on the disk.
    pub containers: Option<Vec<ListedContainer>>,
    /// Volumes.
    pub volumes: Option<Vec<VolumeUsage>>,
    /// What builds keep.
    pub builds: Option<Vec<CacheRecord>>,
}

/// A volume and what it takes.
#[derive(Debug, Clone)]
pub struct VolumeUsage {
    /// The volume.
    pub volume: Volume,
    /// Bytes.
    pub size: u64,
    /// Containers that have it.
    pub users: usize,
}

/// What a directory takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Files and directories.
    pub files: u64,
}

/// What a container wrote.
///
/// # Errors
/// No such container.
pub async fn writable(engine: &Engine, id: &str) -> Result<Room, Failure> {
    let upper = engine.shared.dirs.data(&engine.shared.containers.find(id)?.id).join("upper");
    crate::blocking(move || {
        let (bytes, files) = crate::usage::room(&upper);
        Ok(Room { bytes, files })
    })
    .await
}

/// Bytes that all layers take. Each is looked at once in its life.
///
/// # Errors
/// None of its own.
pub async fn layers(engine: &Engine) -> Result<u64, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let layers = shared.layers.list();
        Ok(layers.iter().map(|layer| shared.layer_room(&layer.diff_id)).sum())
    })
    .await
}

/// Looks at the disk: every file of containers and volumes, and of layers that were not looked at before.
///
/// # Errors
/// None of its own; what goes away meanwhile does not count.
pub async fn usage(engine: &Engine, wanted: Wanted) -> Result<Usage, Failure> {
    let mut usage = Usage::default();
    if wanted.images {
        let all = ListImages { all: true, shared_size: true, filters: BTreeMap::new() };
        usage.images = Some(image::list(engine, all).await?);
    }
    if wanted.containers {
        let all = ListContainers { all: true, ..ListContainers::default() };
        usage.containers = Some(container::list(engine, all).await?);
    }
    if wanted.volumes {
        let volumes = volume::list(engine, &BTreeMap::new()).await?;
        let unknown = |volume| VolumeUsage { volume, size: 0, users: 0 };
        usage.volumes = Some(volumes.into_iter().map(unknown).collect());
    }
    let shared = engine.shared.clone();
    crate::blocking(move || {
        weigh_images(&shared, &mut usage);
        weigh_containers(&shared, &mut usage);
        weigh_volumes(&shared, &mut usage);
        usage.builds = wanted.builds.then(|| build::cache_records(&shared));
        Ok(usage)
    })
    .await
}

fn weigh_images(shared: &Shared, usage: &mut Usage) {
    let Some(images) = &mut usage.images else { return };
    // An image may have a layer twice: it is one place on the disk all the same.
    let layers_of = |view: &ImageView| -> BTreeSet<Digest> {
        view.config.rootfs.diff_ids.iter().cloned().collect()
    };
    let mut users: BTreeMap<Digest, usize> = BTreeMap::new();
    for layer in images.iter().flat_map(layers_of) {
        *users.entry(layer).or_default() += 1;
    }
    let sizes: BTreeMap<&Digest, u64> =
        users.keys().map(|layer| (layer, shared.layer_room(layer))).collect();
    let sum = |layers: &mut dyn Iterator<Item = &Digest>| -> u64 {
        layers.filter_map(|layer| sizes.get(layer)).sum()
    };
    usage.layers = sizes.values().sum();
    for view in images {
        let own = layers_of(view);
        view.image.size = sum(&mut own.iter());
        let common = sum(&mut own.iter().filter(|layer| users.get(layer) > Some(&1)));
        view.shared_size = i64::try_from(common).unwrap_or(i64::MAX);
    }
}

fn weigh_containers(shared: &Shared, usage: &mut Usage) {
    for listed in usage.containers.iter_mut().flatten() {
        let rw = disk_use(&shared.dirs.data(&listed.container.id).join("upper"));
        let layers = listed.container.layers.iter().filter_map(|layer| shared.layers.size(layer));
        let total = layers.sum::<u64>().saturating_add(rw);
        listed.size = Some(ferry_model::container::DiskUse { rw, total });
    }
}

fn weigh_volumes(shared: &Shared, usage: &mut Usage) {
    let users = volume::used_volumes(shared);
    for one in usage.volumes.iter_mut().flatten() {
        one.size = disk_use(one.volume.mountpoint.as_ref());
        one.users = users.get(&one.volume.name).map_or(0, BTreeSet::len);
    }
}

//! `RUN --mount=type=cache`: directories that stay from build to build.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ferry_build::RunStep;
use ferry_dockerfile::{Mount, MountKind};
use ferry_errkind::Failure;
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use tokio::sync::OwnedMutexGuard;

use super::{
    super::{BuildError, copy::unpack_into, graph::Build},
    Given, Source, Sources,
};
use crate::{Engine, Shared, random, records::failed};

/// Directories that stay from build to build, and who uses them.
#[derive(Debug, Default)]
pub(crate) struct CacheMounts {
    used: Mutex<BTreeMap<String, usize>>,
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A use of such a directory.
#[derive(Debug)]
pub(super) struct CacheUse {
    engine: Engine,
    name: String,
}

impl Drop for CacheUse {
    fn drop(&mut self) {
        let mut used = lock(&self.engine.shared.cache_mounts.used);
        if let Some(count) = used.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                used.remove(&self.name);
            }
        }
    }
}

/// Waits for the caches that a step wants for itself alone. All steps take theirs in one order: two that want the same two, each in the
/// other one's order, would wait for each other for ever, and one that names a cache twice for itself.
pub(super) async fn locked(
    build: &Build,
    step: &RunStep,
    sources: &Sources,
) -> Vec<OwnedMutexGuard<()>> {
    let mounts = step.mounts.iter().zip(&sources.0);
    let alone = mounts
        .filter(|(mount, _)| mount.kind == MountKind::Cache && mount.sharing == "locked")
        .map(|(mount, source)| name(build, mount, source.as_ref()));
    let mut guards = Vec::new();
    for name in alone.collect::<BTreeSet<String>>() {
        let known = {
            let mut locks = lock(&build.engine.shared.cache_mounts.locks);
            // Those that nobody has or waits for.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name).or_default())
        };
        guards.push(known.lock_owned().await);
    }
    guards
}

/// Gives a step a cache, for which it has waited if it must.
pub(super) async fn give(
    build: &Build,
    mount: &Mount,
    source: Option<Source>,
    given: &mut Given,
) -> Result<(), BuildError> {
    let taken = take(&build.engine, name(build, mount, source.as_ref()), &mount.sharing);
    let path = directory(&build.engine.shared, &taken.name);
    if !path.exists() {
        fill(mount, source, &path).await?;
    }
    note(&path, &mount.id);
    given.bind(&path.join("data"), &mount.target, mount.writable);
    given.caches.push(taken);
    Ok(())
}

/// The directory's name: of all that distinguishes one cache from another.
fn name(build: &Build, mount: &Mount, source: Option<&Source>) -> String {
    let namespace = build.request.build_args.get("BUILDKIT_CACHE_MOUNT_NS").cloned().flatten();
    let base = source.map(|source| source.key.as_str());
    let identity = format!(
        "{:?} {:?} {base:?} {:?} {} {}",
        namespace.unwrap_or_default(),
        mount.id,
        mount.mode,
        mount.uid,
        mount.gid
    );
    let name = Digest::sha256_of(identity.as_bytes()).hex();
    name.get(..32).unwrap_or(&name).to_owned()
}

/// Takes the directory, or the next one that nobody uses.
fn take(engine: &Engine, name: String, sharing: &str) -> CacheUse {
    let mut used = lock(&engine.shared.cache_mounts.used);
    let mut own = name.clone();
    let mut number = 0;
    while sharing == "private" && used.contains_key(&own) {
        number += 1;
        own = format!("{name}-{number}");
    }
    *used.entry(own.clone()).or_insert(0) += 1;
    CacheUse { engine: engine.clone(), name: own }
}

/// A new directory; it gets its name when it is whole.
async fn fill(mount: &Mount, source: Option<Source>, path: &Path) -> Result<(), Failure> {
    let (mount, path) = (mount.clone(), path.to_owned());
    let unique = random::id()?;
    crate::blocking(move || {
        let fresh = path.with_extension(unique);
        let data = fresh.join("data");
        let unmade = |source| failed("make directory", &data, source);
        std::fs::create_dir_all(&data).map_err(unmade)?;
        if let Some(Source { files, found, .. }) = source.filter(|source| source.found.directory) {
            unpack_into(&files, &found, b"", &data)?;
        }
        std::os::unix::fs::chown(&data, Some(mount.uid), Some(mount.gid)).map_err(unmade)?;
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(0o755));
        std::fs::set_permissions(&data, mode).map_err(unmade)?;
        match std::fs::rename(&fresh, &path) {
            Ok(()) => Ok(()),
            // Another step was first.
            Err(_) if path.exists() => std::fs::remove_dir_all(&fresh).map_err(unmade),
            Err(source) => Err(unmade(source)),
        }
    })
    .await
}

/// Writes down what it is for, and that it was used now.
fn note(path: &Path, id: &str) {
    if let Err(error) = std::fs::write(path.join("id"), id) {
        tracing::warn!(path = %path.display(), %error, "a cache has no note");
    }
}

fn root(shared: &Shared) -> PathBuf {
    shared.config.data_root.join("build-caches")
}

fn directory(shared: &Shared, name: &str) -> PathBuf {
    root(shared).join(name)
}

/// A directory that stays.
#[derive(Debug)]
pub(in super::super) struct KeptCache {
    pub(in super::super) name: String,
    pub(in super::super) id: String,
    pub(in super::super) size: u64,
    pub(in super::super) used: Timestamp,
    pub(in super::super) created: Timestamp,
    pub(in super::super) in_use: bool,
}

/// All of them.
pub(in super::super) fn kept(shared: &Shared) -> Vec<KeptCache> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(root(shared)).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let Ok(id) = std::fs::read_to_string(path.join("id")) else { continue };
        let time = |found: std::io::Result<std::fs::Metadata>| {
            let time = found.and_then(|found| found.modified()).ok();
            time.map(Timestamp::from_system).unwrap_or_default()
        };
        kept.push(KeptCache {
            size: crate::usage::disk_use(&path),
            in_use: lock(&shared.cache_mounts.used).contains_key(&name),
            used: time(std::fs::metadata(path.join("id"))),
            created: time(std::fs::metadata(&path)),
            name,
            id,
        });
    }
    kept
}

/// Removes what was being made when a crash came.
pub(super) fn sweep(shared: &Shared) {
    for entry in std::fs::read_dir(root(shared)).into_iter().flatten().flatten() {
        if !entry.path().join("id").exists() {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Removes one, unless a step has it. A step that comes meanwhile finds none and makes its own: nobody waits for the files to go.
pub(in super::super) fn remove(shared: &Shared, name: &str) -> bool {
    let path = directory(shared, name);
    let stays = |error: std::io::Error| {
        tracing::warn!(path = %path.display(), %error, "a cache stays");
        false
    };
    let gone = match random::id() {
        Ok(id) => path.with_extension(id),
        Err(failure) => return stays(std::io::Error::other(failure.message().to_owned())),
    };
    let used = lock(&shared.cache_mounts.used);
    if used.contains_key(name) {
        return false;
    }
    // Without its note it is none any more, also for a daemon that comes after this one.
    let renamed =
        std::fs::remove_file(path.join("id")).and_then(|()| std::fs::rename(&path, &gone));
    drop(used);
    match renamed.and_then(|()| std::fs::remove_dir_all(&gone)) {
        Ok(()) => true,
        Err(error) => stays(error),
    }
}

/// The maps behind these locks are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

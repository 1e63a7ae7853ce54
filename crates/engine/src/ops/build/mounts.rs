//! `RUN --mount`: what a step sees besides its own files, and what becomes of that afterwards.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ferry_build::RunStep;
use ferry_dockerfile::{IgnoreFile, Mount, MountKind};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{BindMount, HostSettings};
use ferry_oci::Digest;
use tokio::sync::OwnedMutexGuard;

use super::{
    BuildError, Vertex,
    facts::{Facts, MOUNTED},
    graph::{Build, Turn},
    tree::{Files, Found, Lookup, invalid},
};
use crate::{Engine, Shared, random, records::failed};

/// Longest secret, in bytes, as BuildKit has it.
const MAX_SECRET: usize = 500 << 10;

/// What a step is given; goes away with it.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// More variables.
    pub(super) env: Vec<String>,
    binds: Vec<BindMount>,
    tmpfs: BTreeMap<String, String>,
    /// Directories of secrets and sockets.
    rooms: Vec<Room>,
    caches: Vec<CacheUse>,
    agents: Vec<tokio::task::JoinHandle<()>>,
}

/// A directory in memory that nobody else may look into.
#[derive(Debug)]
struct Room(PathBuf);

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "a step left a secret");
        }
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        for agent in &self.agents {
            agent.abort();
        }
    }
}

impl Given {
    pub(super) fn apply(&self, host: &mut HostSettings) {
        host.binds.extend(self.binds.iter().cloned());
        host.tmpfs.extend(self.tmpfs.clone());
    }

    /// Where something is mounted.
    pub(super) fn places(&self) -> Vec<String> {
        let binds = self.binds.iter().map(|bind| bind.destination.clone());
        binds.chain(self.tmpfs.keys().cloned()).collect()
    }

    fn bind(&mut self, source: &Path, target: &str, writable: bool) {
        let options = if writable { "rw" } else { "ro" };
        let source = source.to_string_lossy().into_owned();
        self.binds.push(BindMount {
            text: format!("{source}:{target}:{options}"),
            source,
            destination: target.to_owned(),
            options: options.to_owned(),
        });
    }
}

/// Where a step's binds come from, found before the cache is asked.
#[derive(Debug)]
pub(super) struct Sources(Vec<Option<Source>>);

#[derive(Debug)]
struct Source {
    files: Arc<Files>,
    found: Arc<Found>,
    /// All that it consists of.
    key: String,
    /// What the mount is, as it was asked for.
    target: String,
}

impl Sources {
    /// What the outcome of the step depends on.
    pub(super) fn facts(&self, facts: &mut Facts) {
        for source in self.0.iter().flatten() {
            facts.add(format!("{MOUNTED}{}", source.target), source.key.as_str());
        }
    }
}

/// Looks up what `bind`s and `cache`s name.
pub(super) async fn sources(
    build: &Arc<Build>,
    turn: Turn<'_>,
    step: &RunStep,
) -> Result<Sources, BuildError> {
    let mut sources = Vec::new();
    for mount in &step.mounts {
        let wanted = match mount.kind {
            MountKind::Bind => true,
            MountKind::Cache => !mount.from.is_empty(),
            _ => false,
        };
        sources.push(match wanted {
            true => Some(source(build, turn, mount).await?),
            false => None,
        });
    }
    Ok(Sources(sources))
}

async fn source(build: &Arc<Build>, turn: Turn<'_>, mount: &Mount) -> Result<Source, BuildError> {
    let from = Some(mount.from.as_str()).filter(|from| !from.is_empty());
    let (files, layers) = build.files_of(from, turn.stage).await?;
    let target = mount.target.clone();
    let path = if mount.source.is_empty() { "/".to_owned() } else { mount.source.clone() };
    let source = crate::blocking(move || {
        let how = Lookup { stage: layers.is_some(), parents: false };
        let plain = path.replace(['*', '?', '['], "\u{fffd}");
        if plain != path {
            return Err(invalid(format!("a pattern is no source of a mount: {path}")));
        }
        let found = Found::all(&files, &path, how)?.pop();
        let found = found.ok_or_else(|| invalid(format!("no such file: {path}")))?;
        let key = match layers {
            // Layers say what is in them.
            Some(layers) => format!("{layers:?} {path:?}"),
            None => found.digest(&files, &IgnoreFile::default())?.to_string(),
        };
        Ok(Source { files: Arc::new(files), found: Arc::new(found), key, target })
    });
    Ok(source.await?)
}

/// Makes everything ready that a step mounts.
pub(super) async fn give(
    build: &Arc<Build>,
    step: &RunStep,
    sources: Sources,
    vertex: &Vertex,
) -> Result<Given, BuildError> {
    let mut given = Given::default();
    for (at, (mount, source)) in step.mounts.iter().zip(sources.0).enumerate() {
        match mount.kind {
            MountKind::Tmpfs => {
                let size = Some(mount.size).filter(|size| *size > 0);
                let options = size.map(|size| format!("size={size}")).unwrap_or_default();
                given.tmpfs.insert(mount.target.clone(), options);
            }
            MountKind::Bind => {
                let Some(source) = source else { continue };
                let place = build.place.step(vertex).join(format!("mount-{at}"));
                let copy = copied(source, place).await?;
                given.bind(&copy, &mount.target, mount.writable);
            }
            MountKind::Cache => cache(build, mount, source, &mut given).await?,
            MountKind::Secret => secret(build, mount, &mut given).await?,
            MountKind::Ssh => agent(build, mount, at, &mut given).await?,
        }
    }
    Ok(given)
}

/// A copy of a bind's source: what the step does to it, nobody else sees.
async fn copied(source: Source, place: PathBuf) -> Result<PathBuf, Failure> {
    crate::blocking(move || {
        let Source { files, found, .. } = source;
        let unmade = |source| failed("make directory", &place, source);
        std::fs::create_dir_all(&place).map_err(unmade)?;
        let name: &[u8] = if found.directory { b"" } else { b"file" };
        super::copy::unpack_into(&files, &found, name, &place)?;
        if found.directory {
            let mode = std::fs::Permissions::from_mode(found.mode);
            std::fs::set_permissions(&place, mode).map_err(unmade)?;
            return Ok(place);
        }
        Ok(place.join("file"))
    })
    .await
}

async fn secret(build: &Build, mount: &Mount, given: &mut Given) -> Result<(), BuildError> {
    let found = match &build.request.client {
        Some(client) => client.secret(&mount.id).await?,
        None => None,
    };
    let Some(bytes) = found else {
        return match mount.required {
            true => Err(missing(format!("secret {}: not found", mount.id)).into()),
            false => Ok(()),
        };
    };
    if bytes.len() > MAX_SECRET {
        return Err(invalid(format!("invalid secret size {}", bytes.len())).into());
    }
    if let Some(name) = &mount.env {
        given.env.push(format!("{name}={}", String::from_utf8_lossy(&bytes)));
    }
    if mount.target.is_empty() {
        return Ok(());
    }
    let room = room(&build.engine.shared)?;
    let path = room.0.join("secret");
    let write = || {
        std::fs::write(&path, &bytes)?;
        std::os::unix::fs::chown(&path, Some(mount.uid), Some(mount.gid))?;
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(0o400));
        std::fs::set_permissions(&path, mode)
    };
    write().map_err(|source| failed("write", &path, source))?;
    given.bind(&path, &mount.target, false);
    given.rooms.push(room);
    Ok(())
}

async fn agent(
    build: &Build,
    mount: &Mount,
    at: usize,
    given: &mut Given,
) -> Result<(), BuildError> {
    let client = build.request.client.clone();
    let known = match &client {
        Some(client) => client.has_agent(&mount.id).await?,
        None => false,
    };
    let Some(client) = client.filter(|_| known) else {
        return match mount.required {
            true => {
                let words = format!("no SSH key {:?} forwarded from the client", mount.id);
                Err(missing(words).into())
            }
            false => Ok(()),
        };
    };
    let room = room(&build.engine.shared)?;
    let path = room.0.join("agent");
    let listener = tokio::net::UnixListener::bind(&path)
        .map_err(|source| failed("listen on", &path, source))?;
    let adapt = || {
        std::os::unix::fs::chown(&path, Some(mount.uid), Some(mount.gid))?;
        let mode = std::fs::Permissions::from_mode(mount.mode.unwrap_or(0o600));
        std::fs::set_permissions(&path, mode)
    };
    adapt().map_err(|source| failed("change", &path, source))?;
    let id = mount.id.clone();
    given.agents.push(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (client, id) = (Arc::clone(&client), id.clone());
            tokio::spawn(async move {
                let mut agent = match client.agent(&id).await {
                    Ok(agent) => agent,
                    Err(failure) => return tracing::warn!(%failure, "an agent does not answer"),
                };
                // Either side may hang up.
                drop(tokio::io::copy_bidirectional(&mut stream, &mut agent).await);
            });
        }
    }));
    let target = match mount.target.as_str() {
        "" => format!("/run/buildkit/ssh_agent.{at}"),
        target => target.to_owned(),
    };
    given.bind(&path, &target, true);
    if !given.env.iter().any(|variable| variable.starts_with("SSH_AUTH_SOCK=")) {
        given.env.push(format!("SSH_AUTH_SOCK={target}"));
    }
    given.rooms.push(room);
    Ok(())
}

fn missing(words: String) -> Failure {
    Failure::new(ErrorKind::NotFound, words)
}

fn room(shared: &Shared) -> Result<Room, Failure> {
    let id = random::id()?;
    let path = shared.config.exec_root.join("b").join(id.get(..16).unwrap_or(&id));
    let make = || {
        std::fs::create_dir_all(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))
    };
    make().map_err(|source| failed("make directory", &path, source))?;
    Ok(Room(path))
}

/// Directories that stay from build to build, and who uses them.
#[derive(Debug, Default)]
pub(crate) struct CacheMounts {
    used: Mutex<BTreeMap<String, usize>>,
    locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A use of such a directory.
#[derive(Debug)]
struct CacheUse {
    engine: Engine,
    name: String,
    _lock: Option<OwnedMutexGuard<()>>,
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

async fn cache(
    build: &Arc<Build>,
    mount: &Mount,
    source: Option<Source>,
    given: &mut Given,
) -> Result<(), BuildError> {
    let namespace = build.request.build_args.get("BUILDKIT_CACHE_MOUNT_NS").cloned().flatten();
    let base = source.as_ref().map(|source| source.key.as_str());
    let identity = format!(
        "{:?} {:?} {base:?} {:?} {} {}",
        namespace.unwrap_or_default(),
        mount.id,
        mount.mode,
        mount.uid,
        mount.gid
    );
    let name = Digest::sha256_of(identity.as_bytes()).hex();
    let name = name.get(..32).unwrap_or(&name).to_owned();
    let taken = take(&build.engine, &name, &mount.sharing).await;
    let path = directory(&build.engine.shared, &taken.name);
    if !path.exists() {
        fill(mount, source, &path).await?;
    }
    note(&path, &mount.id);
    given.bind(&path.join("data"), &mount.target, mount.writable);
    given.caches.push(taken);
    Ok(())
}

/// Takes the directory, or the next one that nobody uses, or waits for it.
async fn take(engine: &Engine, name: &str, sharing: &str) -> CacheUse {
    let mounts = &engine.shared.cache_mounts;
    let mut lock_of = None;
    if sharing == "locked" {
        let known = {
            let mut locks = lock(&mounts.locks);
            // Those that nobody has or waits for.
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock_of = Some(known.lock_owned().await);
    }
    let mut used = lock(&mounts.used);
    let mut own = name.to_owned();
    let mut number = 0;
    while sharing == "private" && used.contains_key(&own) {
        number += 1;
        own = format!("{name}-{number}");
    }
    *used.entry(own.clone()).or_insert(0) += 1;
    CacheUse { engine: engine.clone(), name: own, _lock: lock_of }
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
            super::copy::unpack_into(&files, &found, b"", &data)?;
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

fn directory(shared: &Shared, name: &str) -> PathBuf {
    shared.config.data_root.join("build-caches").join(name)
}

/// A directory that stays.
#[derive(Debug)]
pub(super) struct KeptCache {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) used: ferry_stdx::time::Timestamp,
    pub(super) created: ferry_stdx::time::Timestamp,
    pub(super) in_use: bool,
}

/// All of them.
pub(super) fn kept(shared: &Shared) -> Vec<KeptCache> {
    let root = shared.config.data_root.join("build-caches");
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let Ok(id) = std::fs::read_to_string(path.join("id")) else { continue };
        let time = |found: std::io::Result<std::fs::Metadata>| {
            let time = found.and_then(|found| found.modified()).ok();
            time.map(ferry_stdx::time::Timestamp::from_system).unwrap_or_default()
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
    let root = shared.config.data_root.join("build-caches");
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        if !entry.path().join("id").exists() {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
    std::fs::remove_dir_all(shared.config.exec_root.join("b")).ok();
}

/// Removes one, unless a step has it. A step that comes meanwhile finds none and makes its own: nobody waits for the files to go.
pub(super) fn remove(shared: &Shared, name: &str) -> bool {
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

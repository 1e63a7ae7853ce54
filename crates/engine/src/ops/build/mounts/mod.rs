//! `RUN --mount`: what a step sees besides its own files, and what becomes of that afterwards.

mod caches;

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use ferry_build::RunStep;
use ferry_dockerfile::{IgnoreFile, Mount, MountKind};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{BindMount, HostSettings};
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::caches::CacheMounts;
use self::caches::CacheUse;
pub(super) use self::caches::{kept, remove};
use super::{
    BuildError, Vertex,
    facts::{Facts, MOUNTED},
    graph::{Build, Turn},
    tree::{Files, Found, Lookup, invalid},
};
use crate::{Shared, random, records::failed};

/// Longest secret, in bytes, as BuildKit has it.
const MAX_SECRET: usize = 500 << 10;

/// Files of a mount that are remembered one by one; of more it is only known that something of them differs.
const MAX_NAMED: usize = 200;

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
    /// Of caches that nobody else may have meanwhile.
    locks: Vec<OwnedMutexGuard<()>>,
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
    /// The files in it, where they are few.
    named: BTreeMap<String, String>,
}

impl Sources {
    /// What the outcome of the step depends on.
    pub(super) fn facts(&self, facts: &mut Facts) {
        for source in self.0.iter().flatten() {
            let name = format!("{MOUNTED}{}", source.target);
            facts.add(name.clone(), source.key.as_str());
            if !source.named.is_empty() {
                facts.note_files(name, source.named.clone());
            }
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
        let mut named = BTreeMap::new();
        let key = match layers {
            // Layers say what is in them.
            Some(layers) => format!("{layers:?} {path:?}"),
            None => {
                named = found.files(&files, MAX_NAMED);
                found.digest(&files, &IgnoreFile::default())?.to_string()
            }
        };
        Ok(Source { files: Arc::new(files), found: Arc::new(found), key, target, named })
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
    given.locks.extend(caches::locked(build, step, &sources).await);
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
            MountKind::Cache => caches::give(build, mount, source, &mut given).await?,
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

/// Removes what was being made, and what steps were given, when a crash came.
pub(super) fn sweep(shared: &Shared) {
    caches::sweep(shared);
    std::fs::remove_dir_all(shared.config.exec_root.join("b")).ok();
}

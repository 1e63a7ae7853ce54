//! Boot and recovery: from what is on the disk, in `/run` and in the kernel to an engine that knows it all.
//!
//! For each container on record: if its shim answers, the container is adopted as it is; if the shim left an exit record,
//! the end is noted; if a start was under way, the shim has undone it (its owner is gone) and the rest is removed. Then
//! whatever in `/run`, on the bridges and in the cgroups belongs to no container goes.

mod sweep;

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::ops::build::BuildCache;
use ferry_cgroup::Hierarchy;
use ferry_db::Db;
use ferry_errkind::Failure;
use ferry_image::ImageStore;
use ferry_layers::LayerStore;
use ferry_model::container::{Container, Phase};
use ferry_shim::{ExitRecord, Template};
use ferry_stdx::time::Timestamp;
use ferry_volume::VolumeStore;
use rustix::fs::FlockOperation;
use tokio::{
    sync::{Semaphore, oneshot},
    task::JoinSet,
};

use crate::{
    actor::{Actor, Command, Live},
    config::{CgroupDriver, EngineConfig},
    net,
    networks::Networks,
    random,
    records::{Care, ContainerDirs},
    registry::Handle,
    shared::{Parts, Shared},
};

/// A shim that has been told nothing answers within this, unless it is stuck.
const SHIM_PATIENCE: Duration = Duration::from_secs(5);

/// So many containers are looked at at a time: each mostly waits for its shim.
const SIDE_BY_SIDE: usize = 32;

/// The networks of so many containers are in order before the engine answers; with more, they follow while it does.
const MENDED_FIRST: usize = 50;

/// So many are put in order at a time: whoever asks something meanwhile is not to wait for them.
const MENDED_AT_A_TIME: usize = 8;

/// How long boot waits for a sandbox to go that was never started: its network's plugins may be slow.
const STILLBORN_PATIENCE: Duration = Duration::from_secs(5);

/// The engine cannot come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Somebody else has the data.
    #[error("another ferry daemon uses {}: stop it, or choose another --data-root", .0.display())]
    InUse(PathBuf),
    /// A directory cannot be made or read.
    #[error("cannot use directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something that the engine consists of cannot be opened.
    #[error("{0}")]
    Open(Failure),
}

impl From<Failure> for BootError {
    fn from(failure: Failure) -> Self {
        BootError::Open(failure)
    }
}

pub(crate) async fn boot(config: EngineConfig) -> Result<Arc<Shared>, BootError> {
    let shared = tokio::task::spawn_blocking(move || open(config))
        .await
        .map_err(|error| Failure::new(ferry_errkind::ErrorKind::Internal, error.to_string()))??;
    let shared = Arc::new(shared);
    recover(&shared).await?;
    crate::rules::watch(&shared);
    prepare_apparmor(&shared);
    Ok(shared)
}

/// Whoever starts a container meanwhile waits for it, or does it himself.
fn prepare_apparmor(shared: &Arc<Shared>) {
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        // The next start tries again, and says it to whom it concerns.
        if let Err(failure) = shared.apparmor.load_default() {
            tracing::warn!(%failure, "no default profile of AppArmor");
        }
    });
}

fn open(config: EngineConfig) -> Result<Shared, BootError> {
    let hierarchy = hierarchy(&config)?;
    for path in [&config.data_root, &config.exec_root] {
        make_directory(path)?;
    }
    let lock = lock(&config)?;
    // It is needed when a container starts: it comes up beside the rest.
    let executable = config.executable.clone();
    let template = std::thread::spawn(move || Template::spawn(&executable));
    let failure = |error: ferry_db::DbError| BootError::Open(error.into());
    let db = Arc::new(Db::open(&config.data_root.join("ferry.db")).map_err(failure)?);
    let dirs = ContainerDirs::open(&config.data_root, &config.exec_root)?;
    let images = ImageStore::open(Arc::clone(&db)).map_err(Failure::from)?;
    let layers = LayerStore::open(config.data_root.join("layers")).map_err(|error| {
        Failure::new(ferry_errkind::ErrorKind::Internal, ferry_errkind::chain(&error))
    })?;
    let volumes = VolumeStore::open(&config.data_root.join("volumes"), Arc::clone(&db))
        .map_err(Failure::from)?;
    let now = Timestamp::from_system(std::time::SystemTime::now());
    let builds = BuildCache::open(Arc::clone(&db))?;
    let networks = Networks::open(db, config.bridge.clone(), now)?;
    let template = template.join().map_err(|_| {
        Failure::new(ferry_errkind::ErrorKind::Internal, "what forks shims did not come up")
    })?;
    let template = template.map_err(Failure::from)?;
    let empty_layer = config.data_root.join("empty-layer");
    make_directory(&empty_layer)?;
    make_directory(&config.data_root.join("ingest"))?;
    let id = engine_id(&config)?;
    Ok(Shared::new(Parts {
        config,
        id,
        hierarchy,
        dirs,
        images,
        layers,
        volumes,
        builds,
        networks,
        template,
        empty_layer,
        lock,
    }))
}

/// What this machine has, once it is sure that the driver works on it.
fn hierarchy(config: &EngineConfig) -> Result<Hierarchy, Failure> {
    let hierarchy = Hierarchy::detect()?;
    if config.cgroup_driver == CgroupDriver::Systemd {
        ferry_cgroup::check_systemd(&hierarchy)?;
    }
    Ok(hierarchy)
}

fn make_directory(path: &PathBuf) -> Result<(), BootError> {
    fs::create_dir_all(path).map_err(|source| BootError::Directory { path: path.clone(), source })
}

/// One engine a data root: the lock goes with the process, however it ends.
fn lock(config: &EngineConfig) -> Result<fs::File, BootError> {
    let path = config.data_root.join("lock");
    let directory = |source| BootError::Directory { path: path.clone(), source };
    let file = fs::File::create(&path).map_err(directory)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(BootError::InUse(config.data_root.clone())),
        Err(errno) => Err(directory(errno.into())),
    }
}

/// An id that stays with the data.
fn engine_id(config: &EngineConfig) -> Result<String, BootError> {
    let path = config.data_root.join("engine-id");
    if let Ok(id) = fs::read_to_string(&path) {
        return Ok(id.trim().to_owned());
    }
    let id = random::id()?;
    fs::write(&path, &id).map_err(|source| BootError::Directory { path, source })?;
    Ok(id)
}

async fn recover(shared: &Arc<Shared>) -> Result<(), BootError> {
    let began = Instant::now();
    let dirs = shared.dirs.clone();
    let (containers, unfinished) = crate::blocking(move || dirs.load()).await?;
    for id in unfinished {
        // `create` writes the record last: nobody was ever told of this one.
        shared.dirs.discard(&id)?;
    }
    let loaded = began.elapsed();
    let mut settling = Vec::new();
    for mut container in containers {
        if let Err(failure) = shared.containers.reserve_name(&container.name, &container.id) {
            tracing::error!(id = %container.id, %failure, "two containers have one name; this one gets its id as name");
            container.name.clone_from(&container.id);
            shared.containers.reserve_name(&container.name, &container.id)?;
        }
        let shared = Arc::clone(shared);
        settling.push(async move {
            let live = settle(&shared, &mut container).await;
            (container, live)
        });
    }
    let settled = side_by_side(settling).await?;
    let handles: Vec<_> = settled
        .into_iter()
        .map(|(container, live)| Actor::spawn(shared, container, live))
        .collect();
    let found = began.elapsed();
    sweep::leftovers(shared).await;
    let swept = began.elapsed();
    mend(&handles).await;
    for handle in &handles {
        let container = handle.container();
        handle.send(Command::Boot).await.ok();
        let part = container.spec.pod.as_ref();
        if part.is_some_and(|part| part.sandbox.is_none())
            && container.state.phase == Phase::Created
        {
            // It goes away: whoever asks for the same pod again should find its name free.
            tokio::time::timeout(STILLBORN_PATIENCE, handle.commands.closed()).await.ok();
        }
    }
    let all = began.elapsed();
    tracing::debug!(containers = handles.len(), ?loaded, ?found, ?swept, ?all, "recovered");
    Ok(())
}

/// Has each container's own task finish what the engine before did not finish inside of it, before anything else is done to it.
/// They may have to find each other, so all are known by now.
async fn mend(handles: &[Handle]) {
    let slots = Arc::new(Semaphore::new(MENDED_AT_A_TIME));
    let mut mended = Vec::new();
    for handle in handles {
        let (done, ended) = oneshot::channel();
        if handle.send(Command::Mend { slots: Arc::clone(&slots), done }).await.is_ok() {
            mended.push(ended);
        }
    }
    if mended.len() <= MENDED_FIRST {
        for ended in mended {
            ended.await.ok();
        }
    }
}

/// Does it for some containers at a time, and answers in any order: each waits for its shim and for the kernel, and one that is stuck
/// must not hold up all others.
async fn side_by_side<T: Send + 'static>(
    work: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Result<Vec<T>, Failure> {
    let slots = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let mut tasks = JoinSet::new();
    for one in work {
        let slots = Arc::clone(&slots);
        tasks.spawn(async move {
            // Nobody closes it.
            let _slot = slots.acquire().await.ok();
            one.await
        });
    }
    let mut done = Vec::new();
    while let Some(one) = tasks.join_next().await {
        done.push(one.map_err(|error| {
            Failure::new(ferry_errkind::ErrorKind::Internal, error.to_string())
        })?);
    }
    Ok(done)
}

/// Brings a record in line with what the kernel says.
async fn settle(shared: &Arc<Shared>, container: &mut Container) -> Option<Live> {
    let run_dir = shared.dirs.run(&container.id);
    // As its owner: one that waits to be told to start ends when it is left.
    let connected = tokio::time::timeout(SHIM_PATIENCE, Live::connect(&run_dir, true)).await;
    if let Ok(Ok((live, state))) = connected
        && state.started
    {
        if state.user.is_some() {
            container.state.user = state.user;
        }
        adopt(shared, container, state.pid);
        if let Err(failure) = crate::mounted::hold_all(shared, container, &container.id) {
            tracing::warn!(id = %container.id, %failure, "a volume is not mounted");
        }
        thaw(shared, container);
        return Some(live);
    }
    let before = container.state.phase;
    match ExitRecord::read(&run_dir) {
        Ok(Some(record)) if record.started => {
            container.state.exit_code = record.exit_code;
            container.state.oom_killed = record.oom_killed;
            container.state.memory_peak = record.memory_peak;
            container.state.finished_at = Some(Timestamp::from_nanos(record.finished_at));
            container.state.phase = Phase::Exited;
        }
        _ if before.is_running() => {
            // The machine went down, or somebody killed the shim.
            shared.kill_leftovers(container).await;
            container.state.exit_code = 255;
            container.state.finished_at = Some(shared.now());
            container.state.phase = Phase::Exited;
        }
        _ => {
            if before == Phase::Restarting || before == Phase::Removing {
                container.state.phase = Phase::Exited;
            }
            shared.kill_leftovers(container).await;
        }
    }
    container.state.pid = None;
    forget_network(shared, container).await;
    fs::remove_dir_all(&run_dir).ok();
    if let Err(failure) = shared.dirs.save(container, Care::Ordered) {
        tracing::warn!(id = %container.id, %failure, "container record is stale");
    }
    None
}

fn adopt(shared: &Shared, container: &mut Container, pid: Option<i32>) {
    if container.state.phase != Phase::Paused {
        container.state.phase = Phase::Running;
    }
    container.state.pid = pid;
    container.state.started_at.get_or_insert(shared.now());
    for (name, endpoint) in &container.endpoints {
        for address in net::addresses(endpoint) {
            if let Err(failure) = shared.networks.adopt(name, address) {
                tracing::warn!(id = %container.id, %failure, "address not adopted");
            }
        }
        if !endpoint.endpoint_id.is_empty()
            && shared.networks.find(name).is_ok_and(|network| !network.builtin)
        {
            shared.resolvers.join(name, endpoint, &net::names::hidden(container));
        }
    }
    net::hold_again(shared, container);
}

/// What the engine before froze only while it read a volume goes on.
fn thaw(shared: &Shared, container: &mut Container) {
    let run_dir = shared.dirs.run(&container.id);
    if !crate::ops::freeze::was_frozen(&run_dir) {
        return;
    }
    let thawed = shared.cgroup(container).and_then(|cgroup| Ok(cgroup.thaw()?));
    match thawed {
        Ok(()) => {
            container.state.phase = Phase::Running;
            // Else the next engine reads that its user has paused it.
            if let Err(failure) = shared.dirs.save(container, Care::Ordered) {
                tracing::warn!(id = %container.id, %failure, "container record is stale");
            }
            crate::ops::freeze::forget_frozen(&run_dir);
        }
        Err(failure) => tracing::warn!(id = %container.id, %failure, "container stays frozen"),
    }
}

async fn forget_network(shared: &Arc<Shared>, container: &mut Container) {
    let work = (Arc::clone(shared), container.clone());
    crate::blocking(move || {
        net::detach(&work.0, &work.1);
        Ok(())
    })
    .await
    .ok();
    for endpoint in container.endpoints.values_mut() {
        net::forget(endpoint);
    }
    container.ports.clear();
}

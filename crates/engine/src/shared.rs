//! What all operations share.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use ferry_cgroup::{Cgroup, Hierarchy, Place};
use ferry_errkind::{ErrorKind, Failure};
use ferry_image::ImageStore;
use ferry_layers::LayerStore;
use ferry_model::{
    container::{CgroupnsMode, Container, ContainerSpec, LogSettings},
    event::Subject,
};
use ferry_oci::{Digest, runtime::LinuxSeccomp};
use ferry_shim::Template;
use ferry_stdx::time::Timestamp;
use ferry_transfer::Client;
use ferry_volume::VolumeStore;

use crate::{
    apparmor::AppArmor,
    config::{EngineConfig, RegistryConfig, RuntimeConfig},
    events::EventBus,
    execs::Execs,
    networks::Networks,
    ops::build::{BuildCache, CacheMounts, Collecting, Histories, KeptTrees},
    records::ContainerDirs,
    registry::Registry,
    resolver::Resolvers,
    selinux::Selinux,
};

/// How long a killed container's processes may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Everything that the operations of one engine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) id: String,
    pub(crate) cpus: usize,
    pub(crate) kernel: (u32, u32),
    pub(crate) hierarchy: Hierarchy,
    pub(crate) apparmor: AppArmor,
    pub(crate) selinux: Selinux,
    pub(crate) dirs: ContainerDirs,
    pub(crate) images: ImageStore,
    pub(crate) layers: Arc<LayerStore>,
    pub(crate) volumes: VolumeStore,
    pub(crate) mounted: crate::mounted::Mounted,
    pub(crate) builds: BuildCache,
    pub(crate) cache_mounts: CacheMounts,
    pub(crate) kept_trees: KeptTrees,
    pub(crate) build_gc: Collecting,
    pub(crate) histories: Histories,
    pub(crate) networks: Networks,
    pub(crate) resolvers: Resolvers,
    /// Where names for people are served, if they are.
    pub(crate) announcement: Mutex<Option<crate::ops::names::Announcement>>,
    /// Held for writing while plugins collect what belongs to no pod, for reading while they attach or detach one.
    pub(crate) cni_gate: tokio::sync::RwLock<()>,
    live: RwLock<Arc<Live>>,
    pub(crate) containers: Registry,
    pub(crate) execs: Execs,
    pub(crate) events: EventBus,
    pub(crate) template: Template,
    pub(crate) filters: Mutex<Vec<(LinuxSeccomp, Arc<str>)>>,
    leases: Mutex<BTreeMap<Digest, usize>>,
    sweeping: Mutex<()>,
    rooms: Mutex<BTreeMap<Digest, u64>>,
    pub(crate) empty_layer: PathBuf,
    /// Held for as long as the engine lives: nobody else may have the data.
    _lock: std::fs::File,
}

/// What of the configuration changes while the engine runs: SIGHUP.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) labels: Vec<String>,
    pub(crate) debug: bool,
    pub(crate) runtimes: BTreeMap<String, RuntimeConfig>,
    pub(crate) default_runtime: String,
    pub(crate) sources: RegistryConfig,
    pub(crate) registries: Client,
}

impl Live {
    fn of(config: &EngineConfig) -> Live {
        Live {
            labels: config.labels.clone(),
            debug: config.debug,
            runtimes: config.runtimes.clone(),
            default_runtime: config.default_runtime.clone(),
            sources: config.registries.clone(),
            registries: Client::new(ferry_transfer::ClientConfig {
                mirrors: config.registries.mirrors.clone(),
                insecure: config.registries.insecure.clone(),
                plain: Vec::new(),
                user_agent: format!("ferry/{}", env!("CARGO_PKG_VERSION")),
                max_concurrent: config.max_concurrent_downloads,
                max_uploads: config.max_concurrent_uploads,
                signatures: config.registries.signatures.clone(),
            }),
        }
    }
}

/// The parts of an engine as boot made them.
pub(crate) struct Parts {
    pub(crate) config: EngineConfig,
    pub(crate) id: String,
    pub(crate) hierarchy: Hierarchy,
    pub(crate) dirs: ContainerDirs,
    pub(crate) images: ImageStore,
    pub(crate) layers: LayerStore,
    pub(crate) volumes: VolumeStore,
    pub(crate) builds: BuildCache,
    pub(crate) networks: Networks,
    pub(crate) template: Template,
    pub(crate) empty_layer: PathBuf,
    pub(crate) lock: std::fs::File,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let release = rustix::system::uname();
        let histories = parts.config.data_root.join("build-history");
        Shared {
            live: RwLock::new(Arc::new(Live::of(&parts.config))),
            selinux: Selinux::detect(parts.config.selinux),
            config: parts.config,
            id: parts.id,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            kernel: ferry_container::seccomp::kernel_version(&release.release().to_string_lossy()),
            hierarchy: parts.hierarchy,
            apparmor: AppArmor::detect(),
            dirs: parts.dirs,
            images: parts.images,
            layers: Arc::new(parts.layers),
            volumes: parts.volumes,
            mounted: crate::mounted::Mounted::default(),
            builds: parts.builds,
            cache_mounts: CacheMounts::default(),
            kept_trees: KeptTrees::default(),
            build_gc: Collecting::default(),
            histories: Histories::at(histories),
            networks: parts.networks,
            resolvers: Resolvers::default(),
            announcement: Mutex::default(),
            cni_gate: tokio::sync::RwLock::default(),
            containers: Registry::default(),
            execs: Execs::default(),
            events: EventBus::new(),
            template: parts.template,
            filters: Mutex::default(),
            leases: Mutex::default(),
            sweeping: Mutex::default(),
            rooms: Mutex::default(),
            empty_layer: parts.empty_layer,
            _lock: parts.lock,
        }
    }

    /// What may have changed since the engine came up.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what may change while the engine runs. Work under way goes on with what it began with.
    pub(crate) fn reload(&self, config: &EngineConfig) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Live::of(config));
        let attributes = [
            ("debug", config.debug.to_string()),
            ("default-runtime", config.default_runtime.clone()),
            ("labels", config.labels.join(",")),
            ("max-concurrent-downloads", config.max_concurrent_downloads.to_string()),
            ("name", self.host_name()),
        ];
        self.events.plain(Subject::Daemon, "reload", &self.id, &attributes, self.now());
    }

    /// The clock: the only place that reads it.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_system(SystemTime::now())
    }

    pub(crate) fn host_name(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// Whether the engine may give a capability to anyone.
    pub(crate) fn may(&self, name: &str) -> bool {
        ferry_oci::runtime::capability_number(name)
            .and_then(ferry_sys::caps::in_bounding)
            .unwrap_or(false)
    }

    /// Whether a container is gone after a power cut, whatever became of its record.
    pub(crate) fn is_passing(&self, container: &Container) -> bool {
        container.spec.host.auto_remove || self.builds.is_step(&container.name)
    }

    /// The directories of layers, top first. An image without layers stands on an empty directory: overlayfs wants one.
    pub(crate) fn lower_dirs(&self, layers: &[Digest]) -> Result<Vec<PathBuf>, Failure> {
        if layers.is_empty() {
            return Ok(vec![self.empty_layer.clone()]);
        }
        self.layers.lower_dirs(layers).map_err(|error| {
            Failure::new(ErrorKind::Internal, error.to_string())
                .with_hint("the image is not whole any more: remove it and pull it again")
        })
    }

    /// A container's log driver and options, with the engine's defaults.
    pub(crate) fn log_settings(&self, own: &LogSettings) -> LogSettings {
        if own.driver.is_empty() {
            let mut settings = self.config.log.clone();
            settings.options.extend(own.options.clone());
            return settings;
        }
        own.clone()
    }

    /// Fills in what the daemon's configuration says for containers that say nothing.
    pub(crate) fn apply_defaults(&self, spec: &mut ContainerSpec) {
        spec.host.log = self.log_settings(&spec.host.log);
        if spec.host.shm_size == 0 {
            spec.host.shm_size =
                if self.config.shm_size > 0 { self.config.shm_size } else { 64 << 20 };
        }
        for limit in &self.config.ulimits {
            if !spec.host.ulimits.iter().any(|own| own.name == limit.name) {
                spec.host.ulimits.push(limit.clone());
            }
        }
        let config = &self.config;
        if spec.host.cgroupns_mode == CgroupnsMode::Default && !spec.host.privileged {
            spec.host.cgroupns_mode = config.cgroupns;
        }
        if spec.host.ipc_mode.is_none() {
            spec.host.ipc_mode.clone_from(&config.ipc);
        }
        let options = &mut spec.host.security_opt;
        let says = |options: &[String], name: &str| options.iter().any(|own| own.starts_with(name));
        if config.no_new_privileges && !says(options, "no-new-privileges") {
            options.push("no-new-privileges".to_owned());
        }
        if !config.seccomp_profile.is_empty() && !spec.host.privileged && !says(options, "seccomp")
        {
            options.push(format!("seccomp={}", config.seccomp_profile));
        }
        if spec.host.runtime.is_empty() {
            spec.host.runtime = match self.live().default_runtime.as_str() {
                "" => "ferry".to_owned(),
                other => other.to_owned(),
            };
        }
    }

    /// The network of pods as CNI plugins make it; `None` when nothing is configured. Blocks.
    pub(crate) fn cni(&self) -> Result<Option<ferry_cni::Network>, Failure> {
        let list = ferry_cni::load(&self.config.cni.conf_dir)?;
        let plugins = &self.config.cni.plugin_dirs;
        Ok(list.map(|list| ferry_cni::Network { list, plugins: plugins.clone() }))
    }

    /// The cgroup of a container that runs.
    pub(crate) fn cgroup(&self, container: &Container) -> Result<Cgroup, Failure> {
        let place = match container.state.cgroup.as_str() {
            "" => {
                let parent = &container.spec.host.cgroup_parent;
                Place::read(&self.config.cgroups_path(&container.id, parent))?
            }
            recorded => Place::read(recorded)?,
        };
        Ok(place.open(&self.hierarchy)?)
    }

    /// Ends the processes of a container that has no shim any more, and removes its cgroup.
    pub(crate) async fn kill_leftovers(&self, container: &Container) {
        let Ok(cgroup) = self.cgroup(container) else { return };
        let killed = crate::blocking(move || {
            let deadline = SystemTime::now() + KILL_PATIENCE;
            while SystemTime::now() < deadline {
                cgroup.kill_all().ok();
                if cgroup.delete().is_ok() {
                    return Ok(());
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Failure::new(ErrorKind::Internal, "its processes do not end"))
        });
        if let Err(failure) = killed.await {
            tracing::warn!(id = %container.id, %failure, "leftovers of a container stay");
        }
    }

    /// What a layer takes on the disk, all that is kept of it. A layer never changes: it is counted once.
    pub(crate) fn layer_room(&self, layer: &Digest) -> u64 {
        if let Some(room) = lock(&self.rooms).get(layer) {
            return *room;
        }
        let dirs = self.layers.lower_dirs(std::slice::from_ref(layer)).unwrap_or_default();
        let Some(dir) = dirs.first().and_then(|diff| diff.parent()) else { return 0 };
        let room = crate::usage::disk_use(dir);
        let mut rooms = lock(&self.rooms);
        rooms.retain(|known, _| self.layers.contains(known));
        rooms.insert(layer.clone(), room);
        room
    }

    /// Lets ports lead to containers by the kernel's translation, unless the host's firewall is to see them first.
    pub(crate) fn publish(&self, ports: &[ferry_network::PublishedPort]) -> Result<(), Failure> {
        if self.config.bridge.respect_firewall || ports.is_empty() {
            return Ok(());
        }
        Ok(ferry_network::publish(&self.table(), ports)?)
    }

    pub(crate) fn table(&self) -> String {
        crate::networks::table(&self.config.bridge)
    }

    /// Keeps layers from being swept until the lease is dropped.
    pub(crate) fn lease(&self, layers: &[Digest]) -> Lease<'_> {
        self.reserve(layers);
        Lease { shared: self, layers: layers.to_vec() }
    }

    fn reserve(&self, layers: &[Digest]) {
        let mut leases = lock(&self.leases);
        for layer in layers {
            *leases.entry(layer.clone()).or_insert(0) += 1;
        }
    }

    fn release(&self, layers: &[Digest]) {
        let mut leases = lock(&self.leases);
        for layer in layers {
            if let Some(count) = leases.get_mut(layer) {
                *count -= 1;
                if *count == 0 {
                    leases.remove(layer);
                }
            }
        }
    }

    /// As [`Shared::lease`], for as long as somebody likes.
    pub(crate) fn hold(self: &Arc<Self>, layers: &[Digest]) -> HeldLease {
        self.reserve(layers);
        HeldLease { shared: Arc::clone(self), layers: layers.to_vec() }
    }

    pub(crate) fn leased(&self) -> Vec<Digest> {
        lock(&self.leases).keys().cloned().collect()
    }

    /// Does something unless the layer is leased; nobody can lease it meanwhile, so it has to be quick.
    pub(crate) fn unless_leased<T>(&self, layer: &Digest, then: impl FnOnce() -> T) -> Option<T> {
        let leases = lock(&self.leases);
        (!leases.contains_key(layer)).then(then)
    }

    /// Held while layers are swept, and while an image is recorded whose layers were found in the store.
    pub(crate) fn sweep_lock(&self) -> MutexGuard<'_, ()> {
        lock(&self.sweeping)
    }

    /// What the user should know about this machine.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let controllers = self.hierarchy.controllers();
        let mut warnings = Vec::new();
        for (controller, words) in [
            ("memory", "WARNING: No memory limit support"),
            ("cpu", "WARNING: No cpu cfs quota support"),
            ("cpuset", "WARNING: No cpuset support"),
            ("pids", "WARNING: No pids limit support"),
        ] {
            if !controllers.contains(&controller) {
                warnings.push(words.to_owned());
            }
        }
        warnings.extend(ferry_network::forward_blocked());
        warnings.extend(self.apparmor.warning());
        warnings
    }

    /// What of a container's settings this machine cannot do, in Docker's words.
    pub(crate) fn warnings_for(&self, container: &Container) -> Vec<String> {
        let resources = &container.spec.host.resources;
        let controllers = self.hierarchy.controllers();
        let mut warnings = Vec::new();
        let blkio = |name: &str| {
            self.hierarchy.is_v2()
                || std::path::Path::new("/sys/fs/cgroup/blkio").join(name).exists()
        };
        if resources.blkio_weight > 0 && !blkio("blkio.weight") {
            warnings.push("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.".to_owned());
        }
        if !resources.blkio_weight_device.is_empty() && !blkio("blkio.weight_device") {
            warnings.push("Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.".to_owned());
        }
        if resources.memory > 0 && !controllers.contains(&"memory") {
            warnings.push("Your kernel does not support memory limit capabilities or the cgroup is not mounted. Limitation discarded.".to_owned());
        }
        if resources.pids_limit.is_some_and(|limit| limit > 0) && !controllers.contains(&"pids") {
            warnings.push("Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded.".to_owned());
        }
        warnings
    }
}

/// Layers that are in use by somebody who is at work.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    shared: &'a Shared,
    layers: Vec<Digest>,
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.shared.release(&self.layers);
    }
}

/// A lease that is not bound to a place in the program.
#[derive(Debug)]
pub(crate) struct HeldLease {
    shared: Arc<Shared>,
    layers: Vec<Digest>,
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        self.shared.release(&self.layers);
    }
}

/// The maps behind these locks are whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! `create`: a container's record, directories and volumes. Nothing runs yet.
//!
//! The record is written last: a crash before it leaves a directory without record, which boot discards together with the
//! anonymous volumes that nobody refers to. A failure undoes what was done, in reverse.

use std::{collections::BTreeMap, sync::Arc};

use ferry_errkind::{ErrorKind, Failure};
use ferry_image::Entry;
use ferry_model::{
    container::{
        Container, ContainerSpec, CreateContainer, CreatedContainer, MountKind, MountPoint,
        NetworkMode,
    },
    event::Subject,
    network::EndpointStatus,
    volume::Volume,
};
use ferry_oci::Platform;
use ferry_volume::{Hold, NewVolume};

use crate::{Engine, Shared, actor::Actor, failpoint, mounted, random, records, validate, welcome};

/// Makes a container.
///
/// # Errors
/// In Docker's words: no such image, a name that is taken, a setting that is refused.
pub async fn create(
    engine: &Engine,
    request: CreateContainer,
) -> Result<CreatedContainer, Failure> {
    let shared = engine.shared.clone();
    crate::blocking(move || create_blocking(&shared, request)).await
}

fn create_blocking(
    shared: &Arc<Shared>,
    request: CreateContainer,
) -> Result<CreatedContainer, Failure> {
    if welcome::is_meant(&request.spec.image) {
        welcome::ensure(shared)?;
    }
    let image = shared.images.get(&request.spec.image)?.entry;
    create_of(shared, &image, request)
}

/// Makes a container of an image, which need not be one that has a name or a record: a build has such.
pub(crate) fn create_of(
    shared: &Arc<Shared>,
    image: &Entry,
    request: CreateContainer,
) -> Result<CreatedContainer, Failure> {
    let CreateContainer { name, platform, mut spec } = request;
    check_platform(image, platform.as_deref(), &spec.image)?;
    ferry_container::merge_image(&mut spec, &image.config);
    shared.apply_defaults(&mut spec);
    crate::selinux::add_options(shared, &mut spec)?;
    let mut warnings = validate::settings(shared, &mut spec)?;
    let inherited = inherited_mounts(shared, &spec.host.volumes_from)?;
    let mut mounts = ferry_container::plan_mounts(&spec, inherited)?;
    crate::propagation::settle(&shared.config.data_root, &spec, &mut mounts);
    check_bind_sources(&mounts)?;

    let id = random::id()?;
    let name = match name.as_deref().filter(|name| !name.is_empty()) {
        // Pods have names that no container of Docker's can have.
        Some(name) if spec.pod.is_some() => name.to_owned(),
        Some(name) => ferry_container::check_name(name)?.to_owned(),
        None => made_up_name(shared)?,
    };
    crate::net::links::check(shared, &spec)?;
    let endpoints = planned_endpoints(shared, &mut spec)?;
    let selinux = crate::selinux::assign(shared, &spec)?;
    if spec.hostname.is_empty() && spec.pod.is_none() {
        spec.hostname = shared_hostname(shared, &spec);
    }
    let container = Container {
        name: name.clone(),
        created: shared.now(),
        layers: image.layers().to_vec(),
        platform: format!("{}/{}", image.config.os, image.config.architecture),
        mounts,
        endpoints,
        selinux,
        ..Container::new(id.clone(), image.image.id.clone(), spec)
    };
    let container = crate::userns::assigned(shared, container)?;
    validate::specification(shared, &container)?;
    // Between here and the record nobody but we know that the layers are in use.
    let _lease = shared.lease(&container.layers);
    shared.containers.reserve_name(&name, &id)?;
    let mut made =
        Made { shared, id: id.clone(), name, volumes: Vec::new(), holds: Vec::new(), keep: false };
    let container = made.fill(container)?;
    made.keep = true;
    let _holds = std::mem::take(&mut made.holds);
    drop(made);
    warnings.extend(shared.warnings_for(&container));
    let show = || drop(Actor::spawn(shared, container.clone(), None));
    shared.events.container_of(&container, "create", &[], shared.now(), show);
    Ok(CreatedContainer { id, warnings })
}

/// The host name that comes with a network which is not the container's own; as Docker's daemon does it.
fn shared_hostname(shared: &Shared, spec: &ContainerSpec) -> String {
    match &spec.host.network_mode {
        NetworkMode::Host => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        NetworkMode::Container(name) => match shared.containers.find(name) {
            Ok(other) => crate::launch::host_name(&other.container()),
            Err(_) => String::new(),
        },
        _ => String::new(),
    }
}

/// What was made so far; goes away on drop unless it is kept.
struct Made<'a> {
    shared: &'a Arc<Shared>,
    id: String,
    name: String,
    volumes: Vec<String>,
    /// Nobody removes or renames its volumes before everybody sees that it has them.
    holds: Vec<Hold>,
    keep: bool,
}

impl Made<'_> {
    fn fill(&mut self, mut container: Container) -> Result<Container, Failure> {
        let shared = self.shared;
        failpoint::hit("create.name");
        shared.dirs.make(&self.id)?;
        crate::quota::apply(shared, &container)?;
        failpoint::hit("create.directories");
        let mut mounts = std::mem::take(&mut container.mounts);
        for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Volume) {
            self.volume(&container, mount)?;
        }
        for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Image) {
            super::sources::image(shared, mount)?;
        }
        container.mounts = mounts;
        failpoint::hit("create.volumes");
        // One that removes itself is not worth a wait for the disk.
        let passing = shared.is_passing(&container);
        let care = if passing { records::Care::Passing } else { records::Care::Synced };
        shared.dirs.save(&container, care)?;
        failpoint::hit("create.record");
        shared.dirs.spare_volumes(&self.id);
        Ok(container)
    }

    /// Makes the volume of a mount, if it is not there, and fills it with what the image has at its place.
    fn volume(&mut self, container: &Container, mount: &mut MountPoint) -> Result<(), Failure> {
        let shared = self.shared;
        if mount.driver.as_deref().is_some_and(|driver| driver != "local") {
            let words = format!(
                "error looking up volume plugin {0}: plugin \"{0}\" not found",
                mount.driver.as_deref().unwrap_or_default()
            );
            return Err(Failure::new(ErrorKind::NotFound, words));
        }
        let anonymous = mount.name.is_none();
        let name = match mount.name.clone() {
            Some(name) => name,
            None => random::id()?,
        };
        let request =
            container.spec.host.mounts.iter().find(|wish| wish.target == mount.destination);
        let new = NewVolume {
            name: name.clone(),
            anonymous,
            labels: request.map(|wish| wish.volume_labels.clone()).unwrap_or_default(),
            options: request.map(|wish| wish.volume_options.clone()).unwrap_or_default(),
        };
        if anonymous {
            shared.dirs.doom_volume(&self.id, &name)?;
        }
        let (volume, is_new, hold) = held_volume(shared, &new)?;
        self.holds.push(hold);
        if is_new {
            let driver = [("driver", volume.driver.clone())];
            shared.events.plain(Subject::Volume, "create", &name, &driver, shared.now());
        }
        if anonymous {
            self.volumes.push(name.clone());
        }
        crate::rootfs::check_subpath(&mount.subpath)?;
        mount.anonymous = anonymous || volume.anonymous;
        mount.name = Some(name);
        if super::sources::volume_options(&volume, mount).is_some() {
            return match mount.no_copy || !mount.subpath.is_empty() {
                true => Ok(()),
                false => crate::rootfs::populate_volume(shared, container, mount),
            };
        }
        // Mounted for as long as it is looked at, when it is one that is mounted.
        let user = format!("create {}", self.id);
        mounted::hold(shared, &volume, &user)?;
        let prepared = prepare_volume(shared, container, &volume, mount);
        mounted::release(shared, &volume, &user);
        prepared
    }
}

/// The volume of that name, and whether it was made for this. One that is removed at the same moment is made again.
fn held_volume(shared: &Shared, new: &NewVolume) -> Result<(Volume, bool, Hold), Failure> {
    const ATTEMPTS: usize = 3;
    let mut attempt = 1;
    loop {
        let (volume, is_new) = shared.volumes.create(new.clone(), shared.now())?;
        match shared.volumes.share(&new.name) {
            // It can have gone just before.
            Ok(hold) if shared.volumes.get(&new.name).is_ok() => {
                return Ok((volume, is_new, hold));
            }
            Err(error) if attempt == ATTEMPTS => return Err(error.into()),
            _ => attempt += 1,
        }
    }
}

fn prepare_volume(
    shared: &Shared,
    container: &Container,
    volume: &Volume,
    mount: &mut MountPoint,
) -> Result<(), Failure> {
    mount.source = match mount.subpath.as_str() {
        "" => volume.mountpoint.clone(),
        // Whether it is there shows when the container starts.
        subpath => {
            let joined = std::path::Path::new(&volume.mountpoint).join(subpath);
            joined.to_string_lossy().into_owned()
        }
    };
    if !mount.no_copy && mount.subpath.is_empty() {
        crate::rootfs::populate_volume(shared, container, mount)?;
    }
    Ok(())
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = self.shared.dirs.discard(&self.id) {
            tracing::warn!(id = %self.id, %error, "a container that could not be made left files");
        }
        self.shared.dirs.empty_trash(&self.id);
        for volume in &self.volumes {
            if let Err(error) = self.shared.volumes.remove(volume) {
                tracing::warn!(%volume, %error, "a container that could not be made left a volume");
            }
        }
        self.shared.containers.release_name(&self.name, &self.id);
    }
}

fn check_platform(image: &Entry, wanted: Option<&str>, name: &str) -> Result<(), Failure> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let wanted: Platform = wanted.parse().map_err(|error: ferry_oci::InvalidPlatform| {
        Failure::new(ErrorKind::InvalidArgument, error.to_string())
    })?;
    let own = Platform {
        os: image.config.os.clone(),
        architecture: image.config.architecture.clone(),
        variant: image.config.variant.clone(),
        ..Platform::default()
    };
    if own.fitness(&wanted) > 0 {
        return Ok(());
    }
    // Docker's words; its CLI takes the 404 as a reason to pull.
    let words = format!(
        "image with reference {name} was found but its platform ({own}) does not match the specified platform ({wanted})"
    );
    Err(Failure::new(ErrorKind::NotFound, words))
}

fn inherited_mounts(shared: &Shared, sources: &[String]) -> Result<Vec<MountPoint>, Failure> {
    let mut inherited = Vec::new();
    for source in sources {
        let (name, mode) = source.split_once(':').unwrap_or((source, ""));
        if !matches!(mode, "" | "rw" | "ro" | "z" | "Z") {
            return Err(Failure::new(ErrorKind::InvalidArgument, format!("invalid mode: {mode}")));
        }
        // Not as missing: clients would take that for the image, and pull it.
        let container = shared
            .containers
            .find(name)
            .map_err(|failure| {
                Failure::new(ErrorKind::InvalidArgument, failure.message().to_owned())
            })?
            .container();
        for mount in container.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
            let mut mount = mount.clone();
            mount.rw &= mode != "ro";
            // It goes with the container that it was made for.
            mount.anonymous = false;
            mount.no_copy = true;
            inherited.push(mount);
        }
    }
    Ok(inherited)
}

fn check_bind_sources(mounts: &[MountPoint]) -> Result<(), Failure> {
    for mount in mounts.iter().filter(|mount| mount.kind == MountKind::Bind && !mount.create_source)
    {
        if !std::path::Path::new(&mount.source).exists() {
            let words = format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                mount.source
            );
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
    }
    Ok(())
}

fn made_up_name(shared: &Shared) -> Result<String, Failure> {
    for attempt in 0..32 {
        let name = ferry_stdx::names::make_up(random::number()?, attempt);
        if !shared.containers.has_name(&name) {
            return Ok(name);
        }
    }
    Err(Failure::new(ErrorKind::Internal, "no free container name found: give one with --name"))
}

/// The networks that it will join when it starts, by name. A network that is not there yet is looked for then.
fn planned_endpoints(
    shared: &Shared,
    spec: &mut ContainerSpec,
) -> Result<BTreeMap<String, EndpointStatus>, Failure> {
    let full_name = |name: &str| {
        shared.networks.find(name).map_or_else(|_| name.to_owned(), |network| network.name)
    };
    let primary = match &spec.host.network_mode {
        NetworkMode::Default | NetworkMode::Bridge => Some("bridge".to_owned()),
        NetworkMode::Named(name) => Some(full_name(name)),
        NetworkMode::None => Some("none".to_owned()),
        NetworkMode::Host => Some("host".to_owned()),
        NetworkMode::Container(_) => None,
    };
    let mut endpoints = BTreeMap::new();
    for (name, request) in std::mem::take(&mut spec.endpoints) {
        let network = shared.networks.find(&name).ok();
        crate::net::check(network.as_ref(), &request)
            .map_err(|failure| failure.context(format!("invalid config for network {name}")))?;
        let name = network.map_or(name, |network| network.name);
        endpoints.insert(name, EndpointStatus { request, ..EndpointStatus::default() });
    }
    if let Some(primary) = primary.filter(|_| !spec.network_disabled) {
        let endpoint = endpoints.entry(primary).or_default();
        let is_users = matches!(spec.host.network_mode, NetworkMode::Named(_));
        if is_users && endpoint.request.links.is_empty() {
            endpoint.request.links.clone_from(&spec.host.links);
        }
    }
    Ok(endpoints)
}

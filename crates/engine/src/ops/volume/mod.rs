//! Volumes.

mod content;

use std::collections::{BTreeMap, BTreeSet};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, MountKind, Phase, Pruned},
    event::Subject,
    volume::Volume,
};
use ferry_volume::NewVolume;

pub use self::content::{
    clone, export, import, remove_snapshot, rename, restore, snapshot, snapshots,
};
use crate::{Engine, Shared, filter, random};

/// The volumes that fulfil all filters (`name`, `label`, `driver`, `dangling`), by name.
///
/// # Errors
/// A filter's value does not read.
pub async fn list(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<Volume>, Failure> {
    let shared = &engine.shared;
    let used = used_volumes(shared);
    let dangling = filters.get("dangling").map(|values| filter::one_flag("dangling", values));
    let dangling = dangling.transpose()?;
    let names = filter::Names::read(filters.get("name"));
    let any = |key: &str, matches: &dyn Fn(&str) -> bool| {
        filters.get(key).is_none_or(|values| values.iter().any(|value| matches(value)))
    };
    let mut volumes = shared.volumes.list();
    volumes.retain(|volume| {
        names.matches(&volume.name)
            && any("driver", &|driver| volume.driver == driver)
            && filters
                .get("label")
                .into_iter()
                .flatten()
                .all(|wanted| filter::has_label(&volume.labels, wanted))
            && dangling.is_none_or(|wanted| wanted != used.contains_key(&volume.name))
    });
    Ok(volumes)
}

/// One volume.
///
/// # Errors
/// There is none of that name.
pub async fn inspect(engine: &Engine, name: &str) -> Result<Volume, Failure> {
    Ok(engine.shared.volumes.get(name)?)
}

/// Makes a volume, or answers the one that has the name. An empty name makes an anonymous one.
///
/// # Errors
/// A name, driver or option that is not allowed.
pub async fn create(engine: &Engine, wanted: Volume) -> Result<Volume, Failure> {
    if !matches!(wanted.driver.as_str(), "" | "local") {
        let words = format!(
            "create {}: error looking up volume plugin {1}: plugin \"{1}\" not found",
            wanted.name, wanted.driver
        );
        return Err(Failure::new(ErrorKind::NotFound, words));
    }
    let anonymous = wanted.name.is_empty();
    let new = NewVolume {
        name: if anonymous { random::id()? } else { wanted.name },
        anonymous,
        labels: wanted.labels,
        options: wanted.options,
    };
    let shared = engine.shared.clone();
    crate::blocking(move || {
        let (volume, is_new) = shared.volumes.create(new, shared.now())?;
        if is_new {
            event(&shared, "create", &volume);
        }
        Ok(volume)
    })
    .await
}

/// Removes a volume and its content. `force` makes a missing one no error.
///
/// # Errors
/// A container has it, or there is none.
pub async fn remove(engine: &Engine, name: &str, force: bool) -> Result<(), Failure> {
    let shared = engine.shared.clone();
    let name = name.to_owned();
    crate::blocking(move || {
        let volume = match shared.volumes.get(&name) {
            Ok(volume) => volume,
            Err(_) if force => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let doing = format!("remove {name}: volume is in use");
        check_unused(&shared, &name, &doing, |_| true)?;
        crate::mounted::let_go(&shared, &volume)?;
        shared.volumes.remove(&name)?;
        event(&shared, "destroy", &volume);
        Ok(())
    })
    .await
}

/// Removes unused volumes: anonymous ones, or with the filter `all` every one.
///
/// # Errors
/// A filter's value does not read.
pub async fn prune(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<Pruned, Failure> {
    let shared = engine.shared.clone();
    let filters = filters.clone();
    crate::blocking(move || {
        let all = match filters.get("all").and_then(|values| values.first()) {
            Some(text) => filter::flag("all", text)?,
            None => false,
        };
        let filter = filter::Prune::read(&filters, shared.now())?;
        let used = used_volumes(&shared);
        let mut pruned = Pruned::default();
        for volume in shared.volumes.list() {
            if used.contains_key(&volume.name)
                || !(all || volume.anonymous)
                || !filter.accepts(volume.created, &volume.labels)
            {
                continue;
            }
            crate::mounted::let_go(&shared, &volume)?;
            let size = crate::usage::tree_size(volume.mountpoint.as_ref());
            match shared.volumes.remove(&volume.name) {
                Err(ferry_volume::VolumeError::Busy(_)) => continue,
                removed => removed?,
            }
            event(&shared, "destroy", &volume);
            pruned.reclaimed += size;
            pruned.deleted.push(volume.name);
        }
        shared.events.pruned(Subject::Volume, pruned.reclaimed, shared.now());
        Ok(pruned)
    })
    .await
}

/// Names of volumes with the ids of the containers that have them.
pub(crate) fn used_volumes(shared: &Shared) -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for handle in shared.containers.all() {
        let container = handle.container();
        let volumes = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        for name in volumes.filter_map(|mount| mount.name.as_ref()) {
            used.entry(name.clone()).or_default().insert(container.id.clone());
        }
    }
    used
}

/// Fails if containers in one of those phases have a volume: with their ids, as Docker writes them, and a hint with their names.
fn check_unused(
    shared: &Shared,
    volume: &str,
    doing: &str,
    phase: fn(Phase) -> bool,
) -> Result<(), Failure> {
    let users = users(shared, volume, phase);
    if users.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = users.keys().map(String::as_str).collect();
    let mut names: Vec<&str> = users.values().map(String::as_str).collect();
    names.sort_unstable();
    let words = format!("{doing} - [{}]", ids.join(", "));
    let hint = format!("these containers have it: {}", names.join(", "));
    Err(Failure::new(ErrorKind::Conflict, words).with_hint(hint))
}

/// The ids and names of the containers in one of those phases that have a volume.
fn users(shared: &Shared, volume: &str, phase: fn(Phase) -> bool) -> BTreeMap<String, String> {
    let has = |container: &Container| {
        let mut mounts = container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        mounts.any(|mount| mount.name.as_deref() == Some(volume))
    };
    let all = shared.containers.all();
    let containers = all.iter().map(|handle| handle.container());
    let users = containers.filter(|container| phase(container.state.phase) && has(container));
    users.map(|container| (container.id.clone(), container.name.clone())).collect()
}

fn event(shared: &Shared, action: &str, volume: &Volume) {
    let driver = [("driver", volume.driver.clone())];
    shared.events.plain(Subject::Volume, action, &volume.name, &driver, shared.now());
}

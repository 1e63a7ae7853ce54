//! `rmi` and `image prune`.

use std::collections::BTreeMap;

use ferry_errkind::Failure;
use ferry_image::{User, Users};
use ferry_model::{container::MountKind, event::Subject, image::ImageRemoval};
use ferry_stdx::time::Timestamp;

use super::{event, sweep_layers};
use crate::{Engine, Shared, filter};

/// Takes a name away from an image, and removes the image with its last name.
///
/// # Errors
/// There is no such image, or Docker's rules keep it: the words are Docker's.
pub async fn remove(
    engine: &Engine,
    name: &str,
    force: bool,
    prune_children: bool,
) -> Result<Vec<ImageRemoval>, Failure> {
    // Images here have no parents that only they hold: there is nothing more to prune or to keep.
    let _ = prune_children;
    let shared = engine.shared.clone();
    let name = name.to_owned();
    crate::blocking(move || {
        let removals = remove_one(&shared, &name, force)?;
        sweep_layers(&shared);
        Ok(removals)
    })
    .await
}

/// Removes images that no container has: nameless ones, or with the filter `dangling=false` every one. Also says how many
/// bytes are free again.
///
/// # Errors
/// A filter's value does not read.
pub async fn prune(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<(Vec<ImageRemoval>, u64), Failure> {
    let shared = engine.shared.clone();
    let filters = filters.clone();
    crate::blocking(move || {
        let dangling = match filters.get("dangling").and_then(|values| values.first()) {
            Some(text) => filter::flag("dangling", text)?,
            None => true,
        };
        let filter = filter::Prune::read(&filters, shared.now())?;
        let users = users(&shared);
        let mut removals = Vec::new();
        for named in shared.images.list() {
            let config = &named.entry.config;
            let created = config.created.as_deref().and_then(Timestamp::parse_rfc3339);
            let labels = config.config.as_ref().and_then(|config| config.labels.clone());
            let wanted = (!dangling || named.tags.is_empty())
                && !users.contains_key(&named.entry.image.id)
                && filter.accepts(created.unwrap_or_default(), &labels.unwrap_or_default());
            if wanted {
                removals.extend(remove_one(&shared, &named.entry.image.id.to_string(), true)?);
            }
        }
        let freed = sweep_layers(&shared);
        shared.events.pruned(Subject::Image, freed, shared.now());
        Ok((removals, freed))
    })
    .await
}

fn remove_one(shared: &Shared, name: &str, force: bool) -> Result<Vec<ImageRemoval>, Failure> {
    let plan = shared.images.plan_removal(name, force, &users(shared))?;
    let layers = shared.images.get(name)?.entry.layers().to_vec();
    shared.images.remove(&plan)?;
    let mut removals = Vec::new();
    for name in plan.untag {
        // Docker's name of what it was taken from.
        event(shared, "untag", &plan.image, &plan.image.to_string());
        removals.push(ImageRemoval::Untagged(name));
    }
    if plan.delete {
        event(shared, "delete", &plan.image, &plan.image.to_string());
        removals.push(ImageRemoval::Deleted(plan.image.to_string()));
        let kept = shared.images.layers();
        let gone = layers.into_iter().rev().filter(|layer| !kept.contains(layer));
        removals.extend(gone.map(|layer| ImageRemoval::Deleted(layer.to_string())));
    }
    for other in plan.others {
        event(shared, "delete", &other, &other.to_string());
        removals.push(ImageRemoval::Deleted(other.to_string()));
    }
    Ok(removals)
}

/// Who uses which image.
fn users(shared: &Shared) -> Users {
    let mut users = Users::new();
    for handle in shared.containers.all() {
        let container = handle.container();
        let user =
            User { container: container.id.clone(), running: container.state.phase.is_running() };
        let mounted = container.mounts.iter().filter(|mount| mount.kind == MountKind::Image);
        for image in mounted.filter_map(|mount| mount.name.as_deref()?.parse().ok()) {
            users.entry(image).or_default().push(user.clone());
        }
        users.entry(container.image_id.clone()).or_default().push(user);
    }
    users
}

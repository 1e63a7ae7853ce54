//! `container prune`.

use std::collections::BTreeMap;

use ferry_errkind::Failure;
use ferry_model::{
    container::{Phase, Pruned},
    event::Subject,
};

use super::{RemoveRequest, remove};
use crate::{Engine, filter};

/// Removes every container that does not run and fulfils the filters (`until`, `label`, `label!`).
///
/// # Errors
/// A filter that does not read. Containers that cannot be removed are left and logged.
pub async fn prune(
    engine: &Engine,
    filters: &BTreeMap<String, Vec<String>>,
) -> Result<Pruned, Failure> {
    let filter = filter::Prune::read(filters, engine.shared.now())?;
    let mut pruned = Pruned::default();
    for handle in engine.shared.containers.all() {
        let container = handle.container();
        let ended = matches!(container.state.phase, Phase::Created | Phase::Exited | Phase::Dead);
        if handle.is_of_pod()
            || !ended
            || !filter.accepts(container.created, &container.spec.labels)
        {
            continue;
        }
        let upper = engine.shared.dirs.data(&container.id).join("upper");
        let size = crate::blocking(move || Ok(crate::usage::tree_size(&upper))).await?;
        match remove(engine, &container.id, RemoveRequest::default()).await {
            Ok(()) => {
                pruned.reclaimed += size;
                pruned.deleted.push(container.id.clone());
            }
            Err(error) => tracing::warn!(id = %container.id, %error, "not pruned"),
        }
    }
    let shared = &engine.shared;
    shared.events.pruned(Subject::Container, pruned.reclaimed, shared.now());
    Ok(pruned)
}

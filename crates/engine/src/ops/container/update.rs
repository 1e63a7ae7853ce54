//! `update`: other limits and another restart policy.

use ferry_errkind::Failure;
use ferry_model::container::UpdateContainer;

use super::verbs::ask;
use crate::{Engine, actor::Command, validate};

/// Changes a container's limits and restart policy, at once if it runs.
///
/// # Errors
/// No such container; a limit that Docker refuses, or that does not go with those that are set; or the kernel refuses one.
pub async fn update(engine: &Engine, name: &str, update: UpdateContainer) -> Result<(), Failure> {
    validate::limits(&engine.shared, &update.resources, validate::Moment::Update)?;
    if !update.unified.is_empty() && !engine.shared.hierarchy.is_v2() {
        return Err(validate::no_unified());
    }
    let update = Box::new(update);
    ask(engine, name, |reply| Command::Update { update, reply }).await
}

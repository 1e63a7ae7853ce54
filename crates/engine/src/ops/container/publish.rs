//! Other published ports for a container that lives, beyond Docker.

use ferry_errkind::Failure;
use ferry_model::network::PortsChange;

use super::verbs::ask;
use crate::{Engine, actor::Command};

/// Publishes further ports of a container and takes others away: at once if it runs, and for its next starts.
///
/// # Errors
/// No such container, a port to take away that is not published, or one to publish that is taken. Nothing changes then.
pub async fn publish(engine: &Engine, name: &str, change: PortsChange) -> Result<(), Failure> {
    let change = Box::new(change);
    ask(engine, name, |reply| Command::Ports { change, reply }).await
}

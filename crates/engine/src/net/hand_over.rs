//! Handing over: a container that has started aside becomes known by name and port, and one that is to end stops being both.
//!
//! Whoever updates a service starts the new container *aside* (nobody finds it), waits until it is well, and then lets it succeed the
//! old one: its names are added and the ports led to it, in one step of the firewall, before the old one's names go. Connections
//! that exist stay where they are; `ops/container/hand_over.rs` waits for their end.
//!
//! A crash: who is aside is not on record. The next engine makes the names of everything that runs known; a port that was moved is on
//! the record of both for a moment, and the one that the next engine meets first keeps it (`ports::own_ports`). Whoever updates can
//! reveal the one that is to stay once more: it gets what it does not have, and nothing else changes.

use ferry_errkind::Failure;
use ferry_model::container::Container;

use super::{names, ports};
use crate::Shared;

/// Makes a container that was started aside known. Ports that it wants and `from` has are moved; nothing has changed when that fails.
pub(crate) fn reveal(
    shared: &Shared,
    container: &mut Container,
    from: Option<&Container>,
) -> Result<(), Failure> {
    if container.ports.is_empty() {
        let owner = from.map(|from| from.id.as_str());
        let moved = ports::reserve_from(shared, container, owner).and_then(|(bound, published)| {
            shared.publish(&published)?;
            Ok(bound)
        });
        match moved {
            Ok(bound) => container.ports = bound,
            Err(failure) => {
                shared.networks.release_ports(&container.id);
                if let Some(from) = from {
                    ports::lead_back(shared, from);
                }
                return Err(failure);
            }
        }
    }
    shared.networks.set_aside(&container.id, false);
    for network in container.endpoints.keys() {
        names::join(shared, container, network);
    }
    Ok(())
}

/// Makes a container that runs unknown: no name and no port leads to it from now on.
pub(crate) fn withdraw(shared: &Shared, container: &mut Container) {
    // Whoever renames it meanwhile does not make it known again.
    shared.networks.set_aside(&container.id, true);
    for endpoint in container.endpoints.values().filter(|one| !one.endpoint_id.is_empty()) {
        shared.resolvers.leave(endpoint);
    }
    // What was moved to another one is not its own any more.
    container.ports.retain(|_, bindings| {
        bindings.retain(|binding| shared.networks.holds(&container.id, binding));
        !bindings.is_empty()
    });
    ports::withdraw(shared, container);
    shared.networks.release_ports(&container.id);
    container.ports.clear();
}

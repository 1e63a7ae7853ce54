//! `network connect` and `disconnect` of a container that runs.
//!
//! A crash in between: the record is written last when a network is joined and first when one is left. So the next engine takes
//! away whatever the record does not name (`boot.rs`), and [`mend`] puts the container's side in order.

use std::{net::IpAddr, os::unix::fs::FileExt as _};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, NetworkMode},
    network::{EndpointRequest, EndpointStatus},
};

use super::{Joining, order, ports};
use crate::{Shared, failpoint, launch};

/// What Docker says when a container's mode has no room for a network.
pub(crate) fn check_mode(container: &Container, network: &str) -> Result<(), Failure> {
    let refuse = |words: &str| Err(Failure::new(ErrorKind::InvalidArgument, words));
    match (&container.spec.host.network_mode, network) {
        (NetworkMode::Host | NetworkMode::Container(_), _) => refuse(
            "container sharing network namespace with another container or host cannot be connected to any other network",
        ),
        (_, "host") => refuse(
            "cannot connect container to host network - container must be created in host network mode",
        ),
        (NetworkMode::None, _) | (_, "none") => refuse(
            "container cannot be connected to multiple networks with one of the networks in private (none) mode",
        ),
        _ => Ok(()),
    }
}

/// Puts a running container on a network. The caller writes the record afterwards; nothing is left when it fails.
pub(crate) fn connect(
    shared: &Shared,
    container: &mut Container,
    name: &str,
    request: EndpointRequest,
    pid: i32,
) -> Result<(), Failure> {
    let network = shared.networks.find(name)?;
    let before = ports::published_ports(container);
    let way_out = order::gateway(&container.endpoints).map(|(name, _)| name.clone());
    let endpoint = EndpointStatus { request, ..EndpointStatus::default() };
    container.endpoints.insert(name.to_owned(), endpoint);
    let connected = super::join(shared, container, &network, name).and_then(|endpoint| {
        failpoint::hit("connect.lease");
        super::wire(shared, container, &Joining { network: name.to_owned(), endpoint }, pid)?;
        failpoint::hit("connect.link");
        ports::follow(shared, container, &before)?;
        failpoint::hit("connect.ports");
        super::names::update(shared, container, pid)?;
        update_hosts(shared, container)
    });
    if let Err(failure) = connected {
        if let Some(endpoint) = container.endpoints.remove(name) {
            undo(shared, container, &endpoint, way_out.as_deref(), pid);
        }
        return Err(failure);
    }
    Ok(())
}

/// What failed half way goes; what was there before comes back.
fn undo(
    shared: &Shared,
    container: &mut Container,
    endpoint: &EndpointStatus,
    way_out: Option<&str>,
    pid: i32,
) {
    super::unwire(&container.id, endpoint);
    super::release(shared, endpoint);
    // The ports may have been moved already.
    let moved =
        Container { endpoints: [(String::new(), endpoint.clone())].into(), ..container.clone() };
    let restored = ports::follow(shared, container, &ports::published_ports(&moved))
        .and_then(|()| if way_out.is_some() { mend(shared, container, pid) } else { Ok(()) });
    if let Err(failure) = restored {
        tracing::warn!(id = %container.id, %failure, "a network that could not be joined left traces");
    }
}

/// Takes a running container off a network that its record does not name any more. `endpoint` is what it was there.
pub(crate) fn leave(
    shared: &Shared,
    container: &mut Container,
    endpoint: &EndpointStatus,
    before: &[ferry_network::PublishedPort],
    pid: i32,
) -> Result<(), Failure> {
    ports::follow(shared, container, before)?;
    failpoint::hit("disconnect.ports");
    super::unwire(&container.id, endpoint);
    failpoint::hit("disconnect.link");
    super::release(shared, endpoint);
    mend(shared, container, pid)
}

/// Makes the inside of a running container what its record says: no other links of ours, the default route, `/etc/hosts`. One that
/// has no network of its own has nothing to mend: its links are the host's.
pub(crate) fn mend(shared: &Shared, container: &Container, pid: i32) -> Result<(), Failure> {
    if matches!(container.spec.host.network_mode, NetworkMode::Host | NetworkMode::Container(_)) {
        return Ok(());
    }
    let known: Vec<&str> =
        container.endpoints.values().map(|endpoint| endpoint.interface.as_str()).collect();
    let defaults: Vec<_> = [false, true]
        .into_iter()
        .filter_map(|v6| {
            let (name, gateway) = order::default_route(&container.endpoints, v6)?;
            let out = container.endpoints.get(name)?;
            Some((out.interface.as_str(), gateway))
        })
        .collect();
    ferry_network::mend(pid, &known, &defaults)?;
    super::names::update(shared, container, pid)?;
    update_hosts(shared, container)
}

/// Writes the file in place: it is mounted in the container, which would not see another. It is never empty meanwhile, for nobody who
/// reads it, nor for whoever finds it after a crash; and ext4 sends a file that was emptied to the disk before it can be closed.
fn update_hosts(shared: &Shared, container: &Container) -> Result<(), Failure> {
    let path = shared.dirs.data(&container.id).join("hosts");
    let failed = |source| crate::records::failed("update", &path, source);
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    let names = launch::own_names(&container.spec, &launch::host_name(container));
    let own: Vec<IpAddr> = order::of_links(&container.endpoints, &container.spec.host.network_mode)
        .iter()
        .filter_map(|name| container.endpoints.get(name))
        .flat_map(super::addresses)
        .collect();
    match ferry_container::updated_hosts(&text, &own, &names) {
        Some(updated) => {
            let write = || {
                let file = std::fs::OpenOptions::new().write(true).open(&path)?;
                file.write_all_at(updated.as_bytes(), 0)?;
                file.set_len(updated.len() as u64)
            };
            write().map_err(failed)
        }
        None => Ok(()),
    }
}

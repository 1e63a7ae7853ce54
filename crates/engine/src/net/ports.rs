//! A container's published ports: reserved on the host, led to the endpoint that is its way out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Container,
    network::{EndpointStatus, PortBinding, PortKey, Protocol},
};
use ferry_network::PublishedPort;

use super::order;
use crate::{Shared, networks::PortOwner};

/// Tries to find a port that is free in both families where any will do.
const ATTEMPTS: usize = 16;

/// The map elements of a container that runs. What the kernel does not translate is not among them: see `relay.rs`.
///
/// A crash in the middle of handing over leaves a port on two records; it is that container's which holds it.
pub(crate) fn own_ports(shared: &Shared, container: &Container) -> Vec<PublishedPort> {
    let mut own = container.clone();
    for (key, bindings) in &mut own.ports {
        let others = |it: &PortBinding| shared.networks.holds_another(&own.id, key.protocol, it);
        bindings.retain(|binding| !others(binding));
    }
    published_ports(&own)
}

/// All that are on a container's record.
pub(crate) fn published_ports(container: &Container) -> Vec<PublishedPort> {
    let Some((_, endpoint)) = order::gateway(&container.endpoints) else { return Vec::new() };
    let all = container.ports.iter();
    let bindings = all.flat_map(|(key, bindings)| bindings.iter().map(move |it| (key, it)));
    bindings.filter_map(|(key, binding)| published(*key, binding, endpoint)).collect()
}

fn published(
    key: PortKey,
    binding: &PortBinding,
    endpoint: &EndpointStatus,
) -> Option<PublishedPort> {
    let host_ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let container_ip = match host_ip {
        IpAddr::V4(_) => IpAddr::V4(endpoint.ipv4?),
        IpAddr::V6(ip) if ip.is_loopback() => return None,
        IpAddr::V6(_) => IpAddr::V6(endpoint.ipv6?),
    };
    Some(PublishedPort {
        protocol: key.protocol,
        host_ip: Some(host_ip).filter(|ip| !ip.is_unspecified()),
        host_port: binding.host_port,
        container_ip,
        container_port: key.port,
    })
}

/// Where a packet for an address of the host ends up. Without an address of its own family a container is reached by IPv4, from
/// IPv6 only.
fn target(endpoint: &EndpointStatus, host_ip: IpAddr, port: u16) -> Option<SocketAddr> {
    let v4 = endpoint.ipv4.map(IpAddr::V4);
    let ip = if host_ip.is_ipv4() { v4 } else { endpoint.ipv6.map(IpAddr::V6).or(v4) };
    ip.map(|ip| SocketAddr::new(ip, port))
}

fn wanted_ports(shared: &Shared, container: &Container) -> Vec<(PortKey, PortBinding)> {
    let host = &container.spec.host;
    let mut ports: Vec<(PortKey, PortBinding)> = Vec::new();
    for (key, bindings) in &host.port_bindings {
        ports.extend(bindings.iter().map(|binding| (*key, *binding)));
    }
    if host.publish_all_ports {
        for key in &container.spec.exposed_ports {
            if !host.port_bindings.contains_key(key) {
                ports.push((*key, PortBinding::default()));
            }
        }
    }
    // The network's own setting, then the daemon's.
    let default = order::gateway(&container.endpoints)
        .and_then(|(name, _)| shared.networks.find(name).ok())
        .and_then(|network| crate::networks::host_binding(&network))
        .or(shared.config.bridge.publish_address);
    for (_, binding) in &mut ports {
        binding.host_ip = binding.host_ip.or(default);
    }
    ports
}

/// What was bound, and the elements that make it reachable.
type Bound = (BTreeMap<PortKey, Vec<PortBinding>>, Vec<PublishedPort>);

/// Holds the ports that the container wants. Nothing is bound if none of its networks leads out.
pub(super) fn reserve(shared: &Shared, container: &Container) -> Result<Bound, Failure> {
    if shared.networks.is_aside(&container.id) {
        return Ok(Bound::default());
    }
    reserve_from(shared, container, None)
}

/// As [`reserve`]; ports that are `from`'s are taken from there.
pub(super) fn reserve_from(
    shared: &Shared,
    container: &Container,
    from: Option<&str>,
) -> Result<Bound, Failure> {
    let Some((_, endpoint)) = order::gateway(&container.endpoints) else {
        return Ok(Bound::default());
    };
    let owner = PortOwner { id: &container.id, name: &container.name, from };
    reserve_for(shared, container, owner, endpoint).map_err(|failure| {
        failure.context(format!(
            "{}: driver failed programming external connectivity on endpoint {} ({})",
            super::STARTING,
            container.name,
            endpoint.endpoint_id
        ))
    })
}

fn reserve_for(
    shared: &Shared,
    container: &Container,
    owner: PortOwner<'_>,
    endpoint: &EndpointStatus,
) -> Result<Bound, Failure> {
    let mut bound = Bound::default();
    for (key, wanted) in wanted_ports(shared, container) {
        for binding in reserve_one(shared, owner, endpoint, key, &wanted)? {
            bound.1.extend(published(key, &binding, endpoint));
            bound.0.entry(key).or_default().push(binding);
        }
    }
    Ok(bound)
}

/// Holds one port: on the address that is asked for, or on all, of both families with the same number.
fn reserve_one(
    shared: &Shared,
    owner: PortOwner<'_>,
    endpoint: &EndpointStatus,
    key: PortKey,
    wanted: &PortBinding,
) -> Result<Vec<PortBinding>, Failure> {
    if key.protocol == Protocol::Sctp {
        let words = "publishing SCTP ports is not supported yet";
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let mut addresses = match wanted.host_ip {
        Some(ip) => vec![ip],
        None if std::path::Path::new("/proc/net/if_inet6").exists() => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    };
    addresses.retain(|ip| target(endpoint, *ip, key.port).is_some());
    let candidates: Vec<u16> = match wanted.host_port {
        0 => vec![0; ATTEMPTS],
        first => (first..=wanted.host_port_end.max(first)).collect(),
    };
    let mut failure = None;
    for port in candidates {
        match reserve_all(shared, owner, endpoint, key, &addresses, port) {
            Ok(bindings) => return Ok(bindings),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None => Ok(Vec::new()),
    }
}

/// The same port on all of the addresses, or on none.
fn reserve_all(
    shared: &Shared,
    owner: PortOwner<'_>,
    endpoint: &EndpointStatus,
    key: PortKey,
    addresses: &[IpAddr],
    port: u16,
) -> Result<Vec<PortBinding>, Failure> {
    let mut bindings: Vec<PortBinding> = Vec::new();
    for ip in addresses {
        let Some(leads_to) = target(endpoint, *ip, key.port) else { continue };
        let port = bindings.first().map_or(port, |first| first.host_port);
        let wanted = PortBinding { host_ip: Some(*ip), host_port: port, host_port_end: port };
        match shared.networks.reserve_port(owner, key.protocol, *ip, &wanted, leads_to) {
            Ok(port) => bindings.push(PortBinding {
                host_ip: Some(*ip),
                host_port: port,
                host_port_end: port,
            }),
            Err(failure) => {
                for binding in &bindings {
                    let ip = binding.host_ip.unwrap_or(*ip);
                    shared.networks.release_port(owner.id, ip, binding.host_port);
                }
                return Err(failure);
            }
        }
    }
    Ok(bindings)
}

/// Holds the ports that a running container has on record, for where it is reached now.
pub(crate) fn hold_again(shared: &Shared, container: &Container) {
    let Some((_, endpoint)) = order::gateway(&container.endpoints) else { return };
    let owner = PortOwner { id: &container.id, name: &container.name, from: None };
    for (key, bindings) in &container.ports {
        for binding in bindings {
            let ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            if shared.networks.holds(owner.id, binding) {
                continue;
            }
            let held = reserve_all(shared, owner, endpoint, *key, &[ip], binding.host_port);
            if let Err(failure) = held {
                tracing::warn!(id = %container.id, %failure, "published port not reserved again");
            }
        }
    }
}

/// Lets the ports on a container's record lead there again.
pub(super) fn lead_back(shared: &Shared, container: &Container) {
    hold_again(shared, container);
    if let Err(error) = ferry_network::publish(&shared.table(), &published_ports(container)) {
        tracing::warn!(id = %container.id, error = ferry_errkind::chain(&error), "ports not published again");
    }
}

/// Lets nothing lead to the container any more.
pub(super) fn withdraw(shared: &Shared, container: &Container) {
    let published = own_ports(shared, container);
    if !published.is_empty()
        && let Err(error) = ferry_network::unpublish(&shared.table(), &published)
    {
        tracing::warn!(id = %container.id, error = ferry_errkind::chain(&error), "ports not unpublished");
    }
}

/// Lets the ports lead where the container's way out is now; `before` is what they led to until now.
pub(super) fn follow(
    shared: &Shared,
    container: &mut Container,
    before: &[PublishedPort],
) -> Result<(), Failure> {
    let leads_out = order::gateway(&container.endpoints).is_some();
    if leads_out && container.ports.is_empty() {
        let (bound, published) = reserve(shared, container)?;
        container.ports = bound;
        return Ok(ferry_network::publish(&shared.table(), &published)?);
    }
    let after = published_ports(container);
    if after == before {
        return Ok(());
    }
    if !before.is_empty() {
        ferry_network::unpublish(&shared.table(), before)?;
    }
    shared.networks.release_ports(&container.id);
    if !leads_out {
        container.ports.clear();
        return Ok(());
    }
    hold_again(shared, container);
    Ok(ferry_network::publish(&shared.table(), &after)?)
}

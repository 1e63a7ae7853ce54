//! A container's published ports: reserved on the host, led to the endpoint that is its way out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Container,
    network::{PortBinding, PortKey, Protocol},
};
use ferry_network::PublishedPort;

use super::order;
use crate::Shared;

/// The map elements of a container that runs.
pub(crate) fn published_ports(container: &Container) -> Vec<PublishedPort> {
    let Some(address) = order::gateway(&container.endpoints).and_then(|(_, it)| it.ipv4) else {
        return Vec::new();
    };
    let mut published = Vec::new();
    for (key, bindings) in &container.ports {
        for binding in bindings {
            let host_ip = match binding.host_ip {
                Some(IpAddr::V4(ip)) if ip.is_unspecified() => None,
                Some(IpAddr::V4(ip)) => Some(ip),
                Some(IpAddr::V6(_)) => continue,
                None => None,
            };
            published.push(PublishedPort {
                protocol: key.protocol,
                host_ip,
                host_port: binding.host_port,
                container_ip: address,
                container_port: key.port,
            });
        }
    }
    published
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
    for (_, binding) in &mut ports {
        binding.host_ip = binding.host_ip.or(shared.config.bridge.publish_address);
    }
    ports
}

/// What was bound, and the elements that make it reachable.
type Bound = (BTreeMap<PortKey, Vec<PortBinding>>, Vec<PublishedPort>);

/// Holds the ports that the container wants. Nothing is bound if none of its networks leads out.
pub(super) fn reserve(shared: &Shared, container: &Container) -> Result<Bound, Failure> {
    let Some((_, endpoint)) = order::gateway(&container.endpoints) else {
        return Ok(Bound::default());
    };
    let Some(address) = endpoint.ipv4 else { return Ok(Bound::default()) };
    reserve_for(shared, container, address).map_err(|failure| {
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
    address: Ipv4Addr,
) -> Result<Bound, Failure> {
    let mut bound = Bound::default();
    for (key, wanted) in wanted_ports(shared, container) {
        let (binding, port) = reserve_one(shared, container, address, key, &wanted)?;
        bound.0.entry(key).or_default().push(binding);
        bound.1.push(port);
    }
    Ok(bound)
}

fn reserve_one(
    shared: &Shared,
    container: &Container,
    address: Ipv4Addr,
    key: PortKey,
    wanted: &PortBinding,
) -> Result<(PortBinding, PublishedPort), Failure> {
    if key.protocol == Protocol::Sctp {
        let words = "publishing SCTP ports is not supported yet";
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let host_ip = match wanted.host_ip {
        Some(IpAddr::V6(ip)) => {
            let words = format!("publishing on the IPv6 address {ip} is not supported yet");
            return Err(Failure::new(ErrorKind::NotImplemented, words));
        }
        Some(IpAddr::V4(ip)) if !ip.is_unspecified() => Some(ip),
        _ => None,
    };
    let port = shared.networks.reserve_port(
        &container.id,
        &container.name,
        key.protocol,
        host_ip,
        wanted,
        SocketAddrV4::new(address, key.port),
    )?;
    let shown = IpAddr::V4(host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED));
    let binding = PortBinding { host_ip: Some(shown), host_port: port, host_port_end: port };
    let published = PublishedPort {
        protocol: key.protocol,
        host_ip,
        host_port: port,
        container_ip: address,
        container_port: key.port,
    };
    Ok((binding, published))
}

/// Lets nothing lead to the container any more.
pub(super) fn withdraw(shared: &Shared, container: &Container) {
    let published = published_ports(container);
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
    if !leads_out {
        container.ports.clear();
        shared.networks.release_ports(&container.id);
    }
    if !after.is_empty() {
        ferry_network::publish(&shared.table(), &after)?;
    }
    Ok(())
}

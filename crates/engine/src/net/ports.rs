//! A container's published ports: reserved on the host, led to the endpoint that is its way out.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::Container,
    network::{EndpointStatus, HostPort, PortBinding, PortKey, PortsChange, Protocol},
};
use ferry_network::{GatewayMode, PublishedPort};

use super::order;
use crate::{Shared, failpoint, networks::PortOwner};

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
    let Some((_, endpoint)) = way_in(container) else { return Vec::new() };
    let all = container.ports.iter();
    let bindings = all.flat_map(|(key, bindings)| bindings.iter().map(move |it| (key, it)));
    bindings.flat_map(|(key, binding)| elements(*key, binding, endpoint)).collect()
}

/// What a binding is in the kernel: the host's port, and the container's own for those who may reach that.
fn elements(
    key: PortKey,
    binding: &PortBinding,
    endpoint: &EndpointStatus,
) -> impl Iterator<Item = PublishedPort> {
    let port = published(key, binding, endpoint);
    let is_direct = |v6: bool| if v6 { endpoint.direct6 } else { endpoint.direct };
    let direct = port.filter(|port| is_direct(port.container_ip.is_ipv6()));
    port.into_iter().chain(direct.map(|port| PublishedPort { host_ip: None, host_port: 0, ..port }))
}

/// The endpoint that published ports lead to: that of the way out, if it is on a bridge of ours. What shares a link of the host
/// is reached there by its own address, and publishes nothing.
fn way_in(container: &Container) -> Option<(&String, &EndpointStatus)> {
    order::gateway(&container.endpoints).filter(|(_, endpoint)| !endpoint.host_link.is_empty())
}

fn published(
    key: PortKey,
    binding: &PortBinding,
    endpoint: &EndpointStatus,
) -> Option<PublishedPort> {
    let host_ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let container_ip = match host_ip {
        // Of a routed network: none but the container's own port.
        IpAddr::V6(_) if binding.host_port == 0 => IpAddr::V6(endpoint.ipv6?),
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
    let default = way_in(container)
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
    let Some((_, endpoint)) = way_in(container) else {
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
            bound.1.extend(elements(key, &binding, endpoint));
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
    let mut addresses = match wanted.host_ip {
        Some(ip) => vec![ip],
        None if std::path::Path::new("/proc/net/if_inet6").exists() => {
            vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
        }
        None => vec![Ipv4Addr::UNSPECIFIED.into()],
    };
    addresses.retain(|ip| target(endpoint, *ip, key.port).is_some());
    if key.protocol == Protocol::Sctp {
        only_translated(shared, endpoint, key, wanted, &mut addresses)?;
    }
    let candidates: Vec<u16> = match wanted.host_port {
        0 => vec![0; ATTEMPTS],
        first => (first..=wanted.host_port_end.max(first)).collect(),
    };
    let routed = routed(shared, endpoint, &mut addresses);
    let open = |ip| PortBinding { host_ip: Some(ip), host_port: 0, host_port_end: 0 };
    let routed = routed.into_iter().map(open);
    let mut failure = None;
    for port in candidates {
        match reserve_all(shared, owner, endpoint, key, &addresses, port) {
            Ok(bindings) => return Ok(routed.chain(bindings).collect()),
            Err(error) => failure = Some(error),
        }
    }
    let is_range = wanted.host_port_end > wanted.host_port;
    match failure {
        // Docker's words, with what became of the last one behind them.
        Some(last) if is_range && last.message().contains("port is already allocated") => {
            Err(Failure::new(last.kind(), format!("all ports are allocated: {}", last.message())))
        }
        Some(failure) => Err(failure),
        None => Ok(Vec::new()),
    }
}

/// Takes addresses out for which the host holds no port, since the container's network is routed in their family. Answers what is shown
/// instead of them, Docker's any-address of the family.
fn routed(shared: &Shared, endpoint: &EndpointStatus, addresses: &mut Vec<IpAddr>) -> Vec<IpAddr> {
    let Ok(network) = shared.networks.find(&endpoint.network_id) else { return Vec::new() };
    let mut found = Vec::new();
    let families = [
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), endpoint.ipv4.is_some()),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), endpoint.ipv6.is_some()),
    ];
    for (any, has) in families {
        let mode = crate::networks::gateway_mode(&network, any.is_ipv6());
        let count = addresses.len();
        if has && mode == GatewayMode::Routed {
            addresses.retain(|ip| ip.is_ipv6() != any.is_ipv6());
            found.extend(Some(any).filter(|_| addresses.len() < count));
        }
    }
    found
}

/// Only the kernel carries SCTP: what would take a relay is left out, or refused if it was asked for.
fn only_translated(
    shared: &Shared,
    endpoint: &EndpointStatus,
    key: PortKey,
    wanted: &PortBinding,
    addresses: &mut Vec<IpAddr>,
) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::new(ErrorKind::NotImplemented, why));
    if shared.config.bridge.respect_firewall {
        return refuse("publishing SCTP ports is not supported with --firewall=respect".to_owned());
    }
    addresses.retain(|ip| {
        let binding = PortBinding { host_ip: Some(*ip), ..*wanted };
        published(key, &binding, endpoint).is_some()
    });
    match (wanted.host_ip, addresses.is_empty()) {
        (Some(ip), true) => refuse(format!(
            "publishing SCTP ports on {ip} is not supported for a container that has no address which {ip} can be translated to"
        )),
        _ => Ok(()),
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
                    shared.networks.release_port(owner.id, key.protocol, ip, binding.host_port);
                }
                return Err(failure);
            }
        }
    }
    Ok(bindings)
}

/// Holds the ports that a running container has on record, for where it is reached now.
pub(crate) fn hold_again(shared: &Shared, container: &Container) {
    let Some((_, endpoint)) = way_in(container) else { return };
    let owner = PortOwner { id: &container.id, name: &container.name, from: None };
    for (key, bindings) in &container.ports {
        for binding in bindings {
            let ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            if binding.host_port == 0 || shared.networks.holds(owner.id, binding) {
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
    if let Err(failure) = shared.publish(&published_ports(container)) {
        tracing::warn!(id = %container.id, %failure, "ports not published again");
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
    let leads_out = way_in(container).is_some();
    if leads_out && container.ports.is_empty() {
        let (bound, published) = reserve(shared, container)?;
        container.ports = bound;
        return shared.publish(&published);
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
    shared.publish(&after)
}

/// Publishes other ports: takes away first, so that a port can change what it leads to. All or nothing.
pub(crate) fn change(
    shared: &Shared,
    container: &mut Container,
    change: &PortsChange,
    runs: bool,
) -> Result<(), Failure> {
    let before = container.clone();
    for gone in &change.remove {
        if !take_out(container, gone) {
            let words = format!("container {} does not publish port {gone}", container.name);
            return Err(Failure::new(ErrorKind::NotFound, words));
        }
    }
    for (key, bindings) in &change.add {
        container.spec.host.port_bindings.entry(*key).or_default().extend(bindings);
        container.spec.exposed_ports.insert(*key);
    }
    if !runs {
        return Ok(());
    }
    if way_in(container).is_none() {
        let words =
            format!("container {} is on no network that ports are published for", container.name);
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let stays = published_ports(container);
    let gone: Vec<PublishedPort> =
        published_ports(&before).into_iter().filter(|port| !stays.contains(port)).collect();
    if !gone.is_empty() {
        ferry_network::unpublish(&shared.table(), &gone)?;
    }
    release_missing(shared, &before, container);
    failpoint::hit("ports.withdrawn");
    if let Err(failure) = open(shared, container, change) {
        // What was taken away comes back.
        let back = held_only(&before, container);
        hold_again(shared, &back);
        shared.publish(&gone)?;
        return Err(failure);
    }
    Ok(())
}

/// Takes a host port out of what is published and of what is wanted.
fn take_out(container: &mut Container, gone: &HostPort) -> bool {
    let is = |key: &PortKey, binding: &PortBinding| {
        key.protocol == gone.protocol
            && binding.host_port == gone.port
            && gone.ip.is_none_or(|ip| binding.host_ip.is_none_or(|own| own == ip))
    };
    let mut found = false;
    for (key, bindings) in &mut container.ports {
        let count = bindings.len();
        bindings.retain(|binding| !is(key, binding));
        let taken = bindings.len() < count;
        found |= taken;
        let Some(wanted) = container.spec.host.port_bindings.get_mut(key).filter(|_| taken) else {
            continue;
        };
        let named = wanted.len();
        wanted.retain(|binding| !is(key, binding));
        // It was chosen for one that names none, or for a range.
        let chosen = |it: &PortBinding| {
            it.host_port == 0 || (it.host_port..=it.host_port_end).contains(&gone.port)
        };
        if wanted.len() == named
            && let Some(index) = wanted.iter().position(chosen)
        {
            wanted.remove(index);
        }
    }
    container.ports.retain(|_, bindings| !bindings.is_empty());
    for (key, wanted) in &mut container.spec.host.port_bindings {
        let count = wanted.len();
        wanted.retain(|binding| !is(key, binding));
        found |= wanted.len() < count;
    }
    container.spec.host.port_bindings.retain(|_, wanted| !wanted.is_empty());
    found
}

/// The container with those of its ports only that `after` has not.
fn held_only(before: &Container, after: &Container) -> Container {
    let mut only = before.clone();
    for (key, bindings) in &mut only.ports {
        let stays = after.ports.get(key);
        bindings.retain(|binding| stays.is_none_or(|stays| !stays.contains(binding)));
    }
    only
}

fn release_missing(shared: &Shared, before: &Container, after: &Container) {
    for (key, bindings) in &held_only(before, after).ports {
        for binding in bindings {
            let ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            shared.networks.release_port(&before.id, key.protocol, ip, binding.host_port);
        }
    }
}

/// Binds and publishes what is to be added; nothing of it stays when it fails.
fn open(shared: &Shared, container: &mut Container, change: &PortsChange) -> Result<(), Failure> {
    let Some((name, endpoint)) = way_in(container).map(|(n, e)| (n.clone(), e.clone())) else {
        return Ok(());
    };
    let default =
        shared.networks.find(&name).ok().and_then(|it| crate::networks::host_binding(&it));
    let default = default.or(shared.config.bridge.publish_address);
    let owner = PortOwner { id: &container.id, name: &container.name, from: None };
    let (mut bound, mut failure) = (Vec::new(), None);
    'all: for (key, bindings) in &change.add {
        for wanted in bindings {
            let wanted = PortBinding { host_ip: wanted.host_ip.or(default), ..*wanted };
            match reserve_one(shared, owner, &endpoint, *key, &wanted) {
                Ok(made) => bound.extend(made.into_iter().map(|binding| (*key, binding))),
                Err(error) => {
                    failure = Some(error);
                    break 'all;
                }
            }
        }
    }
    let made: Vec<PublishedPort> =
        bound.iter().flat_map(|(key, binding)| elements(*key, binding, &endpoint)).collect();
    failpoint::hit("ports.held");
    if failure.is_none() && !made.is_empty() {
        failure = shared.publish(&made).err();
    }
    if let Some(failure) = failure {
        for (key, binding) in &bound {
            let ip = binding.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
            shared.networks.release_port(&container.id, key.protocol, ip, binding.host_port);
        }
        return Err(failure);
    }
    for (key, binding) in bound {
        container.ports.entry(key).or_default().push(binding);
    }
    Ok(())
}

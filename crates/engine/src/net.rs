//! A container's network: what is planned before its namespaces exist, and done when they do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, NetworkMode},
    event::Subject,
    network::{PortBinding, PortKey, Protocol},
};
use ferry_network::{Attach, PublishedPort};

use crate::{Shared, networks::Endpoint, random};

/// What a container's network will be.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Host's, another container's: nothing to do.
    Shared,
    /// Loopback only.
    Loopback,
    /// An address on a bridge.
    Bridge(Box<BridgePlan>),
}

/// An address on a bridge.
#[derive(Debug, Clone)]
pub(crate) struct BridgePlan {
    network: String,
    endpoint: Endpoint,
    /// Container port, wanted binding.
    ports: Vec<(PortKey, PortBinding)>,
}

impl Plan {
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        match self {
            Plan::Bridge(plan) => Some(plan.endpoint.gateway),
            Plan::Shared | Plan::Loopback => None,
        }
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        match self {
            Plan::Bridge(plan) => vec![IpAddr::V4(plan.endpoint.address)],
            Plan::Shared | Plan::Loopback => Vec::new(),
        }
    }
}

/// Leases an address and notes it in the record. Undone by [`detach`].
pub(crate) fn plan(shared: &Shared, container: &mut Container) -> Result<Plan, Failure> {
    let spec = &container.spec;
    match &spec.host.network_mode {
        NetworkMode::Host | NetworkMode::Container(_) => return Ok(Plan::Shared),
        NetworkMode::None => return Ok(Plan::Loopback),
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::Named(_) => {}
    }
    if spec.network_disabled {
        return Ok(Plan::Loopback);
    }
    if container.endpoints.len() > 1 {
        let words = "starting a container on more than one network is not supported yet";
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let Some(name) = container.endpoints.keys().next().cloned() else { return Ok(Plan::Loopback) };
    let network = shared
        .networks
        .find(&name)
        .map_err(|error| error.context("failed to set up container networking"))?;
    match network.driver.as_str() {
        "null" => return Ok(Plan::Loopback),
        "host" => return Ok(Plan::Shared),
        _ => {}
    }
    let wanted = container.endpoints.get(&name).and_then(|endpoint| endpoint.request.ipv4);
    let endpoint = shared.networks.lease(&network, &container.id, wanted)?;
    let ports = wanted_ports(shared, container);
    if let Some(status) = container.endpoints.get_mut(&name) {
        status.network_id = network.id.clone();
        status.endpoint_id = random::id()?;
        status.ipv4 = Some(endpoint.address);
        status.prefix_len = endpoint.prefix_len;
        status.gateway = Some(endpoint.gateway);
        status.mac = endpoint.mac_text();
        status.host_link = endpoint.host_link.clone();
        status.dns_names =
            vec![container.name.clone(), ferry_stdx::id::short(&container.id).to_owned()];
    }
    Ok(Plan::Bridge(Box::new(BridgePlan { network: name, endpoint, ports })))
}

/// Wires the namespaces of `pid`. Answers the ports as they are bound.
pub(crate) fn attach(
    shared: &Shared,
    container: &Container,
    plan: &Plan,
    pid: i32,
) -> Result<BTreeMap<PortKey, Vec<PortBinding>>, Failure> {
    let plan = match plan {
        Plan::Shared => return Ok(BTreeMap::new()),
        Plan::Loopback => {
            ferry_network::loopback_up(pid)?;
            return Ok(BTreeMap::new());
        }
        Plan::Bridge(plan) => plan,
    };
    let endpoint = &plan.endpoint;
    let context = |failure: Failure| {
        let id =
            container.endpoints.get(&plan.network).map_or("", |status| status.endpoint_id.as_str());
        failure.context(format!(
            "failed to set up container networking: driver failed programming external connectivity on endpoint {} ({id})",
            container.name
        ))
    };
    // Ports first: a port that is taken is the failure that happens.
    let (bound, published) =
        reserve_ports(shared, container, endpoint.address, &plan.ports).map_err(context)?;
    let bridge = shared.networks.bridge(&plan.network)?;
    bridge.attach(&Attach {
        pid,
        host_link: &endpoint.host_link,
        ip: endpoint.address,
        prefix_len: endpoint.prefix_len,
        mac: endpoint.mac,
    })?;
    if !published.is_empty() {
        ferry_network::publish(&shared.table(), &published)?;
    }
    Ok(bound)
}

/// Takes everything away that [`plan`] and [`attach`] made. Goes on after failures, and logs them.
///
/// Links go with their namespace, which the kernel takes apart when it has time; their addresses are free after that.
pub(crate) fn detach(shared: &Arc<Shared>, container: &Container) {
    let published = published_ports(container);
    if !published.is_empty()
        && let Err(error) = ferry_network::unpublish(&shared.table(), &published)
    {
        tracing::warn!(id = %container.id, error = ferry_errkind::chain(&error), "ports not unpublished");
    }
    shared.networks.release_ports(&container.id);
    for endpoint in container.endpoints.values().filter(|endpoint| !endpoint.host_link.is_empty()) {
        let Some(address) = endpoint.ipv4 else { continue };
        match ferry_network::departing(&endpoint.host_link) {
            Some(link) => {
                shared.networks.departs(address);
                let (shared, network) = (Arc::clone(shared), endpoint.network_id.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = link.wait() {
                        tracing::warn!(error = ferry_errkind::chain(&error), "link not removed");
                    }
                    shared.networks.release(&network, address);
                });
            }
            None => shared.networks.release(&endpoint.network_id, address),
        }
    }
}

/// Waits until the addresses that a container insists on are not those of one that has just ended.
pub(crate) async fn await_departures(shared: &Shared, container: &Container) {
    const PAUSE: Duration = Duration::from_millis(5);
    let departing = || {
        let mut wanted = container.endpoints.values().filter_map(|endpoint| endpoint.request.ipv4);
        wanted.any(|address| shared.networks.is_departing(address))
    };
    while departing() {
        tokio::time::sleep(PAUSE).await;
    }
}

/// The map elements of a container that runs.
pub(crate) fn published_ports(container: &Container) -> Vec<PublishedPort> {
    let Some(address) = container.endpoints.values().find_map(|endpoint| endpoint.ipv4) else {
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

type Bound = (BTreeMap<PortKey, Vec<PortBinding>>, Vec<PublishedPort>);

fn reserve_ports(
    shared: &Shared,
    container: &Container,
    address: Ipv4Addr,
    ports: &[(PortKey, PortBinding)],
) -> Result<Bound, Failure> {
    let (mut bound, mut published) = (BTreeMap::<PortKey, Vec<PortBinding>>::new(), Vec::new());
    for (key, wanted) in ports {
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
        bound.entry(*key).or_default().push(PortBinding {
            host_ip: Some(shown),
            host_port: port,
            host_port_end: port,
        });
        published.push(PublishedPort {
            protocol: key.protocol,
            host_ip,
            host_port: port,
            container_ip: address,
            container_port: key.port,
        });
    }
    Ok((bound, published))
}

/// `network connect` and `disconnect`, as Docker tells them.
pub(crate) fn event(shared: &Shared, action: &str, name: &str, id: &str, container: &str) {
    let kind = match name {
        "host" => "host",
        "none" => "null",
        _ => "bridge",
    };
    let attributes =
        [("container", container.to_owned()), ("name", name.to_owned()), ("type", kind.to_owned())];
    shared.events.plain(Subject::Network, action, id, &attributes, shared.now());
}

//! A container's networks: what is planned before its namespaces exist, and done when they do.
//!
//! The record says which networks a container is on (`Container::endpoints`, by the network's name). An endpoint is filled
//! in when an address is leased, and emptied when the container leaves or ends.

mod change;
mod hand_over;
pub(crate) mod links;
pub(crate) mod names;
mod order;
mod ports;
mod sysctls;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, NetworkMode},
    event::Subject,
    network::{EndpointRequest, EndpointStatus, Network, PortBinding, PortKey},
};
use ferry_network::Attach;

use crate::{Shared, failpoint, networks::Endpoint, random};

pub(crate) use change::{check_mode, connect, leave, mend};
pub(crate) use hand_over::{reveal, withdraw};
pub(crate) use names::are_wanted as names_are_wanted;
pub(crate) use ports::{change as change_ports, hold_again, own_ports, published_ports};

/// What Docker says before every failure of a start that the network caused.
const STARTING: &str = "failed to set up container networking";

/// Name of the driver option that names a link inside.
const IFNAME: &str = "com.docker.network.endpoint.ifname";

/// What a container's network will be.
#[derive(Debug, Clone)]
pub(crate) enum Plan {
    /// Host's, another container's: nothing to do.
    Shared,
    /// Loopback only.
    Loopback,
    /// Addresses on networks, in the order in which links are made.
    Networks(Vec<Joining>),
}

/// One network that is joined.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// The network's name.
    pub(crate) network: String,
    /// What was leased there.
    pub(crate) endpoint: Endpoint,
}

impl Plan {
    /// Where the default route leads; also what `host-gateway` means.
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        self.joinings().iter().find_map(|joining| joining.endpoint.gateway)
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let all = self.joinings().iter().flat_map(|joining| joining.endpoint.addresses());
        all.map(|(ip, _)| ip).collect()
    }

    fn joinings(&self) -> &[Joining] {
        match self {
            Plan::Networks(joinings) => joinings,
            Plan::Shared | Plan::Loopback => &[],
        }
    }
}

/// Leases addresses and notes them in the record. Undone by [`detach`]; nothing is left when it fails.
pub(crate) fn plan(shared: &Shared, container: &mut Container) -> Result<Plan, Failure> {
    let spec = &container.spec;
    match &spec.host.network_mode {
        NetworkMode::Host => {
            note(shared, container, "host")?;
            return Ok(Plan::Shared);
        }
        NetworkMode::Container(_) => return Ok(Plan::Shared),
        NetworkMode::None => {
            note(shared, container, "none")?;
            return Ok(Plan::Loopback);
        }
        NetworkMode::Default | NetworkMode::Bridge | NetworkMode::Named(_) => {}
    }
    if spec.network_disabled {
        return Ok(Plan::Loopback);
    }
    let mut joinings = Vec::new();
    for name in order::of_links(&container.endpoints, &spec.host.network_mode) {
        let joined =
            shared.networks.find(&name).and_then(|network| match network.driver.as_str() {
                "null" | "host" if network.builtin => Ok(None),
                _ => join(shared, container, &network, &name).map(Some),
            });
        match joined {
            Ok(Some(endpoint)) => joinings.push(Joining { network: name, endpoint }),
            Ok(None) => {}
            Err(failure) => {
                for endpoint in container.endpoints.values_mut() {
                    release(shared, endpoint);
                    forget(endpoint);
                }
                return Err(failure.context(STARTING));
            }
        }
    }
    if joinings.is_empty() { Ok(Plan::Loopback) } else { Ok(Plan::Networks(joinings)) }
}

/// Notes that the container is on a network that gives it nothing: `inspect` shows that, as Docker.
fn note(shared: &Shared, container: &mut Container, name: &str) -> Result<(), Failure> {
    if let Some(status) = container.endpoints.get_mut(name) {
        status.network_id = shared.networks.find(name)?.id;
        status.endpoint_id = random::id()?;
    }
    Ok(())
}

/// Leases an address for the container's endpoint on `network`, and fills the endpoint in.
fn join(
    shared: &Shared,
    container: &mut Container,
    network: &Network,
    name: &str,
) -> Result<Endpoint, Failure> {
    let request = container.endpoints.get(name).map(|status| status.request.clone());
    let request = request.unwrap_or_default();
    check(Some(network), &request)
        .map_err(|failure| failure.context(format!("invalid config for network {name}")))?;
    if request.ipv6.is_some() && !network.enable_ipv6 {
        let words = format!("IPv6 is not enabled on network {name}");
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    let interface = order::free_link_name(
        &container.endpoints,
        request.driver_opts.get(IFNAME),
        crate::networks::link_prefix(network),
    )?;
    let id = random::id()?;
    let endpoint = shared.networks.lease(network, container, &id, &request, interface)?;
    let dns_names = names_of(container, &request);
    if let Some(status) = container.endpoints.get_mut(name) {
        status.network_id = network.id.clone();
        status.endpoint_id = id;
        status.ipv4 = endpoint.v4.map(|(ip, _)| ip);
        status.prefix_len = endpoint.v4.map_or(0, |(_, prefix_len)| prefix_len);
        status.gateway = endpoint.gateway;
        status.ipv6 = endpoint.v6.map(|(ip, _)| ip);
        status.ipv6_prefix_len = endpoint.v6.map_or(0, |(_, prefix_len)| prefix_len);
        status.ipv6_gateway = endpoint.gateway6;
        status.mac = endpoint.mac_text();
        status.host_link = endpoint.host_link.clone();
        status.interface = endpoint.interface.clone();
        [status.direct, status.direct6] = crate::networks::trusting(network);
        status.dns_names = dns_names;
    }
    names::join(shared, container, name);
    Ok(endpoint)
}

/// What an endpoint is called, in Docker's order.
fn names_of(container: &Container, request: &EndpointRequest) -> Vec<String> {
    let mut names = vec![container.name.clone()];
    names.extend(request.aliases.iter().cloned());
    names.push(ferry_stdx::id::short(&container.id).to_owned());
    names.extend(Some(container.spec.hostname.clone()).filter(|name| !name.is_empty()));
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// A container that runs is called otherwise from now on.
pub(crate) fn renamed(shared: &Shared, container: &mut Container) {
    for name in container.endpoints.keys().cloned().collect::<Vec<_>>() {
        let Some(endpoint) = container.endpoints.get(&name) else { continue };
        let dns_names = names_of(container, &endpoint.request);
        if let Some(endpoint) = container.endpoints.get_mut(&name) {
            endpoint.dns_names = dns_names;
            if endpoint.endpoint_id.is_empty() {
                continue;
            }
        }
        names::join(shared, container, &name);
    }
}

/// What Docker refuses of an attachment's settings, all mistakes at once and in its words.
pub(crate) fn check(network: Option<&Network>, request: &EndpointRequest) -> Result<(), Failure> {
    let mut mistakes = Vec::new();
    let addresses: Vec<IpAddr> =
        request.ipv4.map(IpAddr::V4).into_iter().chain(request.ipv6.map(IpAddr::V6)).collect();
    if let Some(network) = network {
        if network.builtin && !addresses.is_empty() {
            mistakes.push(
                "user specified IP address is supported on user defined networks only".to_owned(),
            );
        }
        if network.builtin && !request.aliases.is_empty() {
            mistakes.push(
                "network-scoped alias is supported only for containers in user defined networks"
                    .to_owned(),
            );
        }
        mistakes.extend(addresses.iter().filter_map(|ip| address_mistake(network, *ip)));
    }
    if let Err(failure) = sysctls::of(&request.driver_opts, "") {
        mistakes.push(failure.message().to_owned());
    }
    let words = match mistakes.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        several => several.iter().map(|text| format!("* {text}")).collect::<Vec<_>>().join("\n"),
    };
    let words = format!("invalid endpoint settings:\n{words}");
    Err(Failure::new(ErrorKind::InvalidArgument, words))
}

fn address_mistake(network: &Network, ip: IpAddr) -> Option<String> {
    let mut configured = network.ipam.iter().filter(|pool| !pool.chosen).peekable();
    if configured.peek().is_none() && !network.builtin {
        let words = "user specified IP address is supported only when connecting to networks with user configured subnets";
        return Some(words.to_owned());
    }
    let held = configured.any(|pool| ferry_network::contains(&pool.subnet, ip));
    (!held).then(|| format!("no configured subnet or ip-range contain the IP address {ip}"))
}

/// Wires the namespaces of `pid`. Answers the ports as they are bound.
pub(crate) fn attach(
    shared: &Shared,
    container: &Container,
    plan: &Plan,
    pid: i32,
) -> Result<BTreeMap<PortKey, Vec<PortBinding>>, Failure> {
    let joinings = match plan {
        Plan::Shared => return Ok(BTreeMap::new()),
        Plan::Loopback => {
            ferry_network::loopback_up(pid)?;
            return Ok(BTreeMap::new());
        }
        Plan::Networks(joinings) => joinings,
    };
    // Ports first: a port that is taken is the failure that happens.
    let (bound, published) = ports::reserve(shared, container)?;
    failpoint::hit("start.ports-held");
    for joining in joinings {
        wire(shared, container, joining, pid)?;
    }
    failpoint::hit("start.wired");
    if !published.is_empty() {
        shared.publish(&published)?;
    }
    failpoint::hit("start.published");
    links::open(shared, container)?;
    names::update(shared, container, pid)?;
    Ok(bound)
}

/// Makes the links of one endpoint.
fn wire(
    shared: &Shared,
    container: &Container,
    joining: &Joining,
    pid: i32,
) -> Result<(), Failure> {
    let endpoint = &joining.endpoint;
    let gateways: Vec<IpAddr> = [false, true]
        .into_iter()
        .filter_map(|v6| order::default_route(&container.endpoints, v6))
        .filter(|(name, _)| **name == joining.network)
        .map(|(_, gateway)| gateway)
        .collect();
    let ground = shared.networks.ground(&joining.network)?;
    let leads_out = shared.networks.find(&joining.network).is_ok_and(|network| !network.internal);
    let direct: Vec<bool> = match ground.routes() && leads_out {
        true => endpoint.addresses().iter().map(|(ip, _)| ip.is_ipv6()).collect(),
        false => Vec::new(),
    };
    let options = container.endpoints.get(&joining.network).map(|it| &it.request.driver_opts);
    let settings = options.map(|options| sysctls::of(options, &endpoint.interface)).transpose()?;
    let attached = ground.attach(&Attach {
        pid,
        host_link: &endpoint.host_link,
        addresses: &endpoint.link_addresses(),
        mac: endpoint.mac.unwrap_or_default(),
        inside: &endpoint.interface,
        gateways: &gateways,
        direct: &direct,
        sysctls: &settings.unwrap_or_default(),
    });
    Ok(attached?)
}

/// Takes everything away that [`plan`] and [`attach`] made. Goes on after failures, and logs them.
///
/// Links go with their namespace, which the kernel takes apart when it has time; their addresses are free after that.
pub(crate) fn detach(shared: &Arc<Shared>, container: &Container) {
    ports::withdraw(shared, container);
    links::close(shared, container);
    shared.networks.release_ports(&container.id);
    shared.resolvers.stop(&container.id);
    for endpoint in container.endpoints.values().filter(|it| !it.endpoint_id.is_empty()) {
        shared.resolvers.leave(endpoint);
        shared.networks.left(&endpoint.endpoint_id);
        match ferry_network::departing(&endpoint.host_link) {
            Some(link) => {
                for address in addresses(endpoint) {
                    shared.networks.departs(address);
                }
                let (shared, endpoint) = (Arc::clone(shared), endpoint.clone());
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = link.wait() {
                        tracing::warn!(error = ferry_errkind::chain(&error), "link not removed");
                    }
                    release(&shared, &endpoint);
                });
            }
            None => release(shared, endpoint),
        }
    }
}

/// Waits until the addresses that a container insists on are not those of one that has just ended.
pub(crate) async fn await_departures(shared: &Shared, container: &Container) {
    const PAUSE: Duration = Duration::from_millis(5);
    let departing = || {
        let requests = container.endpoints.values().map(|endpoint| &endpoint.request);
        let mut wanted = requests.flat_map(|request| {
            request.ipv4.map(IpAddr::V4).into_iter().chain(request.ipv6.map(IpAddr::V6))
        });
        wanted.any(|address| shared.networks.is_departing(address))
    };
    while departing() {
        tokio::time::sleep(PAUSE).await;
    }
}

fn unwire(container: &str, endpoint: &EndpointStatus) {
    if endpoint.host_link.is_empty() {
        return;
    }
    if let Err(error) = ferry_network::detach(&endpoint.host_link) {
        tracing::warn!(id = container, error = ferry_errkind::chain(&error), "link not removed");
    }
}

fn release(shared: &Shared, endpoint: &EndpointStatus) {
    shared.resolvers.leave(endpoint);
    shared.networks.left(&endpoint.endpoint_id);
    for address in addresses(endpoint) {
        shared.networks.release(&endpoint.network_id, address);
    }
}

/// The addresses of an endpoint, IPv4 first.
pub(crate) fn addresses(endpoint: &EndpointStatus) -> Vec<IpAddr> {
    let v4 = endpoint.ipv4.map(IpAddr::V4);
    v4.into_iter().chain(endpoint.ipv6.map(IpAddr::V6)).collect()
}

/// What an endpoint is while its container does not run: only what was asked.
pub(crate) fn forget(endpoint: &mut EndpointStatus) {
    *endpoint = EndpointStatus {
        request: std::mem::take(&mut endpoint.request),
        network_id: std::mem::take(&mut endpoint.network_id),
        dns_names: std::mem::take(&mut endpoint.dns_names),
        ..EndpointStatus::default()
    };
}

/// `network connect` and `disconnect`, as Docker tells them.
pub(crate) fn event(shared: &Shared, action: &str, name: &str, id: &str, container: &str) {
    let kind = shared.networks.find(name).map_or_else(|_| "bridge".to_owned(), |it| it.driver);
    let attributes =
        [("container", container.to_owned()), ("name", name.to_owned()), ("type", kind)];
    shared.events.plain(Subject::Network, action, id, &attributes, shared.now());
}

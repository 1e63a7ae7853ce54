//! Names for people: which name below `.localhost` leads to which container, where its server is, and where those names are served.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{MutexGuard, PoisonError},
};

use ferry_model::{
    container::{Container, NetworkMode, Phase},
    network::{PortKey, Protocol},
};

pub use crate::networks::Front;
use crate::{Engine, Shared};

/// Compose's words for what a container is part of.
const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const ONE_OFF: &str = "com.docker.compose.oneoff";
/// Says which port is meant where that is not clear.
const PORT: &str = "ferry.port";
/// The port of a container that has several, or none that anybody told of.
const USUAL_PORT: u16 = 80;

/// A name, and a container that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName {
    /// In small letters, without `.localhost`: `web.shop`, `web`.
    pub name: String,
    /// The container's name.
    pub container: String,
    /// Where it is to be asked, or why it cannot be.
    pub target: Result<SocketAddr, String>,
}

/// Where names are served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    /// Addresses of the proxy.
    pub http: Vec<SocketAddr>,
    /// Addresses of the proxy with TLS.
    pub https: Vec<SocketAddr>,
    /// Addresses of the resolver.
    pub dns: Vec<SocketAddr>,
    /// The authority's certificate.
    pub authority: Option<PathBuf>,
    /// The same as text.
    pub certificate: String,
    /// What could not be had, in words.
    pub problems: Vec<String>,
}

/// Notes where names are served; `None` is nowhere.
pub fn announce(engine: &Engine, announcement: Option<Announcement>) {
    *told(engine) = announcement;
}

/// Where names are served; `None` if they are not. What a container has taken is a problem.
pub fn announced(engine: &Engine) -> Option<Announcement> {
    let mut announcement = told(engine).clone()?;
    for address in engine.shared.networks.fronts.aside() {
        let what = if announcement.http.contains(&address) { "HTTP" } else { "HTTPS" };
        announcement.http.retain(|at| *at != address);
        announcement.https.retain(|at| *at != address);
        let holder = holder(engine, Protocol::Tcp, address);
        let holder = holder.unwrap_or_else(|| "somebody".to_owned());
        announcement.problems.push(format!("no {what} at {address}: {holder} has that port"));
    }
    Some(announcement)
}

/// A port that names are served on, as long as nobody publishes it.
pub fn front(engine: &Engine, address: SocketAddr) -> Front {
    engine.shared.networks.fronts.add(address)
}

/// A panic while the lock was held leaves one announcement or another.
fn told(engine: &Engine) -> MutexGuard<'_, Option<Announcement>> {
    engine.shared.announcement.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All names, in order; a service with several containers is there several times.
pub fn list(engine: &Engine) -> Vec<HostName> {
    let mut names = select(&engine.shared, |_| true);
    names.sort_by(|a, b| (&a.name, &a.container).cmp(&(&b.name, &b.container)));
    names
}

/// What a name (in small letters, without `.localhost`) leads to: the containers that run, else those that could.
pub fn find(engine: &Engine, name: &str) -> Vec<HostName> {
    let mut found = select(&engine.shared, |own| own == name);
    if found.iter().any(|one| one.target.is_ok()) {
        found.retain(|one| one.target.is_ok());
    }
    found.sort_by(|a, b| a.container.cmp(&b.container));
    found
}

/// Who has a port of this machine, as far as that can be told.
pub fn holder(engine: &Engine, protocol: Protocol, address: SocketAddr) -> Option<String> {
    let holder = ferry_network::Holder::of(protocol, address.ip(), address.port())?;
    if holder.pid != std::process::id() {
        return Some(holder.to_string());
    }
    // We hold it for somebody.
    let publishes = |container: &Container| {
        container.ports.iter().any(|(key, bindings)| {
            key.protocol == protocol
                && bindings.iter().any(|binding| binding.host_port == address.port())
        })
    };
    let containers = engine.shared.containers.all();
    let publisher = containers.iter().map(|handle| handle.container()).find(|it| publishes(it));
    Some(publisher.map_or_else(
        || "this daemon".to_owned(),
        |container| format!("container {}, which publishes it", container.name),
    ))
}

fn select(shared: &Shared, wanted: impl Fn(&str) -> bool) -> Vec<HostName> {
    let mut names = Vec::new();
    for handle in shared.containers.all() {
        let container = handle.container();
        let Some(name) = name_of(&container).filter(|name| wanted(name)) else { continue };
        // Who takes another one's place is not found until it has it.
        if container.state.phase == Phase::Removing || shared.networks.is_aside(&container.id) {
            continue;
        }
        let target = target(shared, &container);
        names.push(HostName { name, container: container.name.clone(), target });
    }
    names
}

/// `service.project` of Compose's containers, of others their own; none for what nobody is to call.
fn name_of(container: &Container) -> Option<String> {
    let labels = &container.spec.labels;
    if container.spec.pod.is_some() || is_one_off(labels) {
        return None;
    }
    let name = match (labels.get(SERVICE), labels.get(PROJECT)) {
        (Some(service), Some(project)) => format!("{service}.{project}"),
        _ => container.name.clone(),
    };
    Some(name.to_ascii_lowercase())
}

/// `compose run`.
fn is_one_off(labels: &BTreeMap<String, String>) -> bool {
    labels.get(ONE_OFF).is_some_and(|text| text.eq_ignore_ascii_case("true"))
}

fn target(shared: &Shared, container: &Container) -> Result<SocketAddr, String> {
    if container.state.phase != Phase::Running {
        return Err(format!("container {} is {}", container.name, container.state.phase));
    }
    let port = port_of(container)?;
    Ok(SocketAddr::new(address_of(shared, container)?, port))
}

/// The label's, else the only one that is published, else the only one that is exposed, else 80.
fn port_of(container: &Container) -> Result<u16, String> {
    let spec = &container.spec;
    if let Some(text) = spec.labels.get(PORT) {
        let port = text.parse().ok().filter(|port| *port != 0);
        return port.ok_or_else(|| {
            format!("the label {PORT} of container {} is no port: {text:?}", container.name)
        });
    }
    let only = |keys: &mut dyn Iterator<Item = &PortKey>| {
        let ports: BTreeSet<u16> =
            keys.filter(|key| key.protocol == Protocol::Tcp).map(|key| key.port).collect();
        ports.first().copied().filter(|_| ports.len() == 1)
    };
    Ok(only(&mut spec.host.port_bindings.keys())
        .or_else(|| only(&mut spec.exposed_ports.iter()))
        .unwrap_or(USUAL_PORT))
}

fn address_of(shared: &Shared, container: &Container) -> Result<IpAddr, String> {
    let nowhere =
        || format!("container {} has no address that this machine reaches", container.name);
    let owner;
    let endpoints = match &container.spec.host.network_mode {
        NetworkMode::Host => return Ok(Ipv4Addr::LOCALHOST.into()),
        NetworkMode::Container(other) => {
            let handle = shared.containers.find(other).map_err(|_| nowhere())?;
            owner = handle.container();
            if owner.spec.host.network_mode == NetworkMode::Host {
                return Ok(Ipv4Addr::LOCALHOST.into());
            }
            &owner.endpoints
        }
        _ => &container.endpoints,
    };
    // A link of the host that is shared (macvlan, ipvlan) is closed between the host and the container.
    let reached = endpoints.iter().filter(|(name, _)| {
        shared.networks.find(name).is_ok_and(|network| network.driver == "bridge")
    });
    let mut addresses: Vec<IpAddr> = reached
        .flat_map(|(_, endpoint)| {
            [endpoint.ipv4.map(IpAddr::V4), endpoint.ipv6.map(IpAddr::V6)].into_iter().flatten()
        })
        .collect();
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.first().copied().ok_or_else(nowhere)
}

//! `--link` on the default bridge, which has no names: lines in `/etc/hosts` and variables in the environment, written when the
//! container starts; and where the default bridge keeps its containers apart, the exposed ports are open to who is linked. On other networks a link is a name that only the container itself finds (`names.rs`).

use std::net::Ipv4Addr;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{Container, ContainerSpec, NetworkMode},
    network::Protocol,
};
use ferry_network::{LinkedPort, Links};

use crate::Shared;

/// The default network.
const BRIDGE: &str = "bridge";

/// A container that another one is linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linked {
    id: String,
    name: String,
    alias: String,
    address: Ipv4Addr,
    /// `80/tcp`, in order.
    ports: Vec<(u16, Protocol)>,
    env: Vec<String>,
}

/// `name:alias`; without alias the name is it.
pub(crate) fn parts(link: &str) -> (&str, &str) {
    let (name, alias) = link.split_once(':').unwrap_or((link, link));
    (name.trim_start_matches('/'), alias.rsplit('/').next().unwrap_or(alias))
}

/// Links to containers that there are not are refused when a container is made. A user's own network gets them as names.
pub(crate) fn check(shared: &Shared, spec: &ContainerSpec) -> Result<(), Failure> {
    for link in &spec.host.links {
        let (name, _) = parts(link);
        shared.containers.find(name).map_err(|failure| {
            let words = format!("could not get container for {name}: {}", failure.message());
            Failure::new(ErrorKind::InvalidArgument, words)
        })?;
    }
    Ok(())
}

/// The containers that `container` is linked to on the default bridge. All of them must run.
pub(crate) fn of(shared: &Shared, container: &Container) -> Result<Vec<Linked>, Failure> {
    let host = &container.spec.host;
    if !matches!(host.network_mode, NetworkMode::Default | NetworkMode::Bridge) {
        return Ok(Vec::new());
    }
    host.links.iter().map(|link| one(shared, container, link)).collect()
}

fn one(shared: &Shared, container: &Container, link: &str) -> Result<Linked, Failure> {
    let (name, alias) = parts(link);
    let other = shared.containers.find(name)?.container();
    let address = other.endpoints.get(BRIDGE).and_then(|endpoint| endpoint.ipv4);
    let Some(address) = address.filter(|_| other.state.phase.is_running()) else {
        let words = format!(
            "Cannot link to a non running container: /{} AS /{}/{alias}",
            other.name, container.name
        );
        return Err(Failure::new(ErrorKind::Internal, words));
    };
    Ok(linked(&other, alias, address))
}

fn linked(other: &Container, alias: &str, address: Ipv4Addr) -> Linked {
    let keys = other.spec.exposed_ports.iter().chain(other.spec.host.port_bindings.keys());
    let mut ports: Vec<_> = keys.map(|key| (key.port, key.protocol)).collect();
    ports.sort_unstable();
    ports.dedup();
    Linked {
        id: other.id.clone(),
        name: other.name.clone(),
        alias: alias.to_owned(),
        address,
        ports,
        env: other.spec.env.clone(),
    }
}

impl Linked {
    /// Its ports, for somebody with that address.
    fn opened_to(&self, from: Ipv4Addr) -> Vec<LinkedPort> {
        let open = |(port, protocol): &(u16, Protocol)| LinkedPort {
            from,
            to: self.address,
            protocol: *protocol,
            port: *port,
        };
        self.ports.iter().map(open).collect()
    }

    /// Names and address for `/etc/hosts`.
    pub(crate) fn host(&self) -> (String, String) {
        let short = ferry_stdx::id::short(&self.id);
        let mut names = vec![self.alias.as_str(), short];
        if self.name != self.alias {
            names.push(&self.name);
        }
        (names.join(" "), self.address.to_string())
    }

    /// What a program in the container `parent` is told.
    fn variables(&self, parent: &str) -> Vec<String> {
        let prefix = self.alias.to_uppercase().replace('-', "_");
        let ip = self.address;
        let mut lines = Vec::new();
        if let Some((port, protocol)) = self.ports.first() {
            let protocol = protocol.as_str();
            lines.push(format!("{prefix}_PORT={protocol}://{ip}:{port}"));
        }
        for (port, protocol) in &self.ports {
            let protocol = protocol.as_str();
            let this = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
            lines.push(format!("{this}={protocol}://{ip}:{port}"));
            lines.push(format!("{this}_ADDR={ip}"));
            lines.push(format!("{this}_PORT={port}"));
            lines.push(format!("{this}_PROTO={protocol}"));
        }
        lines.push(format!("{prefix}_NAME=/{parent}/{}", self.alias));
        let own = self.env.iter().filter_map(|line| line.split_once('='));
        lines.extend(
            own.filter(|(key, _)| !matches!(*key, "HOME" | "PATH"))
                .map(|(key, value)| format!("{prefix}_ENV_{key}={value}")),
        );
        lines
    }
}

/// Whether containers of the default bridge are kept apart.
fn apart(shared: &Shared) -> bool {
    shared.networks.find(BRIDGE).is_ok_and(|network| !crate::networks::icc(&network))
}

/// The ports of those that `container` is linked to, as far as they run.
fn opened_to(shared: &Shared, container: &Container) -> Vec<LinkedPort> {
    let own = container.endpoints.get(BRIDGE).and_then(|endpoint| endpoint.ipv4);
    let host = &container.spec.host;
    let default = matches!(host.network_mode, NetworkMode::Default | NetworkMode::Bridge);
    let Some(from) = own.filter(|_| default) else { return Vec::new() };
    let linked = host.links.iter().filter_map(|link| one(shared, container, link).ok());
    linked.flat_map(|linked| linked.opened_to(from)).collect()
}

/// Opens what a container may reach by its links that is starting, and it to those that run and are linked to it.
pub(super) fn open(shared: &Shared, container: &Container) -> Result<(), Failure> {
    if !apart(shared) {
        return Ok(());
    }
    let mut ports = opened_to(shared, container);
    let own = container.endpoints.get(BRIDGE).and_then(|endpoint| endpoint.ipv4);
    if let Some(address) = own {
        let others = shared.containers.all().into_iter().map(|handle| handle.container());
        for other in others.filter(|other| other.state.phase.is_running()) {
            let named = |link: &&String| {
                let found = shared.containers.find(parts(link).0);
                found.is_ok_and(|found| found.container().id == container.id)
            };
            let from = other.endpoints.get(BRIDGE).and_then(|endpoint| endpoint.ipv4);
            if let (Some(_), Some(from)) = (other.spec.host.links.iter().find(named), from) {
                ports.extend(linked(container, "", address).opened_to(from));
            }
        }
    }
    if !ports.is_empty() {
        ferry_network::link_ports(&shared.table(), Links::Open(&ports))?;
    }
    Ok(())
}

/// A container has ended: its address will be somebody else's.
pub(super) fn close(shared: &Shared, container: &Container) {
    let own = container.endpoints.get(BRIDGE).and_then(|endpoint| endpoint.ipv4);
    let Some(address) = own.filter(|_| apart(shared)) else { return };
    if let Err(error) = ferry_network::link_ports(&shared.table(), Links::Without(address)) {
        tracing::warn!(id = %container.id, error = ferry_errkind::chain(&error), "links not closed");
    }
}

/// What is open by the links of all that run: what an engine finds when the one before it was killed, or rules are flushed.
pub(crate) fn reopen(shared: &Shared) {
    if !apart(shared) {
        return;
    }
    let containers = shared.containers.all().into_iter().map(|handle| handle.container());
    let running = containers.filter(|container| container.state.phase.is_running());
    let ports: Vec<LinkedPort> =
        running.flat_map(|container| opened_to(shared, &container)).collect();
    if let Err(error) = ferry_network::link_ports(&shared.table(), Links::Only(&ports)) {
        tracing::warn!(error = ferry_errkind::chain(&error), "links not opened");
    }
}

/// The container with the variables of its links before its own, which win.
pub(crate) fn with_environment(container: &Container, links: &[Linked]) -> Container {
    let mut container = container.clone();
    let key = |line: &str| line.split('=').next().unwrap_or_default().to_owned();
    let own: std::collections::BTreeSet<String> =
        container.spec.env.iter().map(|line| key(line)).collect();
    let mut env: Vec<String> =
        links.iter().flat_map(|link| link.variables(&container.name)).collect();
    env.retain(|line| !own.contains(&key(line)));
    env.append(&mut container.spec.env);
    container.spec.env = env;
    container
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_in_dockers_variables() {
        let linked = Linked {
            id: "8d87ce258894f5bf".to_owned(),
            name: "db".to_owned(),
            alias: "my-store".to_owned(),
            address: Ipv4Addr::new(10, 0, 0, 2),
            ports: vec![(80, Protocol::Tcp)],
            env: vec!["A=b".to_owned(), "PATH=/bin".to_owned()],
        };
        assert_eq!(linked.host(), ("my-store 8d87ce258894 db".to_owned(), "10.0.0.2".to_owned()));
        assert_eq!(
            linked.variables("web"),
            [
                "MY_STORE_PORT=tcp://10.0.0.2:80",
                "MY_STORE_PORT_80_TCP=tcp://10.0.0.2:80",
                "MY_STORE_PORT_80_TCP_ADDR=10.0.0.2",
                "MY_STORE_PORT_80_TCP_PORT=80",
                "MY_STORE_PORT_80_TCP_PROTO=tcp",
                "MY_STORE_NAME=/web/my-store",
                "MY_STORE_ENV_A=b",
            ]
        );
        assert_eq!(parts("/db:/web/store"), ("db", "store"));
        assert_eq!(parts("db"), ("db", "db"));
    }
}

//! `--link` on the default bridge, which has no names: lines in `/etc/hosts` and variables in the environment, written when the
//! container starts. On other networks a link is a name that only the container itself finds (`names.rs`).

use std::net::Ipv4Addr;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Container, ContainerSpec, NetworkMode};

use crate::Shared;

/// A container that another one is linked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Linked {
    id: String,
    name: String,
    alias: String,
    address: Ipv4Addr,
    /// `80/tcp`, in order.
    ports: Vec<(u16, &'static str)>,
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
    let address = other.endpoints.get("bridge").and_then(|endpoint| endpoint.ipv4);
    let Some(address) = address.filter(|_| other.state.phase.is_running()) else {
        let words = format!(
            "Cannot link to a non running container: /{} AS /{}/{alias}",
            other.name, container.name
        );
        return Err(Failure::new(ErrorKind::Internal, words));
    };
    let keys = other.spec.exposed_ports.iter().chain(other.spec.host.port_bindings.keys());
    let mut ports: Vec<_> = keys.map(|key| (key.port, key.protocol.as_str())).collect();
    ports.sort_unstable();
    ports.dedup();
    Ok(Linked {
        id: other.id.clone(),
        name: other.name.clone(),
        alias: alias.to_owned(),
        address,
        ports,
        env: other.spec.env.clone(),
    })
}

impl Linked {
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
            lines.push(format!("{prefix}_PORT={protocol}://{ip}:{port}"));
        }
        for (port, protocol) in &self.ports {
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
            ports: vec![(80, "tcp")],
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

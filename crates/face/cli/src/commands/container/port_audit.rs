//! `ferry port audit`, beyond Docker: what of the containers is reachable from where.

use std::net::IpAddr;

use ferry_docker_api::{ContainerSummary, Network};

use crate::{
    format::align_with,
    framework::{Cli, Outcome},
};

/// One way in.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    /// From far to near.
    reach: Reach,
    port: u16,
    line: String,
}

/// Who reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Anyone,
    OneAddress,
    Machine,
    Network,
}

/// Lists all ways into the containers that run.
pub(super) fn run(cli: &Cli) -> Outcome {
    let client = cli.client()?;
    let containers: Vec<ContainerSummary> = cli.wait(client.get("/containers/json").json())?;
    let networks: Vec<Network> = cli.wait(client.get("/networks").json())?;
    let open: Vec<Open<'_>> = networks.iter().filter_map(open_to).collect();
    let mut ways: Vec<Way> =
        containers.iter().flat_map(|container| ways(container, &open)).collect();
    ways.sort();
    let lines: Vec<&str> = ways.iter().map(|way| way.line.as_str()).collect();
    let text = format!("ADDRESS\tCONTAINER\tPORT\tREACHABLE FROM\n{}\n", lines.join("\n"));
    cli.println(align_with(text.trim_end(), 0, 3).trim_end())?;
    Ok(0)
}

/// Options of networks that may let others in who have a route.
const MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];

/// Links by which a network's containers are reached at their published ports.
const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";

/// Who reaches the containers of a network at their own addresses, beside those on it.
struct Open<'a> {
    network: &'a str,
    from: String,
    /// Only those that publish something, and there.
    published: bool,
}

fn open_to(network: &Network) -> Option<Open<'_>> {
    let (name, options) = (network.name.as_str(), network.options.as_ref()?);
    let mode = |option: &&str| options.get(*option);
    if MODES.iter().filter_map(mode).any(|mode| mode == "nat-unprotected") {
        let from = format!("whoever has a route to its address on {name}, which is unprotected");
        return Some(Open { network: name, from, published: false });
    }
    let links: Vec<&str> =
        options.get(TRUSTED)?.split(':').filter(|link| !link.is_empty()).collect();
    let from = "whoever has a route to its address on";
    let from = format!("published ports only: {from} {name} by {}", links.join(", "));
    (!links.is_empty()).then_some(Open { network: name, from, published: true })
}

fn ways(container: &ContainerSummary, open: &[Open<'_>]) -> Vec<Way> {
    let names = container.names.as_deref().unwrap_or_default();
    let name = names.first().map_or(container.id.as_str(), |name| name.trim_start_matches('/'));
    if container.host_config.network_mode == "host" {
        let line = format!("*\t{name}\t*\twhoever reaches this machine: it has the host's network");
        return vec![Way { reach: Reach::Anyone, port: 0, line }];
    }
    let networks = container.network_settings.as_ref().and_then(|it| it.networks.as_ref());
    let networks: Vec<&str> =
        networks.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let one = |port: &ferry_docker_api::Port| {
        let inside = format!("{}/{}", port.private_port, port.kind);
        if port.public_port == 0 && !port.ip.is_empty() {
            let line = format!("its own\t{name}\t{inside}\twhoever has a route to its address");
            return Way { reach: Reach::Anyone, port: port.private_port, line };
        }
        if port.public_port == 0 {
            let line = format!("-\t{name}\t{inside}\tcontainers on {}", networks.join(", "));
            return Way { reach: Reach::Network, port: port.private_port, line };
        }
        let (reach, from) = from(&port.ip);
        let at = match port.ip.contains(':') {
            true => format!("[{}]:{}", port.ip, port.public_port),
            false => format!("{}:{}", port.ip, port.public_port),
        };
        Way { reach, port: port.public_port, line: format!("{at}\t{name}\t{inside}\t{from}") }
    };
    let publishes = container.ports.iter().flatten().any(|port| port.public_port != 0);
    let own = open.iter().filter(|open| networks.contains(&open.network));
    let own = own.filter(|open| publishes || !open.published).map(|Open { from, .. }| {
        let line = format!("its own\t{name}\t*\t{from}");
        Way { reach: Reach::Anyone, port: 0, line }
    });
    own.chain(container.ports.iter().flatten().map(one)).collect()
}

fn from(address: &str) -> (Reach, String) {
    match address.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => (Reach::Machine, "this machine".to_owned()),
        Ok(ip) if !ip.is_unspecified() => (Reach::OneAddress, format!("whoever reaches {address}")),
        _ => (Reach::Anyone, "whoever reaches this machine, at any of its addresses".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use ferry_docker_api::Port;

    use super::*;

    #[test]
    fn links_that_are_trusted_lead_to_published_ports_only() {
        let network = Network {
            name: "front".to_owned(),
            options: Some([(TRUSTED.to_owned(), "eth1".to_owned())].into()),
            ..Network::default()
        };
        let open = [open_to(&network).unwrap()];
        let on = ferry_docker_api::SummaryNetworkSettings {
            networks: Some([("front".to_owned(), Default::default())].into()),
        };
        let of = |public_port| {
            let container = ContainerSummary {
                ports: Some(vec![Port {
                    private_port: 80,
                    public_port,
                    kind: "tcp".to_owned(),
                    ..Port::default()
                }]),
                network_settings: Some(on.clone()),
                ..ContainerSummary::default()
            };
            let lines = ways(&container, &open).into_iter().map(|way| way.line);
            lines.filter(|line| line.contains("by eth1")).count()
        };
        assert_eq!((of(0), of(8080)), (0, 1));
    }

    #[test]
    fn the_farthest_come_first() {
        let port = |ip: &str, public_port| Port {
            ip: ip.to_owned(),
            private_port: 80,
            public_port,
            kind: "tcp".to_owned(),
        };
        let ports =
            vec![port("", 0), port("127.0.0.1", 8080), port("::", 9090), port("10.0.0.7", 7)];
        let container = ContainerSummary {
            names: Some(vec!["/web".to_owned()]),
            ports: Some(ports),
            ..ContainerSummary::default()
        };
        let mut found = ways(&container, &[]);
        found.sort();
        let lines: Vec<&str> = found.iter().map(|way| way.line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "[::]:9090\tweb\t80/tcp\twhoever reaches this machine, at any of its addresses",
                "10.0.0.7:7\tweb\t80/tcp\twhoever reaches 10.0.0.7",
                "127.0.0.1:8080\tweb\t80/tcp\tthis machine",
                "-\tweb\t80/tcp\tcontainers on ",
            ]
        );
    }
}

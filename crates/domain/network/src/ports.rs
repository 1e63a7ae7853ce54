//! Published ports: elements of the table's maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ferry_model::network::Protocol;
use ferry_netlink::{
    Errno, Family, NetlinkError, Socket, address,
    conntrack::{self, Flow},
    link,
    nft::{self, Batch, Element, Ip},
};

use crate::{PublishError, attach, firewall, firewall::close_behind, subnet};

const IPPROTO_UDP: u8 = 17;

/// A port of the host that leads to a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The host's address; `None` is every address of this machine of the container's family.
    pub host_ip: Option<IpAddr>,
    /// The host's port; 0 is none: the container's port is open to whoever has a route to the container.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: IpAddr,
    /// The container's port.
    pub container_port: u16,
}

impl PublishedPort {
    fn map(&self) -> &'static str {
        if self.host_port == 0 {
            return firewall::DIRECT;
        }
        match (self.protocol, self.host_ip) {
            (Protocol::Tcp, None) => firewall::TCP_ANY,
            (Protocol::Tcp, Some(_)) => firewall::TCP_AT,
            (Protocol::Udp, None) => firewall::UDP_ANY,
            (Protocol::Udp, Some(_)) => firewall::UDP_AT,
            (Protocol::Sctp, None) => firewall::SCTP_ANY,
            (Protocol::Sctp, Some(_)) => firewall::SCTP_AT,
        }
    }

    fn element(&self) -> Element {
        if self.host_port == 0 {
            let key = opened(&[self.container_ip], self.protocol, self.container_port);
            return Element { key, ..Element::default() };
        }
        let port = self.host_port.to_be_bytes();
        // A port that stands beside something is filled up to a register.
        let key = match self.host_ip {
            None => port.to_vec(),
            Some(ip) => [subnet::octets(ip).as_slice(), &port, &[0; 2]].concat(),
        };
        let to = self.container_port.to_be_bytes();
        let value = [subnet::octets(self.container_ip).as_slice(), &to, &[0; 2]].concat();
        Element { key, value, ..Element::default() }
    }
}

/// A key of addresses, protocol and port, as the rules put it together.
fn opened(addresses: &[IpAddr], protocol: Protocol, port: u16) -> Vec<u8> {
    let number = match protocol {
        Protocol::Tcp => firewall::IPPROTO_TCP,
        Protocol::Udp => firewall::IPPROTO_UDP,
        Protocol::Sctp => firewall::IPPROTO_SCTP,
    };
    let mut key: Vec<u8> = addresses.iter().flat_map(|ip| subnet::octets(*ip)).collect();
    key.extend([number, 0, 0, 0]);
    key.extend(port.to_be_bytes());
    key.extend([0; 2]);
    key
}

/// A port of a container that is open to another one, where containers are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkedPort {
    /// Who may.
    pub from: std::net::Ipv4Addr,
    /// Where to.
    pub to: std::net::Ipv4Addr,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// What is to become of the ports that are open between containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links<'a> {
    /// These, too.
    Open(&'a [LinkedPort]),
    /// Exactly these.
    Only(&'a [LinkedPort]),
    /// Those of everybody else.
    Without(std::net::Ipv4Addr),
}

/// Opens and closes ports between containers that are kept apart.
pub fn link_ports(table: &str, links: Links<'_>) -> Result<(), PublishError> {
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let element = |port: &LinkedPort| Element {
        key: opened(&[port.from.into(), port.to.into()], port.protocol, port.port),
        ..Element::default()
    };
    let ports = match links {
        Links::Open(ports) | Links::Only(ports) => ports,
        Links::Without(_) => &[],
    };
    let wanted = ByMap::from([(firewall::LINKED, ports.iter().map(element).collect())]);
    let unwanted = |old: &Element| match links {
        Links::Open(_) => false,
        Links::Only(_) => true,
        Links::Without(ip) => old.key.chunks(4).take(2).any(|own| own == ip.octets()),
    };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    change(&mut socket, Ip::V4, table, &wanted, |old, _| unwanted(old)).map_err(kernel)?;
    close_behind(socket);
    Ok(())
}

type ByMap = BTreeMap<&'static str, BTreeSet<Element>>;

/// Those of one family.
fn by_map(ports: &[PublishedPort], ip: Ip) -> ByMap {
    let mut maps = ByMap::new();
    let same = |port: &&PublishedPort| port.container_ip.is_ipv6() == (ip == Ip::V6);
    for port in ports.iter().filter(same) {
        maps.entry(port.map()).or_default().insert(port.element());
    }
    maps
}

/// Lets ports of the host lead to containers. What one of them led to before, it does no more.
pub fn publish(table: &str, ports: &[PublishedPort]) -> Result<(), PublishError> {
    in_families(table, ports, |socket, ip, wanted| {
        let mut batch = Batch::new(ip);
        for (map, elements) in wanted {
            batch.add_elements(table, map, &elements.iter().cloned().collect::<Vec<_>>());
        }
        match batch.commit(socket) {
            // Left by somebody who was killed, with another address.
            Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::BUSY)) => {
                change(socket, ip, table, wanted, |old, wanted| {
                    wanted.iter().any(|new| new.key == old.key)
                })
            }
            result => result,
        }
    })?;
    forgetting(table, ports, &[])
}

/// Ends that. Ports that do not lead there are left as they are.
pub fn unpublish(table: &str, ports: &[PublishedPort]) -> Result<(), PublishError> {
    in_families(table, ports, |socket, ip, unwanted| {
        let mut batch = Batch::new(ip);
        for (map, elements) in unwanted {
            batch.delete_elements(table, map, &elements.iter().map(key_of).collect::<Vec<_>>());
        }
        match batch.commit(socket) {
            Err(error) if error.is_absent() => withdraw_present(socket, ip, table, unwanted),
            result => result,
        }
    })?;
    forgetting(table, &[], ports)
}

/// Makes the table's ports exactly these, and removes the links of the bridge `link` that we made and that are not
/// among `links`: what an engine finds when the one before it was killed.
pub fn reconcile(
    table: &str,
    link: &str,
    links: &[String],
    ports: &[PublishedPort],
) -> Result<(), PublishError> {
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    for ip in [Ip::V4, Ip::V6] {
        let mut wanted = by_map(ports, ip);
        for map in firewall::MAPS {
            wanted.entry(map).or_default();
        }
        change(&mut socket, ip, table, &wanted, |_, _| true).map_err(kernel)?;
    }
    forget(&mut socket, ports, &[]).map_err(kernel)?;
    remove_leftovers(link, links)
        .map_err(|source| PublishError::Leftovers { link: link.to_owned(), source })
}

/// Does something for the ports of each family that has some.
fn in_families(
    table: &str,
    ports: &[PublishedPort],
    work: impl Fn(&mut Socket, Ip, &ByMap) -> Result<(), NetlinkError>,
) -> Result<(), PublishError> {
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    for ip in [Ip::V4, Ip::V6] {
        let maps = by_map(ports, ip);
        if !maps.is_empty() {
            work(&mut socket, ip, &maps).map_err(kernel)?;
        }
    }
    close_behind(socket);
    Ok(())
}

fn forgetting(
    table: &str,
    published: &[PublishedPort],
    withdrawn: &[PublishedPort],
) -> Result<(), PublishError> {
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    forget(&mut socket, published, withdrawn).map_err(kernel)
}

/// Adds what is wanted, and removes what is neither wanted nor to be left; all in one transaction.
fn change(
    socket: &mut Socket,
    ip: Ip,
    table: &str,
    wanted: &ByMap,
    unwanted: impl Fn(&Element, &BTreeSet<Element>) -> bool,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new(ip);
    for (map, wanted) in wanted {
        let Some(present) = nft::elements(socket, ip, table, map)? else {
            // Nothing can be published there. That is an error only if something is to be.
            batch.add_elements(table, map, &wanted.iter().cloned().collect::<Vec<_>>());
            continue;
        };
        let present: BTreeSet<Element> = present.into_iter().collect();
        let stale = present.difference(wanted).filter(|old| unwanted(old, wanted));
        let stale: Vec<_> = stale.map(key_of).collect();
        batch.delete_elements(table, map, &stale);
        let missing: Vec<_> = wanted.difference(&present).cloned().collect();
        batch.add_elements(table, map, &missing);
    }
    batch.commit(socket)
}

fn withdraw_present(
    socket: &mut Socket,
    ip: Ip,
    table: &str,
    unwanted: &ByMap,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new(ip);
    for (map, unwanted) in unwanted {
        let present: BTreeSet<Element> =
            nft::elements(socket, ip, table, map)?.unwrap_or_default().into_iter().collect();
        let elements: Vec<_> = present.intersection(unwanted).map(key_of).collect();
        batch.delete_elements(table, map, &elements);
    }
    batch.commit(socket)
}

fn key_of(element: &Element) -> Element {
    Element { key: element.key.clone(), ..Element::default() }
}

fn remove_leftovers(bridge: &str, links: &[String]) -> Result<(), NetlinkError> {
    let mut socket = Socket::open(Family::Route)?;
    let Some(bridge) = link::find(&mut socket, bridge)? else { return Ok(()) };
    let mut failure = Ok(());
    for port in link::ports(&mut socket, bridge.index)? {
        if port.group != attach::GROUP || port.kind != "veth" || links.contains(&port.name) {
            continue;
        }
        match socket.exchange(&[link::delete(&port.name)], |_| ()) {
            Err(error) if !error.is_absent() => failure = Err(error),
            _ => {}
        }
    }
    failure
}

/// UDP has no beginning: a peer that goes on sending stays where its first packet went, until the kernel forgets it.
/// So what goes past a port that is now published, and what goes to a container that is not published any more, is
/// forgotten.
fn forget(
    socket: &mut Socket,
    published: &[PublishedPort],
    withdrawn: &[PublishedPort],
) -> Result<(), NetlinkError> {
    let udp = |port: &&PublishedPort| port.protocol == Protocol::Udp;
    let published: Vec<_> = published.iter().filter(udp).collect();
    let withdrawn: Vec<_> = withdrawn.iter().filter(udp).collect();
    let local: BTreeSet<IpAddr> = match published.as_slice() {
        [] => BTreeSet::new(),
        _ => address::all(&mut Socket::open(Family::Route)?)?
            .iter()
            .map(|address| address.ip)
            .collect(),
    };
    for ip in [Ip::V4, Ip::V6] {
        let of_family = |port: &&PublishedPort| port.container_ip.is_ipv6() == (ip == Ip::V6);
        let published: Vec<_> = published.iter().copied().filter(of_family).collect();
        let withdrawn: Vec<_> = withdrawn.iter().copied().filter(of_family).collect();
        if published.is_empty() && withdrawn.is_empty() {
            continue;
        }
        let flows = conntrack::all(socket, ip)?;
        let udp = flows.iter().filter(|flow| flow.protocol == IPPROTO_UDP);
        for flow in udp.filter(|flow| is_stale(flow, &local, &published, &withdrawn)) {
            match socket.exchange(&[conntrack::delete(flow)], |_| ()) {
                Err(error) if !error.is_absent() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// A conversation that goes past a port that is published, or to a container's that is not any more. `local` are this machine's addresses.
fn is_stale(
    flow: &Flow,
    local: &BTreeSet<IpAddr>,
    published: &[&PublishedPort],
    withdrawn: &[&PublishedPort],
) -> bool {
    let (ip, port) = flow.destination;
    let to = |to: &PublishedPort| (to.container_ip, to.container_port) == flow.answers_from;
    let here = ip.is_loopback() || local.contains(&ip);
    let past = |new: &&PublishedPort| {
        here && new.host_port == port && new.host_ip.is_none_or(|at| at == ip) && !to(new)
    };
    published.iter().any(past) || withdrawn.iter().any(|old| old.host_port == port && to(old))
}

#[cfg(test)]
mod tests;

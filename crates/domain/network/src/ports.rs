//! Published ports: elements of the table's maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ferry_model::network::Protocol;
use ferry_netlink::{
    Errno, Family, NetlinkError, Socket, address,
    conntrack::{self, Flow},
    link,
    nft::{self, Batch, Element},
};

use crate::{PublishError, attach, firewall};

const IPPROTO_UDP: u8 = 17;

/// A port of the host that leads to a container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublishedPort {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host's address; `None` is every address of this machine.
    pub host_ip: Option<Ipv4Addr>,
    /// The host's port.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: Ipv4Addr,
    /// The container's port.
    pub container_port: u16,
}

impl PublishedPort {
    fn map(&self) -> Result<&'static str, PublishError> {
        match (self.protocol, self.host_ip) {
            (Protocol::Tcp, None) => Ok(firewall::TCP_ANY),
            (Protocol::Tcp, Some(_)) => Ok(firewall::TCP_AT),
            (Protocol::Udp, None) => Ok(firewall::UDP_ANY),
            (Protocol::Udp, Some(_)) => Ok(firewall::UDP_AT),
            (Protocol::Sctp, _) => Err(PublishError::Protocol(self.protocol)),
        }
    }

    fn element(&self) -> Element {
        let port = self.host_port.to_be_bytes();
        // A port that stands beside something is filled up to a register.
        let key = match self.host_ip {
            None => port.to_vec(),
            Some(ip) => [ip.octets().as_slice(), &port, &[0; 2]].concat(),
        };
        let to = self.container_port.to_be_bytes();
        let value = [self.container_ip.octets().as_slice(), &to, &[0; 2]].concat();
        Element { key, value, ..Element::default() }
    }
}

type ByMap = BTreeMap<&'static str, BTreeSet<Element>>;

fn by_map(ports: &[PublishedPort]) -> Result<ByMap, PublishError> {
    let mut maps = ByMap::new();
    for port in ports {
        maps.entry(port.map()?).or_default().insert(port.element());
    }
    Ok(maps)
}

/// Lets ports of the host lead to containers. What one of them led to before, it does no more.
pub fn publish(table: &str, ports: &[PublishedPort]) -> Result<(), PublishError> {
    let wanted = by_map(ports)?;
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    let mut batch = Batch::new();
    for (map, elements) in &wanted {
        batch.add_elements(table, map, &elements.iter().cloned().collect::<Vec<_>>());
    }
    match batch.commit(&mut socket) {
        // Left by somebody who was killed, with another address.
        Err(error) if matches!(error.errno(), Some(Errno::EXIST | Errno::BUSY)) => {
            change(&mut socket, table, &wanted, |old, wanted| {
                wanted.iter().any(|new| new.key == old.key)
            })
        }
        result => result,
    }
    .and_then(|()| forget(&mut socket, ports, &[]))
    .map(|()| close_behind(socket))
    .map_err(kernel)
}

/// Ends that. Ports that do not lead there are left as they are.
pub fn unpublish(table: &str, ports: &[PublishedPort]) -> Result<(), PublishError> {
    let unwanted = by_map(ports)?;
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    let mut batch = Batch::new();
    for (map, elements) in &unwanted {
        batch.delete_elements(table, map, &elements.iter().map(key_of).collect::<Vec<_>>());
    }
    match batch.commit(&mut socket) {
        Err(error) if error.is_absent() => withdraw_present(&mut socket, table, &unwanted),
        result => result,
    }
    .and_then(|()| forget(&mut socket, &[], ports))
    .map(|()| close_behind(socket))
    .map_err(kernel)
}

/// Whoever closes a socket that has changed nftables waits until the kernel has thrown away what was replaced, several
/// milliseconds: let that not be the one who starts a container.
fn close_behind(socket: Socket) {
    // Without a thread it is closed here.
    std::thread::Builder::new().name("nft-close".to_owned()).spawn(move || drop(socket)).ok();
}

/// Makes the table's ports exactly these, and removes the links of the bridge `link` that we made and that are not
/// among `links`: what an engine finds when the one before it was killed.
pub fn reconcile(
    table: &str,
    link: &str,
    links: &[String],
    ports: &[PublishedPort],
) -> Result<(), PublishError> {
    let mut wanted = by_map(ports)?;
    for map in firewall::MAPS {
        wanted.entry(map).or_default();
    }
    let kernel = |source| PublishError::Kernel { table: table.to_owned(), source };
    let mut socket = Socket::open(Family::Netfilter).map_err(kernel)?;
    change(&mut socket, table, &wanted, |_, _| true)
        .and_then(|()| forget(&mut socket, ports, &[]))
        .map_err(kernel)?;
    remove_leftovers(link, links)
        .map_err(|source| PublishError::Leftovers { link: link.to_owned(), source })
}

/// Adds what is wanted, and removes what is neither wanted nor to be left; all in one transaction.
fn change(
    socket: &mut Socket,
    table: &str,
    wanted: &ByMap,
    unwanted: impl Fn(&Element, &BTreeSet<Element>) -> bool,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    for (map, wanted) in wanted {
        let Some(present) = nft::elements(socket, table, map)? else {
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
    table: &str,
    unwanted: &ByMap,
) -> Result<(), NetlinkError> {
    let mut batch = Batch::new();
    for (map, unwanted) in unwanted {
        let present: BTreeSet<Element> =
            nft::elements(socket, table, map)?.unwrap_or_default().into_iter().collect();
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
    if published.is_empty() && withdrawn.is_empty() {
        return Ok(());
    }
    let local: BTreeSet<Ipv4Addr> = match published.as_slice() {
        [] => BTreeSet::new(),
        _ => address::all(&mut Socket::open(Family::Route)?)?
            .iter()
            .map(|address| address.ip)
            .collect(),
    };
    let stale = |flow: &Flow| {
        let (ip, port) = flow.destination;
        let to = |to: &PublishedPort| (to.container_ip, to.container_port) == flow.answers_from;
        let here = ip.is_loopback() || local.contains(&ip);
        let past = |new: &&PublishedPort| {
            here && new.host_port == port && new.host_ip.is_none_or(|at| at == ip) && !to(new)
        };
        published.iter().any(past) || withdrawn.iter().any(|old| old.host_port == port && to(old))
    };
    for flow in conntrack::all(socket)?.iter().filter(|flow| flow.protocol == IPPROTO_UDP) {
        if !stale(flow) {
            continue;
        }
        match socket.exchange(&[conntrack::delete(flow)], |_| ()) {
            Err(error) if !error.is_absent() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

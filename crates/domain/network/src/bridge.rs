//! A network's bridge.

use std::{fs, net::IpAddr};

use ferry_netlink::{
    Family, NetlinkError, Socket,
    address::{self, Address},
    link::{self, Change, Link},
    route,
};
use ferry_sys::failpoint;

use crate::{
    BridgeError, RulesSeen, firewall, mac_for,
    removal::{self, remove_link},
    subnet::{self, Net},
};

/// Largest packet where no default route tells otherwise.
const MTU: u32 = 1500;
const SYSCTL: &str = "/proc/sys/net/ipv4";
const SYSCTL6: &str = "/proc/sys/net/ipv6/conf";

/// What a bridge is to its containers in one family of addresses, Docker's `gateway_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GatewayMode {
    /// Their gateway; from outside only ports that are published on the host lead to them.
    #[default]
    Nat,
    /// As before, and whoever has a route to them reaches all their ports.
    Unprotected,
    /// Their router: they are reached by their own addresses, at published ports.
    Routed,
    /// No gateway: the host has no address there.
    Isolated,
}

/// What a network's bridge is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Name of its link.
    pub link: String,
    /// Name of the engine's nftables table.
    pub table: String,
    /// Its addresses, the containers' gateways, and the lengths of the subnets' prefixes: one of a family. Without any a
    /// bridge that is there keeps those that it has.
    pub addresses: Vec<Net>,
    /// Largest packet; 0 is the default route's.
    pub mtu: u32,
    /// Containers reach each other and nobody else.
    pub internal: bool,
    /// Containers appear with the host's address outside.
    pub masquerade: bool,
    /// Containers on it reach each other.
    pub open: bool,
    /// In IPv4 and IPv6.
    pub modes: [GatewayMode; 2],
    /// The host has no IPv4 address of ours there, though containers are told of one; addresses that somebody else gave the link stay.
    pub inhibit_ipv4: bool,
    /// Addresses of the host that containers appear with outside, in IPv4 and IPv6, where it is not that of the link they leave by.
    pub hosts: [Option<IpAddr>; 2],
    /// Links by which published ports are reached at the containers' own addresses, too.
    pub trusted: Vec<String>,
}

impl BridgeSettings {
    /// Whether the bridge itself has this one of its addresses.
    fn is_own(&self, (ip, _): Net) -> bool {
        let inhibited = self.inhibit_ipv4 && ip.is_ipv4();
        !inhibited && mode_of(self.modes, ip) != GatewayMode::Isolated
    }
}

/// A bridge that is up, with its firewall rules in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    link: String,
    table: String,
    index: u32,
    addresses: Vec<Net>,
    mtu: u32,
    internal: bool,
    masquerade: bool,
    open: bool,
    modes: [GatewayMode; 2],
    hosts: [Option<IpAddr>; 2],
    trusted: Vec<String>,
}

impl Bridge {
    /// Makes or adopts the bridge, and its part of the firewall. Doing it again changes nothing but what differs.
    pub fn ensure(settings: &BridgeSettings) -> Result<Bridge, BridgeError> {
        check(settings)?;
        let kernel = |source| BridgeError::Kernel { link: settings.link.clone(), source };
        let mut socket = Socket::open(Family::Route).map_err(kernel)?;
        let found = link::find(&mut socket, &settings.link).map_err(kernel)?;
        if found.as_ref().is_some_and(|link| link.kind != "bridge") {
            return Err(BridgeError::NotABridge(settings.link.clone()));
        }
        let addresses = address::all(&mut socket).map_err(kernel)?;
        let wanted = own_addresses(&mut socket, settings, found.as_ref(), &addresses)?;
        let mtu = match (settings.mtu, &found) {
            (0, Some(link)) => link.mtu,
            (0, None) => default_mtu(&mut socket).map_err(kernel)?,
            (mtu, _) => mtu,
        };
        let was_there = found.is_some();
        let step = |name| (!was_there).then(|| failpoint::hit(name));
        let index = raise(&mut socket, settings, found, &wanted, mtu).map_err(kernel)?;
        step("network-create.raised");
        let own: Vec<Net> = wanted.iter().copied().filter(|net| settings.is_own(*net)).collect();
        let ours: Vec<Address> = addresses
            .into_iter()
            .filter(|address| !(settings.inhibit_ipv4 && address.ip.is_ipv4()))
            .collect();
        place(&mut socket, index, &own, &ours).map_err(kernel)?;
        if wanted.iter().any(|(ip, _)| ip.is_ipv6()) {
            use_at_once(&settings.link)?;
        }
        let bridge = Bridge {
            link: settings.link.clone(),
            table: settings.table.clone(),
            index,
            addresses: wanted,
            mtu,
            internal: settings.internal,
            masquerade: settings.masquerade,
            open: settings.open,
            modes: settings.modes,
            hosts: settings.hosts,
            trusted: settings.trusted.clone(),
        };
        step("network-create.placed");
        // Before forwarding begins: no packet passes that no rule has seen.
        for subnet in &bridge.addresses {
            firewall::install(&bridge.zone(*subnet)).map_err(kernel)?;
        }
        step("network-create.rules");
        turn_on(&format!("{SYSCTL}/conf/{}/route_localnet", settings.link))?;
        answer_for_neighbours(&settings.link, !settings.open, was_there)?;
        turn_on(&format!("{SYSCTL}/ip_forward"))?;
        if bridge.addresses.iter().any(|(ip, _)| ip.is_ipv6()) {
            turn_on(&format!("{SYSCTL6}/all/forwarding"))?;
        }
        Ok(bridge)
    }

    /// Its addresses, the containers' gateways, with the lengths of the subnets' prefixes.
    pub fn addresses(&self) -> &[Net] {
        &self.addresses
    }

    /// Name of its link.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Removes the link and its part of the firewall; with the last bridge the whole table.
    pub fn remove(&self) -> Result<(), BridgeError> {
        remove(&self.link, &self.table)
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn mtu(&self) -> u32 {
        self.mtu
    }

    /// False if its ports are kept apart from each other.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Puts rules and elements back that somebody else has taken away. True if something was missing: then published ports are,
    /// too. `seen` is for all bridges that are looked at together.
    pub fn mend(&self, seen: &mut RulesSeen) -> Result<bool, BridgeError> {
        let kernel = |source| BridgeError::Kernel { link: self.link.clone(), source };
        let mut mended = false;
        for subnet in &self.addresses {
            let zone = self.zone(*subnet);
            if !firewall::is_whole(&zone, seen).map_err(kernel)? {
                firewall::install(&zone).map_err(kernel)?;
                seen.forget();
                mended = true;
            }
        }
        Ok(mended)
    }

    fn zone(&self, subnet: Net) -> firewall::Zone<'_> {
        firewall::Zone {
            table: &self.table,
            link: &self.link,
            subnet,
            internal: self.internal,
            masquerade: self.masquerade,
            open: self.open,
            mode: mode_of(self.modes, subnet.0),
            host: self.hosts[usize::from(subnet.0.is_ipv6())],
            trusted: &self.trusted,
        }
    }
}

fn mode_of([v4, v6]: [GatewayMode; 2], ip: IpAddr) -> GatewayMode {
    if ip.is_ipv6() { v6 } else { v4 }
}

/// The bridge's link-local address is asked for by nobody else. Without this it may not be used for a second or two after the first
/// container came, and the kernel asks for a container with it when it forwards something from elsewhere: that would be lost.
fn use_at_once(link: &str) -> Result<(), BridgeError> {
    let path = format!("{SYSCTL6}/{link}/accept_dad");
    fs::write(&path, "0").map_err(|source| BridgeError::Sysctl { path, source })
}

/// Ports of the bridge that are kept apart do not see each other at all. Where the bridge answers for the neighbours, what they send
/// each other comes by the firewall, which lets linked containers through.
fn answer_for_neighbours(link: &str, apart: bool, was_there: bool) -> Result<(), BridgeError> {
    let path = format!("{SYSCTL}/conf/{link}/proxy_arp_pvlan");
    if apart {
        // At once: else a request waits for its answer for most of a second.
        let delay = format!("{SYSCTL}/neigh/{link}/proxy_delay");
        fs::write(&delay, "0").map_err(|source| BridgeError::Sysctl { path: delay, source })?;
        return turn_on(&path);
    }
    // It may be that they were kept apart by an earlier daemon.
    if was_there && fs::read_to_string(&path).is_ok_and(|text| text.trim() == "1") {
        return fs::write(&path, "0").map_err(|source| BridgeError::Sysctl { path, source });
    }
    Ok(())
}

/// Removes a bridge by its name and that of the engine's table, as far as they are there.
pub fn remove(link: &str, table: &str) -> Result<(), BridgeError> {
    let kernel = |source| BridgeError::Kernel { link: link.to_owned(), source };
    // The rules go last: as long as the link is there they hold.
    remove_link(link).map_err(kernel)?;
    failpoint::hit("network-remove.rules");
    firewall::uninstall(table, link).map_err(kernel)
}

/// Takes a bridge that somebody else made out of the firewall. The link stays as it is, with the address that it was given: as Docker.
pub fn leave(link: &str, table: &str) -> Result<(), BridgeError> {
    firewall::uninstall(table, link)
        .map_err(|source| BridgeError::Kernel { link: link.to_owned(), source })
}

/// Whether there is a link of that name.
pub fn is_there(link: &str) -> Result<bool, BridgeError> {
    removal::is_there(link).map_err(|source| BridgeError::Kernel { link: link.to_owned(), source })
}

fn check(settings: &BridgeSettings) -> Result<(), BridgeError> {
    let link = &settings.link;
    let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
    if link.is_empty() || link.len() > 15 || link.contains(strange) || matches!(&**link, "." | "..")
    {
        return Err(BridgeError::Name(link.clone()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if settings.table.is_empty() || settings.table.len() > 64 || !settings.table.chars().all(plain)
    {
        return Err(BridgeError::TableName(settings.table.clone()));
    }
    for (address, prefix_len) in &settings.addresses {
        let invalid = BridgeError::Address(*address, *prefix_len);
        if *prefix_len == 0 || *prefix_len > subnet::width(*address) - 2 {
            return Err(invalid);
        }
        let host =
            subnet::bits(*address) - subnet::bits(subnet::network((*address, *prefix_len)).0);
        let last = (1_u128 << (subnet::width(*address) - prefix_len)) - 1;
        if host == 0 || (address.is_ipv4() && host == last) {
            return Err(invalid);
        }
    }
    Ok(())
}

/// The addresses that the bridge is to have; an error if somebody else has one of their ranges.
fn own_addresses(
    socket: &mut Socket,
    settings: &BridgeSettings,
    found: Option<&Link>,
    addresses: &[Address],
) -> Result<Vec<Net>, BridgeError> {
    let kernel = |source| BridgeError::Kernel { link: settings.link.clone(), source };
    let own = found.map_or(0, |link| link.index);
    if settings.addresses.is_empty() {
        let adopted: Vec<Net> = addresses
            .iter()
            .filter(|address| address.link == own && !is_link_local(address.ip))
            .map(|address| (address.ip, address.prefix_len))
            .collect();
        return if adopted.is_empty() { Err(BridgeError::NoFreeSubnet) } else { Ok(adopted) };
    }
    // A wider network around ours is fine: the kernel prefers the longer prefix.
    let in_the_way = |other: &&Address| {
        other.link != own
            && settings.addresses.iter().any(|wanted| {
                other.prefix_len >= wanted.1
                    && subnet::overlap(*wanted, (other.ip, other.prefix_len))
            })
    };
    let Some(other) = addresses.iter().find(in_the_way) else {
        return Ok(settings.addresses.clone());
    };
    let links = link::all(socket).map_err(kernel)?;
    let name = links.into_iter().find(|link| link.index == other.link).map(|link| link.name);
    let address = format!("{}/{}", other.ip, other.prefix_len);
    Err(BridgeError::Overlap { link: name.unwrap_or_default(), address })
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

/// All ranges that this machine uses: addresses of its links, and routes.
pub fn used_ranges() -> Result<Vec<Net>, BridgeError> {
    let kernel = |source| BridgeError::Kernel { link: String::new(), source };
    let mut socket = Socket::open(Family::Route).map_err(kernel)?;
    let addresses = address::all(&mut socket).map_err(kernel)?;
    let routes = route::all(&mut socket).map_err(kernel)?;
    let mut used: Vec<Net> =
        addresses.iter().map(|address| (address.ip, address.prefix_len)).collect();
    used.extend(routes.iter().map(|route| (route.destination, route.prefix_len)));
    Ok(used)
}

/// The addresses that a link has, but for those that it gave itself; none if there is no such link.
pub fn addresses_of(link: &str) -> Result<Vec<Net>, BridgeError> {
    let kernel = |source| BridgeError::Kernel { link: link.to_owned(), source };
    let mut socket = Socket::open(Family::Route).map_err(kernel)?;
    let Some(found) = link::find(&mut socket, link).map_err(kernel)? else { return Ok(Vec::new()) };
    let addresses = address::all(&mut socket).map_err(kernel)?;
    let own = addresses.iter().filter(|it| it.link == found.index && !is_link_local(it.ip));
    Ok(own.map(|address| (address.ip, address.prefix_len)).collect())
}

/// Makes the link, or changes the one that is there. Answers its number.
fn raise(
    socket: &mut Socket,
    settings: &BridgeSettings,
    found: Option<Link>,
    addresses: &[Net],
    mtu: u32,
) -> Result<u32, NetlinkError> {
    let name = &settings.link;
    let mut requests = Vec::new();
    if found.is_none() {
        // Without an address of its own a bridge has the lowest of its ports', and changes it with them.
        // Where it has no address of its own, the first is a container's or somebody else's: nobody has the network's.
        let own = |net: &Net| match settings.is_own(*net) {
            true => net.0,
            false => subnet::network(*net).0,
        };
        let mac = addresses.first().map_or_else(Default::default, |address| mac_for(own(address)));
        requests.push(link::create_bridge(name, mac));
    }
    // For the same reason this is set, and not given to it when it is made: only then it stays.
    let mtu = found.as_ref().is_none_or(|link| link.mtu != mtu).then_some(mtu);
    requests.push(link::set(name, &Change { up: Some(true), mtu, ..Change::default() }));
    requests.push(link::get(name));
    let mut index = found.map_or(0, |link| link.index);
    socket.exchange(&requests, |message| {
        index = link::decode(message).map_or(index, |link| link.index);
    })?;
    Ok(index)
}

/// Gives the link its addresses, and takes others of it away: containers know one gateway of a family.
fn place(
    socket: &mut Socket,
    index: u32,
    wanted: &[Net],
    addresses: &[Address],
) -> Result<(), NetlinkError> {
    let wanted: Vec<Address> = wanted
        .iter()
        .map(|(ip, prefix_len)| Address { link: index, ip: *ip, prefix_len: *prefix_len })
        .collect();
    let own = || addresses.iter().filter(|it| it.link == index && !is_link_local(it.ip));
    let mut requests: Vec<_> =
        own().filter(|address| !wanted.contains(address)).map(address::delete).collect();
    let missing = wanted.iter().filter(|address| !own().any(|own| own == *address));
    requests.extend(missing.map(address::add));
    socket.exchange(&requests, |_| ())
}

/// The largest packet of the link that the best default route leads over.
fn default_mtu(socket: &mut Socket) -> Result<u32, NetlinkError> {
    let routes = route::all(socket)?;
    let best = routes.iter().filter(|route| route.is_default()).min_by_key(|route| route.metric);
    let Some(best) = best else { return Ok(MTU) };
    let links = link::all(socket)?;
    let mtu = links.iter().find(|link| link.index == best.link).map_or(MTU, |link| link.mtu);
    // A bridge takes no more than this, and some links (loopback) have more.
    Ok(mtu.clamp(68, 65535))
}

/// Writes `1` unless it is there already: a setting that somebody made is not touched.
fn turn_on(path: &str) -> Result<(), BridgeError> {
    let sysctl = |source| BridgeError::Sysctl { path: path.to_owned(), source };
    if fs::read_to_string(path).map_err(sysctl)?.trim() == "0" {
        fs::write(path, "1").map_err(sysctl)?;
    }
    Ok(())
}

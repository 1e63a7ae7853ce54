//! A network's bridge.

use std::{fs, net::Ipv4Addr};

use ferry_netlink::{
    Family, NetlinkError, Socket,
    address::{self, Address},
    link::{self, Change, Link},
    route,
};

use crate::{
    BridgeError, firewall, mac_for,
    subnet::{self, Net},
};

/// Largest packet where no default route tells otherwise.
const MTU: u32 = 1500;
const SYSCTL: &str = "/proc/sys/net/ipv4";

/// What a network's bridge is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSettings {
    /// Name of its link.
    pub link: String,
    /// Name of the engine's nftables table.
    pub table: String,
    /// Its address, the containers' gateway, and the length of the subnet's prefix; `None` leaves an adopted bridge
    /// its address, and chooses a free range for a new one.
    pub address: Option<(Ipv4Addr, u8)>,
    /// Largest packet; 0 is the default route's.
    pub mtu: u32,
    /// Containers reach each other and nobody else.
    pub internal: bool,
    /// Containers appear with the host's address outside.
    pub masquerade: bool,
}

/// A bridge that is up, with its firewall rules in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    link: String,
    table: String,
    index: u32,
    address: Net,
    mtu: u32,
    internal: bool,
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
        let address = choose_address(&mut socket, settings, found.as_ref(), &addresses)?;
        let mtu = match (settings.mtu, &found) {
            (0, Some(link)) => link.mtu,
            (0, None) => default_mtu(&mut socket).map_err(kernel)?,
            (mtu, _) => mtu,
        };
        let index = raise(&mut socket, settings, found, address, mtu).map_err(kernel)?;
        place(&mut socket, index, address, &addresses).map_err(kernel)?;
        let bridge = Bridge {
            link: settings.link.clone(),
            table: settings.table.clone(),
            index,
            address,
            mtu,
            internal: settings.internal,
        };
        // Before forwarding begins: no packet passes that no rule has seen.
        firewall::install(&bridge.zone(settings.masquerade)).map_err(kernel)?;
        turn_on(&format!("{SYSCTL}/conf/{}/route_localnet", settings.link))?;
        turn_on(&format!("{SYSCTL}/ip_forward"))?;
        Ok(bridge)
    }

    /// The subnet's own address, and the length of its prefix.
    pub fn subnet(&self) -> (Ipv4Addr, u8) {
        (subnet::network(self.address), self.address.1)
    }

    /// The bridge's address.
    pub fn gateway(&self) -> Ipv4Addr {
        self.address.0
    }

    /// Name of its link.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Removes the link and its part of the firewall; with the last bridge the whole table.
    pub fn remove(&self) -> Result<(), BridgeError> {
        let kernel = |source| BridgeError::Kernel { link: self.link.clone(), source };
        let removed = Socket::open(Family::Route)
            .and_then(|mut socket| socket.exchange(&[link::delete(&self.link)], |_| ()));
        // The rules go last: as long as the link is there they hold.
        match removed {
            Err(error) if !error.is_absent() => Err(kernel(error)),
            _ => firewall::uninstall(&self.table, &self.link).map_err(kernel),
        }
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn mtu(&self) -> u32 {
        self.mtu
    }

    fn zone(&self, masquerade: bool) -> firewall::Zone<'_> {
        firewall::Zone {
            table: &self.table,
            link: &self.link,
            subnet: self.subnet(),
            internal: self.internal,
            masquerade,
        }
    }
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
    let Some((address, prefix_len)) = settings.address else { return Ok(()) };
    let invalid = BridgeError::Address(address, prefix_len);
    if !(1..=30).contains(&prefix_len) {
        return Err(invalid);
    }
    let broadcast = Ipv4Addr::from(u32::from(address) | (u32::MAX >> prefix_len));
    let usable = address != subnet::network((address, prefix_len)) && address != broadcast;
    if usable { Ok(()) } else { Err(invalid) }
}

fn choose_address(
    socket: &mut Socket,
    settings: &BridgeSettings,
    found: Option<&Link>,
    addresses: &[Address],
) -> Result<Net, BridgeError> {
    let kernel = |source| BridgeError::Kernel { link: settings.link.clone(), source };
    let own = found.map_or(0, |link| link.index);
    if let Some(wanted) = settings.address {
        // A wider network around ours is fine: the kernel prefers the longer prefix.
        let other = addresses.iter().find(|other| {
            other.link != own
                && other.prefix_len >= wanted.1
                && subnet::overlap(wanted, (other.ip, other.prefix_len))
        });
        let Some(other) = other else { return Ok(wanted) };
        let links = link::all(socket).map_err(kernel)?;
        let name = links.into_iter().find(|link| link.index == other.link).map(|link| link.name);
        let address = format!("{}/{}", other.ip, other.prefix_len);
        return Err(BridgeError::Overlap { link: name.unwrap_or_default(), address });
    }
    let adopted = addresses.iter().find(|address| address.link == own && address.prefix_len <= 30);
    if let Some(address) = adopted {
        return Ok((address.ip, address.prefix_len));
    }
    let mut used: Vec<Net> =
        addresses.iter().map(|address| (address.ip, address.prefix_len)).collect();
    let routes = route::all(socket).map_err(kernel)?;
    used.extend(routes.iter().map(|route| (route.destination, route.prefix_len)));
    subnet::choose(&used).ok_or(BridgeError::NoFreeSubnet)
}

/// Makes the link, or changes the one that is there. Answers its number.
fn raise(
    socket: &mut Socket,
    settings: &BridgeSettings,
    found: Option<Link>,
    address: Net,
    mtu: u32,
) -> Result<u32, NetlinkError> {
    let name = &settings.link;
    let mut requests = Vec::new();
    if found.is_none() {
        // Without an address of its own a bridge has the lowest of its ports', and changes it with them.
        requests.push(link::create_bridge(name, mac_for(address.0)));
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

/// Gives the link its address, and takes others of it away: containers know one gateway.
fn place(
    socket: &mut Socket,
    index: u32,
    (ip, prefix_len): Net,
    addresses: &[Address],
) -> Result<(), NetlinkError> {
    let wanted = Address { link: index, ip, prefix_len };
    let (right, wrong): (Vec<_>, Vec<_>) = addresses
        .iter()
        .filter(|address| address.link == index)
        .partition(|address| **address == wanted);
    let mut requests: Vec<_> = wrong.into_iter().map(address::delete).collect();
    if right.is_empty() {
        requests.push(address::add(&wanted));
    }
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

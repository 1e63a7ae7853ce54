//! Links: bridges, veth pairs, and what there is.

use std::os::fd::{AsRawFd, OwnedFd};

use crate::{
    NetlinkError, Socket,
    wire::{self, Message, Request, attributes, flag},
};

pub(crate) const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const GETLINK: u16 = 18;

const UP: u32 = 1;
/// `struct ifinfomsg`.
pub(crate) const BODY: usize = 16;
/// `IFNAMSIZ` with the NUL.
const NAME_LIMIT: usize = 16;

/// `IFLA_*`.
mod ifla {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const IFNAME: u16 = 3;
    pub(super) const MTU: u16 = 4;
    pub(super) const MASTER: u16 = 10;
    pub(super) const LINKINFO: u16 = 18;
    pub(super) const AF_SPEC: u16 = 26;
    pub(super) const GROUP: u16 = 27;
    pub(super) const NET_NS_FD: u16 = 28;
    pub(super) const NUM_TX_QUEUES: u16 = 31;
    pub(super) const NUM_RX_QUEUES: u16 = 32;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_DATA: u16 = 2;
    pub(super) const INFO_SLAVE_KIND: u16 = 4;
    pub(super) const INFO_SLAVE_DATA: u16 = 5;
    pub(super) const VETH_INFO_PEER: u16 = 1;
    pub(super) const INET6_ADDR_GEN_MODE: u16 = 8;
    pub(super) const ADDR_GEN_NONE: u8 = 1;
    pub(super) const BR_FORWARD_DELAY: u16 = 1;
    pub(super) const BR_STP_STATE: u16 = 5;
    pub(super) const BRPORT_MODE: u16 = 4;
    pub(super) const BRPORT_ISOLATED: u16 = 33;
}

/// A link as the kernel tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// `bridge`, `veth`; empty for devices.
    pub kind: String,
    /// The number of the bridge it is a port of; 0 if none.
    pub master: u32,
    /// Largest packet.
    pub mtu: u32,
    /// Hardware address; empty if it has none.
    pub mac: Vec<u8>,
    /// A number that its maker gave it; 0 if none.
    pub group: u32,
    /// `IFF_UP`.
    pub up: bool,
}

/// A veth pair to be made.
#[derive(Debug, Clone, Copy)]
pub struct Veth<'a> {
    /// Name of our end.
    pub host: &'a str,
    /// The bridge our end becomes a port of; 0 for none.
    pub master: u32,
    /// Name of the other end.
    pub peer: &'a str,
    /// Where the other end goes.
    pub namespace: &'a OwnedFd,
    /// Hardware address of the other end.
    pub mac: [u8; 6],
    /// Largest packet of both.
    pub mtu: u32,
    /// A number that both ends are known by as ours; 0 for none.
    pub group: u32,
}

/// What is to be different at a link. `None` stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change<'a> {
    /// Up or down.
    pub up: Option<bool>,
    /// The bridge that it becomes a port of; 0 takes it off its bridge.
    pub master: Option<u32>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// A new name. The link must be down.
    pub name: Option<&'a str>,
}

fn body(index: u32, flags: u32, change: u32) -> [u8; BODY] {
    let mut bytes = [0; BODY];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&change.to_ne_bytes());
    bytes
}

/// Makes a bridge without spanning tree, that is up.
pub fn create_bridge(name: &str, mac: [u8; 6]) -> Request {
    let what = format!("create bridge {name}");
    let mut request = Request::new(NEWLINK, flag::CREATE | flag::EXCL, what).body(&body(0, UP, UP));
    request.text(ifla::IFNAME, name);
    request.attribute(ifla::ADDRESS, &mac);
    request.nest(ifla::LINKINFO, |request| {
        request.text(ifla::INFO_KIND, "bridge");
        request.nest(ifla::INFO_DATA, |request| {
            request.native(ifla::BR_FORWARD_DELAY, 0);
            request.native(ifla::BR_STP_STATE, 0);
        });
    });
    request
}

/// Makes a veth pair, both ends up, ours on a bridge, the other's in another namespace: one message.
pub fn create_veth(veth: &Veth<'_>) -> Request {
    let what = format!("create link {}", veth.host);
    let mut request = Request::new(NEWLINK, flag::CREATE | flag::EXCL, what).body(&body(0, UP, UP));
    request.text(ifla::IFNAME, veth.host);
    request.native(ifla::MTU, veth.mtu);
    one_queue(&mut request);
    if veth.group != 0 {
        request.native(ifla::GROUP, veth.group);
    }
    if veth.master != 0 {
        request.native(ifla::MASTER, veth.master);
    }
    request.nest(ifla::LINKINFO, |request| {
        request.text(ifla::INFO_KIND, "veth");
        request.nest(ifla::INFO_DATA, |request| {
            request.nest(ifla::VETH_INFO_PEER, |request| {
                request.raw(&body(0, 0, 0));
                request.text(ifla::IFNAME, veth.peer);
                request.attribute(ifla::ADDRESS, &veth.mac);
                request.native(ifla::MTU, veth.mtu);
                if veth.group != 0 {
                    request.native(ifla::GROUP, veth.group);
                }
                one_queue(request);
                let fd = veth.namespace.as_raw_fd();
                request.attribute(ifla::NET_NS_FD, &fd.to_ne_bytes());
            });
        });
    });
    request
}

/// A veth uses one queue of each kind unless told otherwise, but is made with one for each processor; giving those up again
/// makes the kernel wait for a grace period of RCU, which takes longer than all the rest.
fn one_queue(request: &mut Request) {
    request.native(ifla::NUM_TX_QUEUES, 1_u32);
    request.native(ifla::NUM_RX_QUEUES, 1_u32);
}

/// Changes a link.
pub fn set(name: &str, change: &Change<'_>) -> Request {
    let flags = match change.up {
        Some(true) => body(0, UP, UP),
        Some(false) => body(0, 0, UP),
        None => body(0, 0, 0),
    };
    let what = format!("change link {name}");
    set_with(Request::new(NEWLINK, 0, what).body(&flags), Some(name), change)
}

/// The same for a link whose number is known; only so can it be renamed.
pub fn set_by_index(index: u32, change: &Change<'_>) -> Request {
    let flags = match change.up {
        Some(true) => body(index, UP, UP),
        Some(false) => body(index, 0, UP),
        None => body(index, 0, 0),
    };
    let what = format!("change link number {index}");
    set_with(Request::new(NEWLINK, 0, what).body(&flags), change.name, change)
}

fn set_with(mut request: Request, name: Option<&str>, change: &Change<'_>) -> Request {
    if let Some(name) = name {
        request.text(ifla::IFNAME, name);
    }
    if let Some(master) = change.master {
        request.native(ifla::MASTER, master);
    }
    if let Some(mtu) = change.mtu {
        request.native(ifla::MTU, mtu);
    }
    if let Some(mac) = change.mac {
        request.attribute(ifla::ADDRESS, &mac);
    }
    request
}

/// Stops a link from giving itself an IPv6 address when it comes up.
pub fn no_own_ipv6(name: &str) -> Request {
    let what = format!("turn automatic IPv6 addresses of link {name} off");
    let mut request = Request::new(NEWLINK, 0, what).body(&body(0, 0, 0));
    request.text(ifla::IFNAME, name);
    request.nest(ifla::AF_SPEC, |request| {
        request.nest(libc::AF_INET6 as u16, |request| {
            request.attribute(ifla::INET6_ADDR_GEN_MODE, &[ifla::ADDR_GEN_NONE]);
        });
    });
    request
}

/// Sets how a bridge treats a port: whether frames may go back out where they came in, and whether it is kept apart from
/// other ports that are kept apart.
pub fn port(name: &str, hairpin: bool, isolated: bool) -> Request {
    let what = format!("set port mode of link {name}");
    let mut request = Request::new(NEWLINK, 0, what).body(&body(0, 0, 0));
    request.text(ifla::IFNAME, name);
    request.nest(ifla::LINKINFO, |request| {
        request.text(ifla::INFO_SLAVE_KIND, "bridge");
        request.nest(ifla::INFO_SLAVE_DATA, |request| {
            request.attribute(ifla::BRPORT_MODE, &[u8::from(hairpin)]);
            request.attribute(ifla::BRPORT_ISOLATED, &[u8::from(isolated)]);
        });
    });
    request
}

/// Removes a link; of a veth pair both ends.
pub fn delete(name: &str) -> Request {
    let mut request = Request::new(DELLINK, 0, format!("delete link {name}")).body(&body(0, 0, 0));
    request.text(ifla::IFNAME, name);
    request
}

/// Removes the link of that number, which no later link has.
pub fn delete_index(index: u32) -> Request {
    Request::new(DELLINK, 0, format!("delete link {index}")).body(&body(index, 0, 0))
}

/// Asks for a link. The kernel brings its carrier state up to date before it answers (since 6.9).
pub fn get(name: &str) -> Request {
    let mut request = Request::new(GETLINK, 0, format!("find link {name}")).body(&body(0, 0, 0));
    request.text(ifla::IFNAME, name);
    request
}

/// The link of that name.
pub fn find(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetlinkError> {
    if name.is_empty() || name.len() >= NAME_LIMIT {
        return Ok(None);
    }
    let mut found = None;
    match socket.exchange(&[get(name)], |message| found = found.take().or_else(|| decode(message)))
    {
        Ok(()) => Ok(found),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number of the link of that name, without waiting for whoever changes links just now: [`find`] would. None for one that is being taken
/// apart, too.
pub fn number(socket: &Socket, name: &str) -> rustix::io::Result<Option<u32>> {
    match rustix::net::netdevice::name_to_index(socket.fd(), name) {
        Ok(index) => Ok(Some(index)),
        Err(rustix::io::Errno::NODEV) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// All links.
pub fn all(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    socket.dump(&Request::new(GETLINK, 0, "list links").body(&body(0, 0, 0)), decode)
}

/// The ports of a bridge.
pub fn ports(socket: &mut Socket, master: u32) -> Result<Vec<Link>, NetlinkError> {
    let what = format!("list ports of link number {master}");
    let mut request = Request::new(GETLINK, 0, what).body(&body(0, 0, 0));
    request.native(ifla::MASTER, master);
    let mut links = socket.dump(&request, decode)?;
    links.retain(|link| link.master == master);
    Ok(links)
}

/// Reads an `RTM_NEWLINK`.
pub fn decode(message: &Message<'_>) -> Option<Link> {
    if message.kind != NEWLINK {
        return None;
    }
    let (header, rest) = message.payload.split_at_checked(BODY)?;
    let number =
        |at: usize| header.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
    let mut link = Link { index: number(4)?, up: number(8)? & UP != 0, ..Link::default() };
    for attribute in attributes(rest) {
        match attribute.kind {
            ifla::ADDRESS => {
                link.mac = attribute.value.get(..32.min(attribute.value.len()))?.to_vec()
            }
            ifla::IFNAME => link.name = attribute.text(),
            ifla::MTU => link.mtu = attribute.native()?,
            ifla::MASTER => link.master = attribute.native()?,
            ifla::GROUP => link.group = attribute.native()?,
            ifla::LINKINFO => {
                let kind = attribute.nested().find(ifla::INFO_KIND);
                link.kind = kind.as_ref().map(wire::Attribute::text).unwrap_or_default();
            }
            _ => {}
        }
    }
    Some(link)
}

//! Addresses of links, of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    NetlinkError, Socket,
    wire::{Message, Request, attributes, flag},
};

const NEWADDR: u16 = 20;
const DELADDR: u16 = 21;
const GETADDR: u16 = 22;
/// `struct ifaddrmsg`.
const BODY: usize = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
/// `IFA_F_NODAD`: used at once, without asking first who has it.
const NO_DETECTION: u32 = 2;

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub ip: IpAddr,
    /// Length of its network's prefix, at most 32 or 128.
    pub prefix_len: u8,
}

fn family(ip: IpAddr) -> u8 {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    family as u8
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn body(family: u8, prefix_len: u8, link: u32) -> [u8; BODY] {
    let mut bytes = [0; BODY];
    bytes[0] = family;
    bytes[1] = prefix_len;
    bytes[4..].copy_from_slice(&link.to_ne_bytes());
    bytes
}

/// Adds an address, with the broadcast address of its network if it is of IPv4.
pub fn add(address: &Address) -> Request {
    let Address { link, ip, prefix_len } = *address;
    let what = format!("add address {ip}/{prefix_len}");
    let header = body(family(ip), prefix_len, link);
    let mut request = Request::new(NEWADDR, flag::CREATE | flag::EXCL, what).body(&header);
    request.attribute(IFA_LOCAL, &octets(ip));
    request.attribute(IFA_ADDRESS, &octets(ip));
    match ip {
        // Networks of one or two addresses have no broadcast address.
        IpAddr::V4(ip) if prefix_len <= 30 => {
            let broadcast = Ipv4Addr::from(u32::from(ip) | (u32::MAX >> prefix_len));
            request.attribute(IFA_BROADCAST, &broadcast.octets());
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => request.native(IFA_FLAGS, NO_DETECTION),
    }
    request
}

/// Takes an address away.
pub fn delete(address: &Address) -> Request {
    let Address { link, ip, prefix_len } = *address;
    let what = format!("remove address {ip}/{prefix_len}");
    let mut request = Request::new(DELADDR, 0, what).body(&body(family(ip), prefix_len, link));
    request.attribute(IFA_LOCAL, &octets(ip));
    request
}

/// All addresses.
pub fn all(socket: &mut Socket) -> Result<Vec<Address>, NetlinkError> {
    socket.dump(&Request::new(GETADDR, 0, "list addresses").body(&body(0, 0, 0)), decode)
}

/// Reads an `RTM_NEWADDR`.
pub fn decode(message: &Message<'_>) -> Option<Address> {
    let (header, rest) = message.payload.split_at_checked(BODY)?;
    if message.kind != NEWADDR {
        return None;
    }
    let link = u32::from_ne_bytes(*header.get(4..)?.first_chunk()?);
    // Of a point-to-point link "address" is the other side, "local" is ours.
    let value = |kind| attributes(rest).find(kind).map(|attribute| attribute.value);
    let value = value(IFA_LOCAL).or_else(|| value(IFA_ADDRESS))?;
    let (ip, longest) = match i32::from(*header.first()?) {
        libc::AF_INET => (IpAddr::V4((*value.first_chunk::<4>()?).into()), 32),
        libc::AF_INET6 => (IpAddr::V6(Ipv6Addr::from(*value.first_chunk::<16>()?)), 128),
        _ => return None,
    };
    let prefix_len = header.get(1).copied().filter(|length| *length <= longest)?;
    Some(Address { link, ip, prefix_len })
}

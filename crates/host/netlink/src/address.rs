//! IPv4 addresses of links.

use std::net::Ipv4Addr;

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

/// An address of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The link's number.
    pub link: u32,
    /// The address.
    pub ip: Ipv4Addr,
    /// Length of its network's prefix, at most 32.
    pub prefix_len: u8,
}

fn body(prefix_len: u8, link: u32) -> [u8; BODY] {
    let mut bytes = [0; BODY];
    bytes[0] = libc::AF_INET as u8;
    bytes[1] = prefix_len;
    bytes[4..].copy_from_slice(&link.to_ne_bytes());
    bytes
}

/// Adds an address with the broadcast address of its network.
pub fn add(address: &Address) -> Request {
    let Address { link, ip, prefix_len } = *address;
    let what = format!("add address {ip}/{prefix_len}");
    let header = body(prefix_len, link);
    let mut request = Request::new(NEWADDR, flag::CREATE | flag::EXCL, what).body(&header);
    request.attribute(IFA_LOCAL, &ip.octets());
    request.attribute(IFA_ADDRESS, &ip.octets());
    // Networks of one or two addresses have no broadcast address.
    if prefix_len <= 30 {
        let broadcast = Ipv4Addr::from(u32::from(ip) | (u32::MAX >> prefix_len));
        request.attribute(IFA_BROADCAST, &broadcast.octets());
    }
    request
}

/// Takes an address away.
pub fn delete(address: &Address) -> Request {
    let Address { link, ip, prefix_len } = *address;
    let what = format!("remove address {ip}/{prefix_len}");
    let mut request = Request::new(DELADDR, 0, what).body(&body(prefix_len, link));
    request.attribute(IFA_LOCAL, &ip.octets());
    request
}

/// All IPv4 addresses.
pub fn all(socket: &mut Socket) -> Result<Vec<Address>, NetlinkError> {
    socket.dump(&Request::new(GETADDR, 0, "list addresses").body(&body(0, 0)), decode)
}

/// Reads an `RTM_NEWADDR` of IPv4.
pub fn decode(message: &Message<'_>) -> Option<Address> {
    let (header, rest) = message.payload.split_at_checked(BODY)?;
    if message.kind != NEWADDR || header.first() != Some(&(libc::AF_INET as u8)) {
        return None;
    }
    let prefix_len = header.get(1).copied().filter(|length| *length <= 32)?;
    let link = u32::from_ne_bytes(*header.get(4..)?.first_chunk()?);
    // Of a point-to-point link "address" is the other side, "local" is ours.
    let of = |kind| attributes(rest).find(kind)?.value.first_chunk::<4>().copied();
    let ip = of(IFA_LOCAL).or_else(|| of(IFA_ADDRESS))?;
    Some(Address { link, ip: ip.into(), prefix_len })
}

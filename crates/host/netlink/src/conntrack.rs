//! Entries of the connection table: found and forgotten.

use std::net::IpAddr;

use crate::{
    NetlinkError, Socket,
    nft::Ip,
    wire::{Attribute, Message, Request, attributes},
};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
/// Length of `struct nfgenmsg`.
const BODY: usize = 4;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
/// `CTA_IP_V4_*`, `CTA_IP_V6_*`.
const IP_SOURCE: [u16; 2] = [1, 3];
const IP_DESTINATION: [u16; 2] = [2, 4];
const PROTO_NUMBER: u16 = 1;
const PROTO_SOURCE_PORT: u16 = 2;
const PROTO_DESTINATION_PORT: u16 = 3;
/// A tuple with all that it may have is shorter.
const TUPLE_LIMIT: usize = 512;

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// `IPPROTO_*`.
    pub protocol: u8,
    /// Where its first packet was sent to.
    pub destination: (IpAddr, u16),
    /// Where its answers come from: different from `destination` if that was translated.
    pub answers_from: (IpAddr, u16),
    original: Vec<u8>,
}

/// `struct nfgenmsg`.
fn body(family: libc::c_int) -> [u8; BODY] {
    [u8::try_from(family).unwrap_or_default(), 0, 0, 0]
}

/// All connections of a family.
pub fn all(socket: &mut Socket, ip: Ip) -> Result<Vec<Flow>, NetlinkError> {
    let family = match ip {
        Ip::V4 => libc::AF_INET,
        Ip::V6 => libc::AF_INET6,
    };
    let request = Request::new(SUBSYSTEM << 8 | GET, 0, "list connections").body(&body(family));
    socket.dump(&request, decode)
}

/// Forgets a connection: its next packet is looked at by the NAT rules again.
pub fn delete(flow: &Flow) -> Request {
    let what = format!("forget connection to port {}", flow.destination.1);
    let family = if flow.destination.0.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let mut request = Request::new(SUBSYSTEM << 8 | DELETE, 0, what).body(&body(family));
    request.nest(TUPLE_ORIGINAL, |request| request.raw(&flow.original));
    request
}

/// Reads an `IPCTNL_MSG_CT_NEW`.
pub fn decode(message: &Message<'_>) -> Option<Flow> {
    let (_, rest) = message.payload.split_at_checked(BODY)?;
    if message.kind != SUBSYSTEM << 8 | NEW {
        return None;
    }
    let original = attributes(rest).find(TUPLE_ORIGINAL)?;
    let reply = attributes(rest).find(TUPLE_REPLY)?;
    let number = original.nested().find(TUPLE_PROTO)?.nested().find(PROTO_NUMBER)?;
    Some(Flow {
        protocol: *number.value.first()?,
        destination: side(&original, IP_DESTINATION, PROTO_DESTINATION_PORT)?,
        answers_from: side(&reply, IP_SOURCE, PROTO_SOURCE_PORT)?,
        original: original.value.get(..original.value.len().min(TUPLE_LIMIT))?.to_vec(),
    })
}

/// Protocols without ports have port 0.
fn side(tuple: &Attribute<'_>, [v4, v6]: [u16; 2], port: u16) -> Option<(IpAddr, u16)> {
    let ip = || tuple.nested().find(TUPLE_IP);
    let address = match ip()?.nested().find(v4) {
        Some(v4) => IpAddr::from(*v4.value.first_chunk::<4>()?),
        None => IpAddr::from(*ip()?.nested().find(v6)?.value.first_chunk::<16>()?),
    };
    let port = tuple.nested().find(TUPLE_PROTO)?.nested().find(port);
    let port =
        port.and_then(|port| port.value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)));
    Some((address, port.unwrap_or(0)))
}

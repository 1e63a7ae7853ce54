//! Entries of the connection table: found and forgotten.

use std::net::Ipv4Addr;

use crate::{
    NetlinkError, Socket,
    wire::{Attribute, Message, Request, attributes},
};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
/// `struct nfgenmsg`.
const BODY: [u8; 4] = [libc::AF_INET as u8, 0, 0, 0];

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;
const IP_SOURCE: u16 = 1;
const IP_DESTINATION: u16 = 2;
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
    pub destination: (Ipv4Addr, u16),
    /// Where its answers come from: different from `destination` if that was translated.
    pub answers_from: (Ipv4Addr, u16),
    original: Vec<u8>,
}

/// All IPv4 connections.
pub fn all(socket: &mut Socket) -> Result<Vec<Flow>, NetlinkError> {
    let request = Request::new(SUBSYSTEM << 8 | GET, 0, "list connections").body(&BODY);
    socket.dump(&request, decode)
}

/// Forgets a connection: its next packet is looked at by the NAT rules again.
pub fn delete(flow: &Flow) -> Request {
    let what = format!("forget connection to port {}", flow.destination.1);
    let mut request = Request::new(SUBSYSTEM << 8 | DELETE, 0, what).body(&BODY);
    request.nest(TUPLE_ORIGINAL, |request| request.raw(&flow.original));
    request
}

/// Reads an `IPCTNL_MSG_CT_NEW` of IPv4.
pub fn decode(message: &Message<'_>) -> Option<Flow> {
    let (header, rest) = message.payload.split_at_checked(BODY.len())?;
    if message.kind != SUBSYSTEM << 8 | NEW || header.first() != BODY.first() {
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
fn side(tuple: &Attribute<'_>, ip: u16, port: u16) -> Option<(Ipv4Addr, u16)> {
    let address = tuple.nested().find(TUPLE_IP)?.nested().find(ip)?.value.first_chunk::<4>()?;
    let port = tuple.nested().find(TUPLE_PROTO)?.nested().find(port);
    let port =
        port.and_then(|port| port.value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)));
    Some(((*address).into(), port.unwrap_or(0)))
}

//! Routes of both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::{
    NetlinkError, Socket,
    wire::{Message, Request, attributes, flag},
};

const NEWROUTE: u16 = 24;
const GETROUTE: u16 = 26;
/// `struct rtmsg`.
const BODY: usize = 12;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;

const TABLE_MAIN: u8 = 254;
const PROTOCOL_BOOT: u8 = 3;
const TYPE_UNICAST: u8 = 1;

/// A route as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Network; 0.0.0.0 or :: for the default route.
    pub destination: IpAddr,
    /// Length of its prefix, at most 32 or 128.
    pub prefix_len: u8,
    /// Number of the link it leads over; 0 if it leads nowhere.
    pub link: u32,
    /// The next hop, if not direct.
    pub gateway: Option<IpAddr>,
    /// The lower the better.
    pub metric: u32,
    /// Routing table; 254 is the main one.
    pub table: u32,
    /// `RTN_*`: 1 leads to others, 2 to ourselves.
    pub kind: u8,
}

impl Route {
    /// A default route of the main table.
    pub fn is_default(&self) -> bool {
        self.prefix_len == 0 && self.kind == TYPE_UNICAST && self.table == u32::from(TABLE_MAIN)
    }
}

/// Makes the default route, or lets the one that is there lead elsewhere.
pub fn set_default(link: u32, gateway: IpAddr) -> Request {
    let mut header = [0; BODY];
    let family = if gateway.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    header[0] = family as u8;
    header[4..8].copy_from_slice(&[TABLE_MAIN, PROTOCOL_BOOT, 0, TYPE_UNICAST]);
    let what = format!("set default route via {gateway}");
    let mut request = Request::new(NEWROUTE, flag::CREATE | flag::REPLACE, what).body(&header);
    request.native(RTA_OIF, link);
    match gateway {
        IpAddr::V4(ip) => request.attribute(RTA_GATEWAY, &ip.octets()),
        IpAddr::V6(ip) => request.attribute(RTA_GATEWAY, &ip.octets()),
    }
    request
}

/// Makes the default route of a family lead over a link, to whoever answers there.
pub fn set_default_direct(link: u32, v6: bool) -> Request {
    const SCOPE_LINK: u8 = 253;
    let mut header = [0; BODY];
    header[0] = if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
    header[4..8].copy_from_slice(&[TABLE_MAIN, PROTOCOL_BOOT, SCOPE_LINK, TYPE_UNICAST]);
    let what = "set default route over a link".to_owned();
    let mut request = Request::new(NEWROUTE, flag::CREATE | flag::REPLACE, what).body(&header);
    request.native(RTA_OIF, link);
    request
}

/// All routes of all tables.
pub fn all(socket: &mut Socket) -> Result<Vec<Route>, NetlinkError> {
    let header = [0; BODY];
    socket.dump(&Request::new(GETROUTE, 0, "list routes").body(&header), decode)
}

/// Reads an `RTM_NEWROUTE`.
pub fn decode(message: &Message<'_>) -> Option<Route> {
    let (header, rest) = message.payload.split_at_checked(BODY)?;
    if message.kind != NEWROUTE {
        return None;
    }
    let of = |kind| attributes(rest).find(kind);
    let is_v4 = match i32::from(*header.first()?) {
        libc::AF_INET => true,
        libc::AF_INET6 => false,
        _ => return None,
    };
    let ip = |kind| -> Option<IpAddr> {
        let value = of(kind)?.value;
        Some(match is_v4 {
            true => Ipv4Addr::from(*value.first_chunk::<4>()?).into(),
            false => Ipv6Addr::from(*value.first_chunk::<16>()?).into(),
        })
    };
    let (any, longest): (IpAddr, u8) = match is_v4 {
        true => (Ipv4Addr::UNSPECIFIED.into(), 32),
        false => (Ipv6Addr::UNSPECIFIED.into(), 128),
    };
    let number = |kind| of(kind)?.native();
    Some(Route {
        destination: ip(RTA_DST).unwrap_or(any),
        prefix_len: header.get(1).copied().filter(|length| *length <= longest)?,
        link: number(RTA_OIF).unwrap_or_default(),
        gateway: ip(RTA_GATEWAY),
        metric: number(RTA_PRIORITY).unwrap_or_default(),
        table: number(RTA_TABLE).unwrap_or_else(|| header.get(4).copied().unwrap_or(0).into()),
        kind: header.get(7).copied()?,
    })
}

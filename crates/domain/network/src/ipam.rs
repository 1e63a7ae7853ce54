//! Which addresses of a subnet are leased.

use std::{collections::BTreeSet, net::IpAddr};

use ferry_errkind::{ErrorKind, Kinded};

use crate::subnet::{self, Net};

/// The addresses of one subnet. Pure: who holds which is forgotten with it.
#[derive(Debug, Clone)]
pub struct Ipam {
    v6: bool,
    /// First and last of the subnet that can be leased.
    usable: (u128, u128),
    /// First and last of the part that is leased from where nobody asks for a certain one.
    range: (u128, u128),
    gateway: u128,
    taken: BTreeSet<u128>,
    /// The one leased last without being asked for by number.
    latest: Option<u128>,
}

/// No address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The subnet has no room for a gateway and a container, or is not one.
    #[error("invalid subnet {0}/{1} with gateway {2}")]
    Subnet(IpAddr, u8, IpAddr),
    /// Somebody has it, or it is the gateway's, the network's own or its broadcast address. Docker's words.
    #[error("Address already in use")]
    Taken(IpAddr),
    /// It is of another subnet. Docker's words.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    OutOfRange(IpAddr),
    /// All are leased. Docker's words.
    #[error("no available {} addresses on this network's address pools", if *v6 { "IPv6" } else { "IPv4" })]
    Exhausted {
        /// Which family.
        v6: bool,
    },
}

impl Kinded for IpamError {
    fn kind(&self) -> ErrorKind {
        match self {
            IpamError::Subnet(..) | IpamError::OutOfRange(_) => ErrorKind::InvalidArgument,
            IpamError::Taken(_) => ErrorKind::Forbidden,
            IpamError::Exhausted { .. } => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            IpamError::Taken(address) => {
                Some(format!("{address} is leased, or set apart for the network"))
            }
            _ => None,
        }
    }
}

impl Ipam {
    /// All addresses of `subnet` free, but for the network's, the gateway's, and the broadcast address that IPv4 has.
    /// `range` is the part of the subnet that addresses come from.
    pub fn new(subnet: Net, gateway: IpAddr, range: Option<Net>) -> Result<Self, IpamError> {
        let (ip, prefix_len) = subnet;
        let invalid = || IpamError::Subnet(ip, prefix_len, gateway);
        let v6 = ip.is_ipv6();
        if prefix_len == 0 || prefix_len > subnet::width(ip) - 2 {
            return Err(invalid());
        }
        let whole = span(subnet);
        let usable = (whole.0 + 1, if v6 { whole.1 } else { whole.1 - 1 });
        let number = subnet::bits(gateway);
        if gateway.is_ipv6() != v6 || !(usable.0..=usable.1).contains(&number) {
            return Err(invalid());
        }
        let range = match range {
            None => usable,
            Some(range) => {
                let (first, last) = span(range);
                (first.max(usable.0), last.min(usable.1))
            }
        };
        let taken = BTreeSet::from([number]);
        Ok(Ipam { v6, usable, range, gateway: number, taken, latest: None })
    }

    /// Which family its addresses are of.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// The gateway's address is one like all others: nobody is the gateway.
    pub fn release_gateway(&mut self) {
        self.taken.remove(&self.gateway);
        self.gateway = 0;
    }

    /// Leases the address that is wanted, or the next free one after the latest: one that was just given back is not
    /// leased again before all others, so that nobody's neighbour takes a stranger for an old friend.
    pub fn allocate(&mut self, wanted: Option<IpAddr>) -> Result<IpAddr, IpamError> {
        let Some(wanted) = wanted else {
            let (first, last) = self.range;
            let from = self.latest.map_or(first, |latest| latest.saturating_add(1));
            let free = |ip: &u128| !self.taken.contains(ip);
            let next = (from..=last).find(free).or_else(|| (first..from.min(last + 1)).find(free));
            let next = next.ok_or(IpamError::Exhausted { v6: self.v6 })?;
            self.latest = Some(next);
            self.taken.insert(next);
            return Ok(subnet::address(self.v6, next));
        };
        let number = subnet::bits(wanted);
        let (first, last) = self.usable;
        let in_subnet = wanted.is_ipv6() == self.v6
            && (first - 1..=if self.v6 { last } else { last + 1 }).contains(&number);
        if !in_subnet {
            return Err(IpamError::OutOfRange(wanted));
        }
        if !(first..=last).contains(&number) || !self.taken.insert(number) {
            return Err(IpamError::Taken(wanted));
        }
        Ok(wanted)
    }

    /// Gives an address back. The gateway's stays.
    pub fn release(&mut self, address: IpAddr) {
        let number = subnet::bits(address);
        if address.is_ipv6() == self.v6 && number != self.gateway {
            self.taken.remove(&number);
        }
    }
}

/// First and last address.
fn span((ip, prefix_len): Net) -> (u128, u128) {
    let first = subnet::bits(subnet::network((ip, prefix_len)).0);
    let host_bits = u32::from(subnet::width(ip) - prefix_len);
    let size = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |size| size - 1);
    (first, first | size)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn ipam(prefix_len: u8) -> Ipam {
        Ipam::new((ip(0), prefix_len), ip(1), None).expect("a subnet")
    }

    #[test]
    fn addresses_go_up_and_given_back_ones_come_last() {
        let mut ipam = ipam(29);
        assert_eq!(ipam.allocate(None), Ok(ip(2)));
        assert_eq!(ipam.allocate(None), Ok(ip(3)));
        ipam.release(ip(2));
        for last in [4, 5, 6, 2] {
            assert_eq!(ipam.allocate(None), Ok(ip(last)));
        }
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted { v6: false }));
        ipam.release(ip(4));
        assert_eq!(ipam.allocate(None), Ok(ip(4)));
    }

    #[test]
    fn wanted_addresses_are_leased_unless_they_cannot_be() {
        let mut ipam = ipam(29);
        assert_eq!(ipam.allocate(Some(ip(3))), Ok(ip(3)));
        assert_eq!(ipam.allocate(Some(ip(3))), Err(IpamError::Taken(ip(3))));
        assert_eq!(ipam.allocate(Some(ip(1))), Err(IpamError::Taken(ip(1))));
        for last in [0, 7] {
            assert_eq!(ipam.allocate(Some(ip(last))), Err(IpamError::Taken(ip(last))));
        }
        for last in [8, 200] {
            assert_eq!(ipam.allocate(Some(ip(last))), Err(IpamError::OutOfRange(ip(last))));
        }
        assert_eq!(ipam.allocate(None), Ok(ip(2)));
        assert_eq!(ipam.allocate(None), Ok(ip(4)));
    }

    #[test]
    fn the_gateway_is_never_given_back() {
        let mut ipam = Ipam::new((ip(0), 30), ip(2), None).expect("a subnet");
        ipam.release(ip(2));
        assert_eq!(ipam.allocate(None), Ok(ip(1)));
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted { v6: false }));
    }

    #[test]
    fn subnets_without_room_or_with_a_strange_gateway_are_refused() {
        for prefix_len in [0, 31, 32, 33, 255] {
            assert!(Ipam::new((ip(0), prefix_len), ip(1), None).is_err(), "{prefix_len}");
        }
        for gateway in [ip(0), ip(255), Ipv4Addr::new(10, 0, 1, 1).into()] {
            assert!(Ipam::new((ip(0), 24), gateway, None).is_err(), "{gateway}");
        }
        let top = |last| IpAddr::V4(Ipv4Addr::new(255, 255, 255, last));
        let mut ipam = Ipam::new((top(252), 30), top(253), None).expect("a subnet");
        assert_eq!(ipam.allocate(None), Ok(top(254)));
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted { v6: false }));
    }

    #[test]
    fn a_range_limits_what_nobody_asked_for() {
        let mut ipam = Ipam::new((ip(0), 24), ip(1), Some((ip(64), 30))).expect("a subnet");
        for last in [64, 65, 66, 67] {
            assert_eq!(ipam.allocate(None), Ok(ip(last)));
        }
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted { v6: false }));
        assert_eq!(ipam.allocate(Some(ip(9))), Ok(ip(9)));
        ipam.release(ip(65));
        assert_eq!(ipam.allocate(None), Ok(ip(65)));
    }

    #[test]
    fn ipv6_has_no_broadcast_address() {
        let ip = |last: u128| IpAddr::V6(Ipv6Addr::from_bits(0xfd00 << 112 | last));
        let mut ipam = Ipam::new((ip(0), 126), ip(1), None).expect("a subnet");
        assert_eq!([ipam.allocate(None), ipam.allocate(None)], [Ok(ip(2)), Ok(ip(3))]);
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted { v6: true }));
        let mut wide = Ipam::new((ip(0), 64), ip(1), None).expect("a subnet");
        assert_eq!(wide.allocate(None), Ok(ip(2)));
        assert_eq!(wide.allocate(Some(ip(u128::from(u64::MAX)))), Ok(ip(u128::from(u64::MAX))));
        let v4 = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(wide.allocate(Some(v4)), Err(IpamError::OutOfRange(v4)));
    }
}

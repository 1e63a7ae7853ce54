//! Which addresses of a subnet are leased.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ferry_errkind::{ErrorKind, Kinded};

/// The addresses of one subnet. Pure: who holds which is forgotten with it.
#[derive(Debug, Clone)]
pub struct Ipam {
    /// First and last that can be leased.
    first: u32,
    last: u32,
    gateway: u32,
    taken: BTreeSet<u32>,
    /// The one leased last without being asked for by number.
    latest: u32,
}

/// No address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The subnet has no room for a gateway and a container, or is not one.
    #[error("invalid subnet {0}/{1} with gateway {2}")]
    Subnet(Ipv4Addr, u8, Ipv4Addr),
    /// Somebody has it, or it is the gateway's, the network's own or its broadcast address. Docker's words.
    #[error("Address already in use")]
    Taken(Ipv4Addr),
    /// It is of another subnet. Docker's words.
    #[error("no configured subnet or ip-range contain the IP address {0}")]
    OutOfRange(Ipv4Addr),
    /// All are leased. Docker's words.
    #[error("no available IPv4 addresses on this network's address pools")]
    Exhausted,
}

impl Kinded for IpamError {
    fn kind(&self) -> ErrorKind {
        match self {
            IpamError::Subnet(..) | IpamError::OutOfRange(_) => ErrorKind::InvalidArgument,
            IpamError::Taken(_) => ErrorKind::Forbidden,
            IpamError::Exhausted => ErrorKind::Unavailable,
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
    /// All addresses of `subnet` free, but for the network's, the broadcast and the gateway's.
    pub fn new(subnet: Ipv4Addr, prefix_len: u8, gateway: Ipv4Addr) -> Result<Self, IpamError> {
        let invalid = || IpamError::Subnet(subnet, prefix_len, gateway);
        if !(1..=30).contains(&prefix_len) {
            return Err(invalid());
        }
        let host_bits = u32::MAX >> prefix_len;
        let network = u32::from(subnet) & !host_bits;
        let (first, last) = (network + 1, (network | host_bits) - 1);
        let gateway = u32::from(gateway);
        if !(first..=last).contains(&gateway) {
            return Err(invalid());
        }
        Ok(Ipam { first, last, gateway, taken: BTreeSet::from([gateway]), latest: first - 1 })
    }

    /// Leases the address that is wanted, or the next free one after the latest: one that was just given back is not
    /// leased again before all others, so that nobody's neighbour takes a stranger for an old friend.
    pub fn allocate(&mut self, wanted: Option<Ipv4Addr>) -> Result<Ipv4Addr, IpamError> {
        let Some(wanted) = wanted else {
            let after =
                (self.latest.saturating_add(1)..=self.last).find(|ip| !self.taken.contains(ip));
            let mut before =
                (self.first..=self.latest.min(self.last)).filter(|ip| !self.taken.contains(ip));
            let next = after.or_else(|| before.next()).ok_or(IpamError::Exhausted)?;
            self.latest = next;
            self.taken.insert(next);
            return Ok(next.into());
        };
        let number = u32::from(wanted);
        if !(self.first - 1..=self.last + 1).contains(&number) {
            return Err(IpamError::OutOfRange(wanted));
        }
        if !(self.first..=self.last).contains(&number) || !self.taken.insert(number) {
            return Err(IpamError::Taken(wanted));
        }
        Ok(wanted)
    }

    /// Gives an address back. The gateway's stays.
    pub fn release(&mut self, address: Ipv4Addr) {
        if u32::from(address) != self.gateway {
            self.taken.remove(&address.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, 0, last)
    }

    fn ipam(prefix_len: u8) -> Ipam {
        Ipam::new(ip(0), prefix_len, ip(1)).expect("a subnet")
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
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted));
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
        let mut ipam = Ipam::new(ip(0), 30, ip(2)).expect("a subnet");
        ipam.release(ip(2));
        assert_eq!(ipam.allocate(None), Ok(ip(1)));
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted));
    }

    #[test]
    fn subnets_without_room_or_with_a_strange_gateway_are_refused() {
        for prefix_len in [0, 31, 32, 33, 255] {
            assert!(Ipam::new(ip(0), prefix_len, ip(1)).is_err(), "{prefix_len}");
        }
        for gateway in [ip(0), ip(255), Ipv4Addr::new(10, 0, 1, 1)] {
            assert!(Ipam::new(ip(0), 24, gateway).is_err(), "{gateway}");
        }
        let top = Ipv4Addr::new(255, 255, 255, 252);
        let mut ipam = Ipam::new(top, 30, Ipv4Addr::new(255, 255, 255, 253)).expect("a subnet");
        assert_eq!(ipam.allocate(None), Ok(Ipv4Addr::new(255, 255, 255, 254)));
        assert_eq!(ipam.allocate(None), Err(IpamError::Exhausted));
    }
}

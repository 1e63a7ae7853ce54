//! Networks as numbers: which contain which, and choosing one that nobody on this machine uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: an address of it, and the length of its prefix.
pub type Net = (IpAddr, u8);

/// Candidates are not looked through without end.
const CANDIDATES: u128 = 1 << 16;

/// A range that networks are cut out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The range.
    pub base: Net,
    /// Length of the prefix of each network.
    pub size: u8,
}

/// Where networks come from unless the user says otherwise. Docker's first choices are others (172.17 and up): a Docker on
/// the same machine finds its own ranges free.
pub fn default_pools() -> Vec<Pool> {
    let large = (29..=31)
        .map(|second| Pool { base: (Ipv4Addr::new(172, second, 0, 0).into(), 16), size: 16 });
    let small = Pool { base: (Ipv4Addr::new(10, 210, 0, 0).into(), 16), size: 24 };
    large.chain([small]).collect()
}

/// The first network of the pools, in one family, that overlaps none of `used`.
pub fn choose(pools: &[Pool], v6: bool, used: &[Net]) -> Option<Net> {
    pools.iter().filter(|pool| pool.base.0.is_ipv6() == v6).find_map(|pool| {
        let width = width(pool.base.0);
        let step = 1_u128.checked_shl(u32::from(width.checked_sub(pool.size)?))?;
        let cut = u32::from(pool.size.checked_sub(pool.base.1)?);
        let count = 1_u128.checked_shl(cut).unwrap_or(u128::MAX).min(CANDIDATES);
        let first = bits(network(pool.base).0);
        (0..count)
            .map(|number| (address(v6, first + number * step), pool.size))
            .find(|candidate| !used.iter().any(|other| overlap(*candidate, *other)))
    })
}

/// True if one of them contains the other. The default route contains all, and is not meant.
pub fn overlap(one: Net, other: Net) -> bool {
    let shorter = one.1.min(other.1);
    one.0.is_ipv4() == other.0.is_ipv4()
        && shorter != 0
        && network((one.0, shorter)).0 == network((other.0, shorter)).0
}

/// True if `subnet` (`10.0.0.0/8`, `fd00::/64`) holds the address. What does not read holds nothing.
pub fn contains(subnet: &str, ip: IpAddr) -> bool {
    parse(subnet).is_some_and(|(base, prefix_len)| {
        base.is_ipv4() == ip.is_ipv4()
            && network((base, prefix_len)).0 == network((ip, prefix_len)).0
    })
}

/// Reads `10.0.0.0/8` or `fd00::/64`.
pub fn parse(text: &str) -> Option<Net> {
    let (address, prefix_len) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix_len = prefix_len.parse().ok().filter(|length| *length <= width(address))?;
    Some((address, prefix_len))
}

/// The network's own address, with its prefix.
pub fn network((ip, prefix_len): Net) -> Net {
    let host_bits = u32::from(width(ip).saturating_sub(prefix_len));
    let cleared = bits(ip).checked_shr(host_bits).unwrap_or(0);
    (address(ip.is_ipv6(), cleared.checked_shl(host_bits).unwrap_or(0)), prefix_len)
}

/// Bits of an address of that family.
pub(crate) fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

pub(crate) fn bits(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

pub(crate) fn address(v6: bool, bits: u128) -> IpAddr {
    match v6 {
        true => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        // Callers stay within the family's width.
        false => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
    }
}

/// The bytes of an address, as they are in packets.
pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        parse(text).expect("a network")
    }

    #[test]
    fn the_first_range_that_is_free_is_chosen() {
        let free = |used: &[Net]| choose(&default_pools(), false, used);
        assert_eq!(free(&[]), Some(net("172.29.0.0/16")));
        assert_eq!(free(&[net("0.0.0.0/0")]), Some(net("172.29.0.0/16")));
        assert_eq!(free(&[net("172.29.5.0/24")]), Some(net("172.30.0.0/16")));
        assert_eq!(free(&[net("172.16.0.0/12")]), Some(net("10.210.0.0/24")));
        let used = [net("172.16.0.0/12"), net("10.210.0.0/23"), net("10.210.2.9/32")];
        assert_eq!(free(&used), Some(net("10.210.3.0/24")));
        assert_eq!(free(&[net("172.16.0.0/12"), net("10.0.0.0/8")]), None);
        assert_eq!(choose(&default_pools(), true, &[]), None);
        let pools = [Pool { base: net("fd12:3456:789a::/48"), size: 64 }];
        let used = [net("fd12:3456:789a::/64"), net("10.0.0.0/8")];
        assert_eq!(choose(&pools, true, &used), Some(net("fd12:3456:789a:1::/64")));
    }

    #[test]
    fn subnets_hold_addresses() {
        let holds = |subnet, ip: &str| contains(subnet, ip.parse().expect("an address"));
        assert!(holds("10.0.0.0/8", "10.255.0.1") && holds("0.0.0.0/0", "1.2.3.4"));
        assert!(holds("fd00::/64", "fd00::9") && !holds("fd00::/64", "fd00:0:0:1::9"));
        for (subnet, ip) in [("10.0.0.0/8", "11.0.0.1"), ("10.0.0.0/8", "::1"), ("x/8", "10.0.0.1")]
        {
            assert!(!holds(subnet, ip), "{subnet} {ip}");
        }
    }

    #[test]
    fn a_network_begins_where_its_bits_are_zero() {
        assert_eq!(network(net("10.1.2.3/24")), net("10.1.2.0/24"));
        assert_eq!(network(net("10.1.2.3/32")), net("10.1.2.3/32"));
        assert_eq!(network(net("10.1.2.3/0")), net("0.0.0.0/0"));
        assert_eq!(network(net("fd00::9/64")), net("fd00::/64"));
    }
}

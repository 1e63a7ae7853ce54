//! Choosing a range that nobody on this machine uses.

use std::net::{IpAddr, Ipv4Addr};

/// A network: an address of it, and the length of its prefix.
pub(crate) type Net = (Ipv4Addr, u8);

/// The first candidate that overlaps none of `used`, with the bridge's address in it: the first.
pub(crate) fn choose(used: &[Net]) -> Option<Net> {
    candidates()
        .find(|candidate| !used.iter().any(|other| overlap(*candidate, *other)))
        .map(|(network, prefix_len)| (Ipv4Addr::from(u32::from(network) + 1), prefix_len))
}

/// Docker's first choices are others (172.17 and up): a Docker on the same machine finds its own ranges free.
fn candidates() -> impl Iterator<Item = Net> {
    let large = (29..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=255).map(|third| (Ipv4Addr::new(10, 210, third, 0), 24));
    large.chain(small)
}

/// True if one of them contains the other. The default route contains all, and is not meant.
pub(crate) fn overlap(one: Net, other: Net) -> bool {
    let shorter = one.1.min(other.1);
    if shorter == 0 || shorter > 32 {
        return false;
    }
    let mask = u32::MAX << (32 - shorter);
    u32::from(one.0) & mask == u32::from(other.0) & mask
}

/// True if `subnet` (`10.0.0.0/8`, `fd00::/64`) holds the address. What does not read holds nothing.
pub fn contains(subnet: &str, ip: IpAddr) -> bool {
    let Some((network, prefix)) = subnet.split_once('/') else { return false };
    let (Ok(network), Ok(prefix)) = (network.parse::<IpAddr>(), prefix.parse::<u32>()) else {
        return false;
    };
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) if prefix <= 32 => {
            let cut = |ip: Ipv4Addr| ip.to_bits().checked_shr(32 - prefix).unwrap_or(0);
            cut(network) == cut(ip)
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) if prefix <= 128 => {
            let cut = |ip: std::net::Ipv6Addr| ip.to_bits().checked_shr(128 - prefix).unwrap_or(0);
            cut(network) == cut(ip)
        }
        _ => false,
    }
}

/// The network's own address.
pub(crate) fn network((address, prefix_len): Net) -> Ipv4Addr {
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len.min(32))).unwrap_or(0);
    Ipv4Addr::from(u32::from(address) & mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        let (address, prefix_len) = text.split_once('/').expect("a slash");
        (address.parse().expect("an address"), prefix_len.parse().expect("a length"))
    }

    #[test]
    fn the_first_range_that_is_free_is_chosen() {
        assert_eq!(choose(&[]), Some(net("172.29.0.1/16")));
        assert_eq!(choose(&[net("0.0.0.0/0")]), Some(net("172.29.0.1/16")));
        assert_eq!(choose(&[net("172.29.5.0/24")]), Some(net("172.30.0.1/16")));
        assert_eq!(choose(&[net("172.16.0.0/12")]), Some(net("10.210.0.1/24")));
        let used = [net("172.16.0.0/12"), net("10.210.0.0/23"), net("10.210.2.9/32")];
        assert_eq!(choose(&used), Some(net("10.210.3.1/24")));
        assert_eq!(choose(&[net("172.16.0.0/12"), net("10.0.0.0/8")]), None);
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
        assert_eq!(network(net("10.1.2.3/24")), Ipv4Addr::new(10, 1, 2, 0));
        assert_eq!(network(net("10.1.2.3/32")), Ipv4Addr::new(10, 1, 2, 3));
        assert_eq!(network(net("10.1.2.3/0")), Ipv4Addr::UNSPECIFIED);
    }
}

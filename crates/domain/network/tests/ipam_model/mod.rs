//! What leasing addresses means, written down as simply as can be: bytes become a subnet and a sequence of leases and returns, and the
//! lease book must say what a plain list says. Also behind the fuzz target `ipam`.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ferry_network::{Ipam, IpamError};

/// First address of the subnet of each family.
const BASES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(10, 9, 8, 0)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 1, 2, 3, 0, 0, 0, 0)),
];

fn address(v6: bool, host: u32) -> IpAddr {
    match BASES[usize::from(v6)] {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() + host)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() + u128::from(host))),
    }
}

/// Does what the bytes say, and panics where the two differ.
pub(crate) fn check(bytes: &[u8]) {
    let [kind, gateway, range, operations @ ..] = bytes else { return };
    let v6 = kind & 1 == 1;
    // From four addresses to 256.
    let host_bits = 2 + u32::from(kind >> 1) % 7;
    let size = 1_u32 << host_bits;
    let width = if v6 { 128 } else { 32 };
    let prefix_len = u8::try_from(width - host_bits).unwrap_or_default();
    let last_usable = if v6 { size - 1 } else { size - 2 };
    let gateway = u32::from(*gateway) % size;
    let narrow = u32::from(*range) % 3 == 1 && host_bits > 2;
    let range = narrow.then(|| (address(v6, size / 2), prefix_len + 1));
    let made = Ipam::new((address(v6, 0), prefix_len), address(v6, gateway), range);
    if gateway == 0 || gateway > last_usable {
        assert!(made.is_err(), "a gateway that is no host's: {gateway} of {size}");
        return;
    }
    let mut ipam = made.expect("a subnet");
    let (first, last) = if narrow { (size / 2, last_usable) } else { (1, last_usable) };
    let mut taken = BTreeSet::from([gateway]);
    let mut latest: Option<u32> = None;
    for pair in operations.chunks_exact(2) {
        // Some are just outside of the subnet.
        let host = u32::from(pair[1]) % (size + 2);
        match pair[0] % 4 {
            0 | 1 => {
                let from = latest.map_or(first, |latest| latest + 1);
                let free = |host: &u32| !taken.contains(host);
                let next = (from..=last).find(free).or_else(|| (first..=last).find(free));
                let expected =
                    next.map(|host| address(v6, host)).ok_or(IpamError::Exhausted { v6 });
                assert_eq!(ipam.allocate(None), expected);
                if let Some(next) = next {
                    latest = Some(next);
                    taken.insert(next);
                }
            }
            2 => {
                let wanted = address(v6, host);
                let expected = if host >= size {
                    Err(IpamError::OutOfRange(wanted))
                } else if host == 0 || host > last_usable || !taken.insert(host) {
                    Err(IpamError::Taken(wanted))
                } else {
                    Ok(wanted)
                };
                assert_eq!(ipam.allocate(Some(wanted)), expected);
            }
            _ => {
                ipam.release(address(v6, host));
                if host != gateway {
                    taken.remove(&host);
                }
            }
        }
    }
}

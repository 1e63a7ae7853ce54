//! Checks of a new network's address pools, in the words of moby's `network.ValidateIPAM`.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use ferry_docker_api::IpamConfig;
use ferry_errkind::Failure;

use crate::refuse::invalid;

/// An address block; the address may have bits behind the prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Block {
    address: IpAddr,
    len: u32,
}

impl Block {
    fn parse(text: &str) -> Option<Self> {
        let (address, len) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        // `+8` and `08` are numbers for Rust and not for Go.
        let plain = len == "0" || (!len.starts_with(['0', '+']) && !len.is_empty());
        let len = len.parse().ok().filter(|len| plain && *len <= width(address))?;
        Some(Block { address, len })
    }

    fn masked(self) -> Self {
        Block { address: mask(self.address, self.len), len: self.len }
    }

    fn contains(self, address: IpAddr) -> bool {
        family(address) == family(self.address) && mask(address, self.len) == self.masked().address
    }

    fn overlaps(self, other: Block) -> bool {
        self.contains(other.masked().address) || other.contains(self.masked().address)
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.len)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn mask(address: IpAddr, len: u32) -> IpAddr {
    match address {
        IpAddr::V4(ip) => {
            IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(32 - len).unwrap_or(0)).into())
        }
        IpAddr::V6(ip) => {
            IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(128 - len).unwrap_or(0)).into())
        }
    }
}

/// Refuses pools that do not read or do not fit together, all mistakes at once.
pub(super) fn check(pools: &[IpamConfig], enable_ipv6: bool) -> Result<(), Failure> {
    let mistakes: Vec<String> =
        pools.iter().flat_map(|pool| pool_mistakes(pool, enable_ipv6)).collect();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("invalid network config:\n{}", mistakes.join("\n"))))
}

fn pool_mistakes(pool: &IpamConfig, enable_ipv6: bool) -> Vec<String> {
    let IpamConfig { subnet: text, ip_range, gateway, aux_address } = pool;
    let Some(subnet) = Block::parse(text) else {
        return vec![format!("invalid subnet {text}: invalid CIDR block notation")];
    };
    if !enable_ipv6 && subnet.address.is_ipv6() {
        return Vec::new();
    }
    let mut mistakes = Vec::new();
    if subnet != subnet.masked() {
        mistakes.push(format!("invalid subnet {subnet}: it should be {}", subnet.masked()));
    }
    mistakes.extend(range_mistakes(ip_range, subnet));
    if let Some(why) = address_mistake(gateway, subnet) {
        mistakes.push(format!("invalid gateway {gateway}: {why}"));
    }
    mistakes.extend(aux_mistakes(aux_address, subnet));
    mistakes
}

fn range_mistakes(text: &str, subnet: Block) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let Some(range) = Block::parse(text) else {
        return vec![format!("invalid ip-range {text}: invalid CIDR block notation")];
    };
    let parent = family(subnet.address);
    if family(range.address) != parent {
        return vec![format!("invalid ip-range {text}: parent subnet is an {parent} block")];
    }
    let mut mistakes = Vec::new();
    if range.len < subnet.len {
        mistakes.push(format!(
            "invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
        ));
    }
    if range != range.masked() {
        mistakes.push(format!("invalid ip-range {range}: it should be {}", range.masked()));
    }
    if !subnet.overlaps(range) {
        mistakes.push(format!(
            "invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
        ));
    }
    mistakes
}

fn aux_mistakes(addresses: &BTreeMap<String, String>, subnet: Block) -> Vec<String> {
    let mistake = |(name, address): (&String, &String)| {
        let why = address_mistake(address, subnet)?;
        Some(format!("invalid auxiliary address {name}: {why}"))
    };
    addresses.iter().filter_map(mistake).collect()
}

fn address_mistake(text: &str, subnet: Block) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let Ok(address) = text.parse::<IpAddr>() else { return Some("invalid address".to_owned()) };
    let parent = family(subnet.address);
    if family(address) != parent {
        return Some(format!("parent subnet is an {parent} block"));
    }
    (!subnet.contains(address))
        .then(|| format!("parent subnet {subnet} doesn't contain this address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(subnet: &str, range: &str, gateway: &str) -> String {
        let pool = IpamConfig {
            subnet: subnet.to_owned(),
            ip_range: range.to_owned(),
            gateway: gateway.to_owned(),
            aux_address: BTreeMap::new(),
        };
        check(&[pool], true)
            .err()
            .map(|failure| failure.message().replace('\n', "|"))
            .unwrap_or_default()
    }

    #[test]
    fn mistakes_are_told_in_dockers_words() {
        assert_eq!(mistakes("10.1.0.0/16", "10.1.2.0/24", "10.1.0.1"), "");
        assert_eq!(mistakes("fd00::/64", "", "fd00::1"), "");
        assert_eq!(mistakes("0.0.0.0/0", "", ""), "");
        let prefix = "invalid network config:|";
        for (found, expected) in [
            (mistakes("foo", "", ""), "invalid subnet foo: invalid CIDR block notation"),
            (mistakes("1.2.3.4/8", "", ""), "invalid subnet 1.2.3.4/8: it should be 1.0.0.0/8"),
            (
                mistakes("1.0.0.0/33", "", ""),
                "invalid subnet 1.0.0.0/33: invalid CIDR block notation",
            ),
            (
                mistakes("10.1.0.0/16", "10.0.0.0/8", ""),
                "invalid ip-range 10.0.0.0/8: CIDR block is bigger than its parent subnet 10.1.0.0/16",
            ),
            (
                mistakes("10.1.0.0/16", "10.2.0.0/24", ""),
                "invalid ip-range 10.2.0.0/24: parent subnet 10.1.0.0/16 doesn't contain ip-range",
            ),
            (
                mistakes("10.1.0.0/16", "", "10.2.0.1"),
                "invalid gateway 10.2.0.1: parent subnet 10.1.0.0/16 doesn't contain this address",
            ),
            (
                mistakes("10.1.0.0/16", "", "::1"),
                "invalid gateway ::1: parent subnet is an IPv4 block",
            ),
            (mistakes("10.1.0.0/16", "", "x"), "invalid gateway x: invalid address"),
        ] {
            assert_eq!(found, format!("{prefix}{expected}"));
        }
    }
}

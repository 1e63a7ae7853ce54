//! Registries that may do without TLS, or without a certificate that anyone vouches for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::location::Origin;

/// The list as the daemon's configuration has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Insecure {
    names: Vec<(String, Option<u16>)>,
    networks: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Insecure {
    /// Entries are `host`, `host:port` or a network in CIDR notation. What reads as neither matches nothing.
    pub(crate) fn new(entries: &[String]) -> Insecure {
        let mut insecure = Insecure::default();
        for entry in entries {
            let entry = entry.trim();
            let entry = entry.strip_prefix("http://").unwrap_or(entry);
            let entry = entry.strip_prefix("https://").unwrap_or(entry).trim_end_matches('/');
            if let Some(network) = Network::parse(entry) {
                insecure.networks.push(network);
            } else if let Some(origin) = Origin::of_domain(entry, true) {
                let named = origin.port != 443 || entry.ends_with(":443");
                insecure.names.push((origin.host, named.then_some(origin.port)));
            } else {
                tracing::warn!(
                    entry,
                    "an entry of the insecure registries is no host and no network"
                );
            }
        }
        insecure
    }

    /// Whether plain HTTP and unknown certificates will do. This machine itself always may, as with Docker.
    pub(crate) async fn allows(&self, origin: &Origin) -> bool {
        if self.allows_by_name(origin) {
            return true;
        }
        if self.networks.is_empty() || origin.host.parse::<IpAddr>().is_ok() {
            return false;
        }
        // Only a name can still lead into one of the networks.
        match tokio::net::lookup_host((origin.host.as_str(), origin.port)).await {
            Ok(mut found) => found.any(|found| self.has(found.ip())),
            Err(_) => false,
        }
    }

    fn allows_by_name(&self, origin: &Origin) -> bool {
        if origin.host == "localhost" {
            return true;
        }
        if let Ok(address) = origin.host.parse::<IpAddr>()
            && (address.to_canonical().is_loopback() || self.has(address))
        {
            return true;
        }
        self.names.iter().any(|(host, port)| {
            *host == origin.host
                && port.map_or(matches!(origin.port, 80 | 443), |port| port == origin.port)
        })
    }

    fn has(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.has(address.to_canonical()))
    }
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, prefix) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Network { address, prefix })
    }

    fn has(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(u32::from(32 - self.prefix)).unwrap_or(0);
                let number = |address: Ipv4Addr| u32::from(address) & mask;
                number(own) == number(other)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(u32::from(128 - self.prefix)).unwrap_or(0);
                let number = |address: Ipv6Addr| u128::from(address) & mask;
                number(own) == number(other)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may() {
        let entries =
            ["reg.lan:5000", "plain.lan", "10.0.0.0/8", "fd00::/8", "0.0.0.0/33", "no such"];
        let insecure = Insecure::new(&entries.map(str::to_owned));
        for (domain, allowed) in [
            ("reg.lan:5000", true),
            ("reg.lan", false),
            ("plain.lan", true),
            ("plain.lan:5000", false),
            ("10.1.2.3:5000", true),
            ("11.1.2.3", false),
            ("[fd00::1]:5000", true),
            ("[fe80::1]", false),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("localhost:5000", true),
            ("localhost.evil.com", false),
        ] {
            let origin = Origin::of_domain(domain, true).unwrap();
            assert_eq!(insecure.allows_by_name(&origin), allowed, "{domain}");
        }
    }
}

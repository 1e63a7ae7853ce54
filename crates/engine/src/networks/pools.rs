//! Subnets of networks: those that are asked for, and those that are chosen.

use std::net::IpAddr;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{IpamPool, Network};
use ferry_network::{Net, Pool};

use crate::config::BridgeConfig;

/// Fills in what a network lacks: a subnet for each family that it has. What is asked for must not be another network's.
pub(super) fn fill<'n>(
    network: &mut Network,
    others: impl Iterator<Item = &'n Network>,
    configured: &[Pool],
) -> Result<(), Failure> {
    let mut pools = configured.to_vec();
    if pools.is_empty() {
        pools = ferry_network::default_pools();
    }
    let mut taken: Vec<Net> = Vec::new();
    for other in others {
        // A range for IPv6 that is this machine's own, made of something random that stays.
        if other.name == "host" && !pools.iter().any(|pool| pool.base.0.is_ipv6()) {
            pools.extend(own_ipv6(&other.id));
        }
        taken
            .extend(other.ipam.iter().filter_map(|pool| ferry_network::parse_subnet(&pool.subnet)));
    }
    for pool in &network.ipam {
        let subnet = subnet_of(pool)?;
        if taken.iter().any(|other| ferry_network::overlap(subnet, *other)) {
            let words = "invalid pool request: Pool overlaps with other one on this address space";
            return Err(Failure::new(ErrorKind::Forbidden, words));
        }
    }
    for (enabled, v6) in [(network.enable_ipv4, false), (network.enable_ipv6, true)] {
        let has = network.ipam.iter().any(|pool| pool.subnet.contains(':') == v6);
        if !enabled || has {
            continue;
        }
        let mut used = ferry_network::used_ranges()?;
        used.extend(&taken);
        let chosen = ferry_network::choose_subnet(&pools, v6, &used).ok_or_else(|| {
            let words = "all predefined address pools have been fully subnetted";
            Failure::new(ErrorKind::InvalidArgument, words)
                .with_hint("name a free subnet with --subnet")
        })?;
        network.ipam.push(chosen_pool(first_address(chosen), chosen.1));
    }
    Ok(())
}

/// The default network has what its link has, or what the daemon was told.
pub(super) fn settle_default<'n>(
    network: &mut Network,
    others: impl Iterator<Item = &'n Network>,
    config: &BridgeConfig,
) -> Result<(), Failure> {
    let addresses: Vec<Net> = match config.address {
        Some((ip, prefix_len)) => vec![(IpAddr::V4(ip), prefix_len)],
        None => ferry_network::addresses_of(&network.bridge)?
            .into_iter()
            .filter(|(ip, prefix_len)| ip.is_ipv4() && *prefix_len <= 30)
            .take(1)
            .collect(),
    };
    network.ipam.clear();
    if addresses.is_empty() {
        return fill(network, others, &config.pools);
    }
    network.ipam.extend(addresses.into_iter().map(|(ip, prefix_len)| chosen_pool(ip, prefix_len)));
    Ok(())
}

fn chosen_pool(gateway: IpAddr, prefix_len: u8) -> IpamPool {
    let (base, _) = ferry_network::network_of((gateway, prefix_len));
    IpamPool {
        subnet: format!("{base}/{prefix_len}"),
        gateway: gateway.to_string(),
        chosen: true,
        ..IpamPool::default()
    }
}

/// The bridge's addresses: the gateways that were asked for, or the first addresses.
pub(super) fn gateways(network: &Network) -> Result<Vec<Net>, Failure> {
    let mut gateways: Vec<Net> = Vec::new();
    for pool in &network.ipam {
        let subnet = subnet_of(pool)?;
        let enabled = if subnet.0.is_ipv6() { network.enable_ipv6 } else { network.enable_ipv4 };
        if !enabled {
            continue;
        }
        if gateways.iter().any(|(ip, _)| ip.is_ipv4() == subnet.0.is_ipv4()) {
            let words = "networks with more than one subnet of a family are not supported";
            return Err(Failure::new(ErrorKind::NotImplemented, words));
        }
        let gateway = match pool.gateway.as_str() {
            "" => first_address(subnet),
            text => text.parse().map_err(|_| invalid(&pool.subnet))?,
        };
        gateways.push((gateway, subnet.1));
    }
    gateways.sort();
    Ok(gateways)
}

fn subnet_of(pool: &IpamPool) -> Result<Net, Failure> {
    ferry_network::parse_subnet(&pool.subnet).ok_or_else(|| invalid(&pool.subnet))
}

fn invalid(subnet: &str) -> Failure {
    Failure::new(ErrorKind::InvalidArgument, format!("invalid subnet \"{subnet}\""))
}

fn first_address(subnet: Net) -> IpAddr {
    match ferry_network::network_of(subnet).0 {
        IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().saturating_add(1).into()),
        IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().saturating_add(1).into()),
    }
}

/// `fd` and forty bits (RFC 4193), in pieces of /64.
fn own_ipv6(id: &str) -> Option<Pool> {
    let bits = u128::from_str_radix(id.get(..10)?, 16).ok()?;
    let base = IpAddr::V6((0xfd << 120 | bits << 80).into());
    Some(Pool { base: (base, 48), size: 64 })
}

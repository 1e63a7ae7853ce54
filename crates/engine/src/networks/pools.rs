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
    for other in others.filter(|other| !other.config_only) {
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
        let mut pool = chosen_pool(first_address(chosen), chosen.1);
        if super::options::has_no_gateway(network, v6) {
            pool.gateway.clear();
        }
        network.ipam.push(pool);
    }
    Ok(())
}

/// Names under which Docker keeps the default network's further gateways.
pub(super) const GATEWAY4: &str = "DefaultGatewayIPv4";
pub(super) const GATEWAY6: &str = "DefaultGatewayIPv6";

/// The default network has what the daemon was told, or what its link has.
pub(super) fn settle_default<'n>(
    network: &mut Network,
    others: impl Iterator<Item = &'n Network>,
    config: &BridgeConfig,
) -> Result<(), Failure> {
    let present = ferry_network::addresses_of(&network.bridge)?;
    network.ipam.clear();
    for v6 in [false, true] {
        if v6 && !network.enable_ipv6 {
            continue;
        }
        let (told, range) = match v6 {
            false => (config.address.map(|(ip, len)| (IpAddr::V4(ip), len)), config.fixed_cidr),
            true => (config.address6.map(|(ip, len)| (IpAddr::V6(ip), len)), config.fixed_cidr6),
        };
        let longest = if v6 { 126 } else { 30 };
        let own = present.iter().copied().find(|(ip, len)| {
            ip.is_ipv6() == v6
                && *len <= longest
                && range.is_none_or(|range| ferry_network::overlap((*ip, *len), range))
        });
        let found = told.or(own).or_else(|| range.map(|range| (first_address(range), range.1)));
        let Some(gateway) = found else { continue };
        let mut pool = chosen_pool(gateway.0, gateway.1);
        if let Some(range) = range.filter(|range| range.1 != gateway.1) {
            let base = ferry_network::network_of(range).0;
            if range.1 < gateway.1 || !ferry_network::contains(&pool.subnet, base) {
                let words = format!(
                    "{base}/{} is not part of the default bridge's {}",
                    range.1, pool.subnet
                );
                return Err(Failure::new(ErrorKind::InvalidArgument, words));
            }
            pool.ip_range = format!("{base}/{}", range.1);
        }
        network.ipam.push(pool);
    }
    fill(network, others, &config.pools)?;
    for (gateway, name) in [(config.gateway, GATEWAY4), (config.gateway6, GATEWAY6)] {
        let Some(gateway) = gateway else { continue };
        let pool = network.ipam.iter_mut().find(|it| ferry_network::contains(&it.subnet, gateway));
        let Some(pool) = pool else {
            let words =
                format!("default gateway {gateway} must be part of the default bridge's network");
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        };
        pool.aux_addresses.insert(name.to_owned(), gateway.to_string());
    }
    Ok(())
}

/// An address of the first subnet that has it, or has any.
pub(super) fn allocate<'p>(
    pools: impl Iterator<Item = &'p mut super::LivePool>,
    wanted: Option<IpAddr>,
) -> Result<(IpAddr, Net), ferry_network::IpamError> {
    let mut failure = ferry_network::IpamError::Exhausted { v6: false };
    for pool in pools {
        match pool.ipam.allocate(wanted) {
            Ok(ip) => return Ok((ip, pool.gateway)),
            // What says most: of a subnet that has the address.
            Err(error @ ferry_network::IpamError::Taken(_)) => return Err(error),
            Err(error) => failure = error,
        }
    }
    Err(failure)
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
        let several = gateways.iter().any(|(ip, _)| ip.is_ipv4() == subnet.0.is_ipv4());
        if several && network.driver == "bridge" {
            let words = "bridge driver doesn't support multiple subnets";
            return Err(Failure::new(ErrorKind::Forbidden, words));
        }
        let gateway = match pool.gateway.as_str() {
            "" => first_address(subnet),
            text => text.parse().map_err(|_| invalid(&pool.subnet))?,
        };
        gateways.push((gateway, subnet.1));
    }
    gateways.sort_by_key(|(ip, _)| ip.is_ipv6());
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

//! Which of a container's networks comes first: as `eth0`, and as the way out.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{container::NetworkMode, network::EndpointStatus};

/// A container's endpoints by their networks' names.
pub(crate) type Endpoints = BTreeMap<String, EndpointStatus>;

/// Longest name of a link.
const NAME_LIMIT: usize = 15;

/// The networks in the order in which their links are made: the main one first, then by name.
pub(super) fn of_links(endpoints: &Endpoints, mode: &NetworkMode) -> Vec<String> {
    let main = match mode {
        NetworkMode::Named(name) => name.as_str(),
        _ => "bridge",
    };
    let mut names: Vec<String> = endpoints.keys().cloned().collect();
    names.sort_by_key(|name| name != main);
    names
}

/// The endpoint that the default route leads over and that ports are published for. Docker's rule: the highest priority, then
/// one with both address families before one with a single, then the name. Internal networks have no gateway.
pub(crate) fn gateway(endpoints: &Endpoints) -> Option<(&String, &EndpointStatus)> {
    best(endpoints, |status| status.gateway.is_some() || status.ipv6_gateway.is_some())
}

/// The gateway of one family, and the network of the endpoint that the default route of that family leads over.
pub(super) fn default_route(endpoints: &Endpoints, v6: bool) -> Option<(&String, IpAddr)> {
    let of = |status: &EndpointStatus| match v6 {
        true => status.ipv6_gateway.map(IpAddr::V6),
        false => status.gateway.map(IpAddr::V4),
    };
    best(endpoints, |status| of(status).is_some())
        .and_then(|(name, status)| Some((name, of(status)?)))
}

fn best(
    endpoints: &Endpoints,
    leads_out: impl Fn(&EndpointStatus) -> bool,
) -> Option<(&String, &EndpointStatus)> {
    endpoints.iter().filter(|(_, status)| leads_out(status)).max_by_key(|(name, status)| {
        let families = (status.ipv6_gateway.is_some(), status.gateway.is_some());
        (status.request.gw_priority, families, Reverse(*name))
    })
}

/// The name of the next link inside: the one that is asked for, or the first `eth` number that is free.
pub(super) fn free_link_name(
    endpoints: &Endpoints,
    wanted: Option<&String>,
    prefix: &str,
) -> Result<String, Failure> {
    let taken: BTreeSet<&str> =
        endpoints.values().map(|endpoint| endpoint.interface.as_str()).collect();
    if let Some(wanted) = wanted {
        let strange = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '/' | ':' | '%');
        let usable = !wanted.is_empty()
            && wanted.len() <= NAME_LIMIT
            && !wanted.contains(strange)
            && !matches!(wanted.as_str(), "." | ".." | "lo");
        if !usable || taken.contains(wanted.as_str()) {
            let words = format!("invalid network interface name \"{wanted}\"");
            return Err(Failure::new(ErrorKind::InvalidArgument, words));
        }
        return Ok(wanted.clone());
    }
    (0..=taken.len())
        .map(|number| format!("{prefix}{number}"))
        .find(|name| !taken.contains(name.as_str()))
        .ok_or_else(|| Failure::new(ErrorKind::Internal, "no free name for a link"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(networks: &[(&str, i64, bool)]) -> Endpoints {
        let one = |(name, gw_priority, internal): &(&str, i64, bool)| {
            let mut status = EndpointStatus::default();
            status.request.gw_priority = *gw_priority;
            status.gateway = (!internal).then_some(std::net::Ipv4Addr::LOCALHOST);
            ((*name).to_owned(), status)
        };
        networks.iter().map(one).collect()
    }

    #[test]
    fn the_way_out_is_by_priority_then_by_name() {
        let out = |networks: &[(&str, i64, bool)]| {
            gateway(&on(networks)).map(|(name, _)| name.clone()).unwrap_or_default()
        };
        assert_eq!(out(&[("b", 0, false), ("a", 0, false)]), "a");
        assert_eq!(out(&[("b", 1, false), ("a", 0, false)]), "b");
        assert_eq!(out(&[("b", 0, false), ("a", -1, false)]), "b");
        assert_eq!(out(&[("b", 0, false), ("a", 7, true)]), "b");
        assert_eq!(out(&[("a", 0, true)]), "");
    }

    #[test]
    fn links_get_the_first_free_number() {
        let mut endpoints = on(&[("a", 0, false), ("b", 0, false)]);
        assert_eq!(free_link_name(&endpoints, None, "eth").unwrap(), "eth0");
        endpoints.get_mut("a").unwrap().interface = "eth0".to_owned();
        assert_eq!(free_link_name(&endpoints, None, "eth").unwrap(), "eth1");
        assert!(free_link_name(&endpoints, Some(&"eth0".to_owned()), "eth").is_err());
        assert!(free_link_name(&endpoints, Some(&"a/b".to_owned()), "eth").is_err());
        assert_eq!(free_link_name(&endpoints, Some(&"lan".to_owned()), "eth").unwrap(), "lan");
    }

    #[test]
    fn the_main_network_is_eth0() {
        let endpoints = on(&[("a", 0, false), ("b", 0, false), ("bridge", 0, false)]);
        let mode = NetworkMode::Named("b".to_owned());
        assert_eq!(of_links(&endpoints, &mode), ["b", "a", "bridge"]);
        assert_eq!(of_links(&endpoints, &NetworkMode::Default), ["bridge", "a", "b"]);
    }
}

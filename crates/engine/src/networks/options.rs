//! Options of the bridge driver.

use std::net::IpAddr;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::Network;
use ferry_network::GatewayMode;

/// The link's name.
pub(super) const NAME: &str = "com.docker.network.bridge.name";
pub(super) const ICC: &str = "com.docker.network.bridge.enable_icc";
pub(super) const MASQUERADE: &str = "com.docker.network.bridge.enable_ip_masquerade";
const MTU: &str = "com.docker.network.driver.mtu";
const PREFIX: &str = "com.docker.network.container_iface_prefix";
const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";

const MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];

/// The host has no IPv4 address on the bridge.
const INHIBIT: &str = "com.docker.network.bridge.inhibit_ipv4";
/// Links, with colons between them, by which published ports are reached at the containers' own addresses.
pub(super) const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
/// What containers appear with outside, in IPv4 and IPv6.
const HOSTS: [&str; 2] = ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"];

/// Refuses values that do not read, in Docker's words.
pub(super) fn check(network: &Network) -> Result<(), Failure> {
    let wrong = |key: &str, value: &str, why: &str| {
        let words = format!("failed to parse {key} value: {value} ({why})");
        Err(Failure::new(ErrorKind::InvalidArgument, words))
    };
    for (key, value) in &network.options {
        match key.as_str() {
            ICC | MASQUERADE | INHIBIT if boolean(value).is_none() => {
                let why = format!("strconv.ParseBool: parsing \"{value}\": invalid syntax");
                return wrong(key, value, &why);
            }
            MTU if !value.parse::<i64>().is_ok_and(|mtu| (0..=65535).contains(&mtu)) => {
                let why = match value.parse::<i64>() {
                    Ok(_) => "must be between 0 and 65535".to_owned(),
                    Err(_) => format!("strconv.Atoi: parsing \"{value}\": invalid syntax"),
                };
                return wrong(key, value, &why);
            }
            // With a number it must be a link's name.
            PREFIX if value.len() > 12 || value.contains(|c: char| !c.is_ascii_alphanumeric()) => {
                return wrong(key, value, "not the beginning of a link's name");
            }
            HOST_BINDING if value.parse::<IpAddr>().is_err() => {
                return wrong(key, value, "nil ip");
            }
            key if MODES.contains(&key) => match mode_named(value) {
                None => return wrong(key, value, &format!("unknown gateway mode {value}")),
                Some(GatewayMode::Isolated) if !network.internal => {
                    let words = "gateway mode 'isolated' can only be used for an internal network";
                    return Err(Failure::new(ErrorKind::Internal, words));
                }
                Some(_) => {}
            },
            key if HOSTS.contains(&key) => match value.parse::<IpAddr>() {
                Err(_) => return wrong(key, value, "nil ip"),
                Ok(ip) if ip.is_ipv6() != (key == HOSTS[1]) => {
                    return wrong(key, value, "an address of the other family");
                }
                Ok(_) => {}
            },
            TRUSTED => {
                if let Some(link) = links(value).find(|link| link.len() > 15) {
                    let why = format!("\"{link}\" is longer than a link's name can be");
                    return wrong(key, value, &why);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The next hop of the default network's containers, when it is not the bridge.
pub(super) fn default_gateway(network: &Network, v6: bool) -> Option<IpAddr> {
    let key = if v6 { super::pools::GATEWAY6 } else { super::pools::GATEWAY4 };
    let mut named = network.ipam.iter().filter_map(|pool| pool.aux_addresses.get(key));
    named.next().filter(|_| network.builtin)?.parse().ok()
}

/// How links inside containers are called, before their number.
pub(crate) fn link_prefix(network: &Network) -> &str {
    let prefix = network.options.get(PREFIX).map(String::as_str).unwrap_or_default();
    if prefix.is_empty() { "eth" } else { prefix }
}

/// Whether containers on the network reach each other.
pub(crate) fn icc(network: &Network) -> bool {
    flag(network, ICC)
}

/// What the bridge is to containers in one family.
pub(crate) fn mode(network: &Network, v6: bool) -> GatewayMode {
    let value = network.options.get(MODES[usize::from(v6)]);
    value.and_then(|value| mode_named(value)).unwrap_or_default()
}

/// Whether the bridge has no IPv4 address, though its containers are told of one.
pub(super) fn inhibits_ipv4(network: &Network) -> bool {
    network.options.get(INHIBIT).and_then(|value| boolean(value)).unwrap_or(false)
}

/// Whether nobody is a gateway in a family: the first address may be a container's.
pub(super) fn has_no_gateway(network: &Network, v6: bool) -> bool {
    let inhibited = !v6 && network.internal && inhibits_ipv4(network);
    inhibited || mode(network, v6) == GatewayMode::Isolated
}

/// Addresses that containers appear with outside, IPv4 and IPv6.
pub(super) fn hosts(network: &Network) -> [Option<IpAddr>; 2] {
    HOSTS.map(|key| network.options.get(key).and_then(|ip| ip.parse().ok()))
}

/// Links by which published ports are reached at the containers' own addresses.
pub(crate) fn trusted(network: &Network) -> Vec<String> {
    let value = network.options.get(TRUSTED).map(String::as_str).unwrap_or_default();
    links(value).map(str::to_owned).collect()
}

/// Whether there are such links for IPv4, and for IPv6: where containers' ports are open to others anyway, there are none.
pub(crate) fn trusting(network: &Network) -> [bool; 2] {
    let some = !trusted(network).is_empty();
    [false, true].map(|v6| some && mode(network, v6) == GatewayMode::Nat)
}

fn links(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').filter(|link| !link.is_empty())
}

fn mode_named(name: &str) -> Option<GatewayMode> {
    match name {
        "nat" => Some(GatewayMode::Nat),
        "nat-unprotected" => Some(GatewayMode::Unprotected),
        "routed" => Some(GatewayMode::Routed),
        "isolated" => Some(GatewayMode::Isolated),
        _ => None,
    }
}

/// A switch that is on unless it is turned off.
pub(super) fn flag(network: &Network, key: &str) -> bool {
    network.options.get(key).and_then(|value| boolean(value)).unwrap_or(true)
}

/// The network's own largest packet; 0 is none.
pub(super) fn mtu(network: &Network) -> Option<u32> {
    let text = network.options.get(MTU).filter(|_| !network.builtin)?;
    text.parse().ok().filter(|mtu| *mtu != 0)
}

/// Where ports of containers on the network are published unless they say.
pub(crate) fn host_binding(network: &Network) -> Option<IpAddr> {
    let ip: IpAddr = network.options.get(HOST_BINDING)?.parse().ok()?;
    (!ip.is_unspecified()).then_some(ip)
}

/// Go's `strconv.ParseBool`.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

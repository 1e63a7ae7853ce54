//! Endpoints, both ways.

use ferry_docker_api::{EndpointIpamConfig, EndpointSettings};
use ferry_errkind::Failure;
use ferry_model::network::{EndpointRequest, EndpointStatus};

use super::{nil_if_empty, nil_map};
use crate::refuse::invalid;

/// Networks that are always there.
fn is_user_defined(network: &str) -> bool {
    !matches!(network, "bridge" | "host" | "none" | "default")
}

/// Reads what is asked of an attachment.
pub(crate) fn request(settings: EndpointSettings) -> Result<EndpointRequest, Failure> {
    let EndpointSettings {
        ipam_config,
        links,
        aliases,
        mac_address,
        driver_opts,
        gw_priority,
        // What follows is the daemon's to fill in; clients send back what they got.
        network_id: _,
        endpoint_id: _,
        gateway: _,
        ip_address: _,
        ip_prefix_len: _,
        ipv6_gateway: _,
        global_ipv6_address: _,
        global_ipv6_prefix_len: _,
        dns_names: _,
    } = settings;
    let EndpointIpamConfig { ipv4_address, ipv6_address, link_local_ips } =
        ipam_config.unwrap_or_default();
    let aliases = aliases.unwrap_or_default();
    let wrong = |words: String| invalid(format!("invalid endpoint settings:\n{words}"));
    check_mac(&mac_address)?;
    Ok(EndpointRequest {
        ipv4: optional(&ipv4_address)
            .map_err(|()| wrong(format!("invalid IPv4 address: {ipv4_address}")))?,
        ipv6: optional(&ipv6_address)
            .map_err(|()| wrong(format!("invalid IPv6 address: {ipv6_address}")))?,
        link_local_ips: link_local_ips
            .iter()
            .map(|text| {
                text.parse().map_err(|_| wrong(format!("invalid link-local IP address: {text}")))
            })
            .collect::<Result<_, _>>()?,
        mac: (!mac_address.is_empty()).then_some(mac_address),
        aliases,
        links: links.unwrap_or_default(),
        driver_opts: driver_opts.unwrap_or_default(),
        gw_priority,
    })
}

/// Checks a MAC address; empty is none.
pub(super) fn check_mac(mac: &str) -> Result<(), Failure> {
    let is_octet = |part: &str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    let parts: Vec<&str> = mac.split([':', '-']).collect();
    if mac.is_empty() || (parts.len() == 6 && parts.into_iter().all(is_octet)) {
        return Ok(());
    }
    Err(invalid(format!("invalid MAC address {mac}")))
}

fn optional<T: std::str::FromStr>(text: &str) -> Result<Option<T>, ()> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| ()) }
}

/// Writes an attachment in full.
pub(super) fn settings(network: &str, status: &EndpointStatus) -> EndpointSettings {
    let EndpointStatus {
        request,
        network_id,
        endpoint_id,
        ipv4,
        prefix_len,
        gateway,
        ipv6,
        ipv6_prefix_len,
        ipv6_gateway,
        mac,
        dns_names,
        // The engine's own.
        host_link: _,
        interface: _,
        direct: _,
        direct6: _,
    } = status.clone();
    let EndpointRequest {
        ipv4: asked_ipv4,
        ipv6: asked_ipv6,
        link_local_ips,
        mac: _,
        aliases,
        links,
        driver_opts,
        gw_priority,
    } = request;
    let ipam = EndpointIpamConfig {
        ipv4_address: text(asked_ipv4),
        ipv6_address: text(asked_ipv6),
        link_local_ips: link_local_ips.iter().map(ToString::to_string).collect(),
    };
    EndpointSettings {
        ipam_config: (ipam != EndpointIpamConfig::default()).then_some(ipam),
        links: nil_if_empty(links),
        aliases: nil_if_empty(aliases),
        mac_address: mac,
        driver_opts: nil_map(driver_opts),
        gw_priority,
        network_id,
        endpoint_id,
        gateway: text(gateway),
        ip_address: text(ipv4),
        ip_prefix_len: u32::from(prefix_len),
        ipv6_gateway: text(ipv6_gateway),
        global_ipv6_address: text(ipv6),
        global_ipv6_prefix_len: u32::from(ipv6_prefix_len),
        // Nothing resolves on the default networks.
        dns_names: nil_if_empty(dns_names).filter(|_| is_user_defined(network)),
    }
}

/// Writes an attachment as the list shows it.
pub(super) fn listed(network: &str, status: &EndpointStatus) -> EndpointSettings {
    EndpointSettings { aliases: None, dns_names: None, ..settings(network, status) }
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

//! A service's networks and ports.

use std::collections::BTreeMap;

use ferry_cli::face::CliError;
use ferry_docker_api::{EndpointIpamConfig, EndpointSettings, Nothing, PortBinding, PortMap};

use super::{Want, shared};
use crate::model::{self, Service};

pub(super) fn ports(service: &Service) -> (BTreeMap<String, Nothing>, PortMap) {
    let mut exposed = BTreeMap::new();
    let mut bindings = PortMap::new();
    for port in &service.expose {
        let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
        exposed.insert(port, Nothing);
    }
    for port in &service.ports {
        let protocol = if port.protocol.is_empty() { "tcp" } else { &port.protocol };
        let name = format!("{}/{protocol}", port.target);
        exposed.insert(name.clone(), Nothing);
        bindings.entry(name).or_default().get_or_insert_default().push(PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.published.clone().unwrap_or_default(),
        });
    }
    (exposed, bindings)
}

pub(super) fn network_mode(want: &Want<'_>) -> Result<String, CliError> {
    if !want.service.network_mode.is_empty() {
        return shared(want, &want.service.network_mode);
    }
    let first = by_priority(want.service).into_iter().next();
    let name = first.and_then(|key| want.project.networks.get(key)).map(|net| net.name.clone());
    Ok(name.unwrap_or_else(|| "none".to_owned()))
}

fn by_priority(service: &Service) -> Vec<&str> {
    let mut keys: Vec<(i64, &str)> = service
        .networks
        .iter()
        .map(|(key, on)| (on.as_ref().map_or(0, |on| -on.priority), key.as_str()))
        .collect();
    keys.sort_unstable();
    keys.into_iter().map(|(_, key)| key).collect()
}

pub(super) fn endpoints(want: &Want<'_>) -> BTreeMap<String, Option<EndpointSettings>> {
    let service = want.service;
    let first = by_priority(service).first().copied().unwrap_or_default();
    let one = |(key, on): (&String, &Option<model::ServiceNetwork>)| {
        let network = want.project.networks.get(key)?;
        let on = on.clone().unwrap_or_default();
        let mut aliases = vec![want.name.to_owned()];
        if want.number.is_some() || service.use_aliases {
            aliases.push(service.name.clone());
            aliases.extend(on.aliases.iter().cloned());
        }
        let mac = match on.mac_address.as_str() {
            "" if key == first => service.mac_address.clone(),
            mac => mac.to_owned(),
        };
        let asked = !on.ipv4_address.is_empty()
            || !on.ipv6_address.is_empty()
            || !on.link_local_ips.is_empty();
        let mut driver_opts = on.driver_opts.clone();
        if !on.interface_name.is_empty() {
            driver_opts.insert("com.docker.network.endpoint.ifname".to_owned(), on.interface_name);
        }
        let settings = EndpointSettings {
            ipam_config: asked.then(|| EndpointIpamConfig {
                ipv4_address: on.ipv4_address.clone(),
                ipv6_address: on.ipv6_address.clone(),
                link_local_ips: on.link_local_ips.clone(),
            }),
            links: links(want),
            aliases: Some(aliases),
            mac_address: mac,
            driver_opts: (!driver_opts.is_empty()).then_some(driver_opts),
            gw_priority: on.gw_priority,
            ..EndpointSettings::default()
        };
        Some((network.name.clone(), Some(settings)))
    };
    service.networks.iter().filter_map(one).collect()
}

fn links(want: &Want<'_>) -> Option<Vec<String>> {
    let mut all = Vec::new();
    // Each container of the service has the link's name, its own, and that without the project's.
    for link in &want.service.links {
        let (name, alias) = link.split_once(':').unwrap_or((link, link));
        for one in want.present.iter().filter(|one| one.service == name) {
            let short = one.short_name(&want.project.name);
            for alias in [alias, short.as_str(), one.name.as_str()] {
                all.push(format!("{}:{alias}", one.name));
            }
        }
    }
    for link in &want.service.external_links {
        let (container, alias) = link.split_once(':').unwrap_or((link, link));
        all.push(format!("{container}:{alias}"));
    }
    (!all.is_empty()).then_some(all)
}

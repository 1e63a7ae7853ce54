//! Networks.

use std::collections::BTreeMap;

use ferry_docker_api::{
    ConfigReference, EndpointResource, Ipam, IpamConfig, Network as WireNetwork,
    NetworkCreateRequest,
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::network::{CreateNetwork, EndpointStatus, IpamPool, Network, NetworkView};

use super::ipam;
use crate::refuse::invalid;

/// Reads network create.
pub(crate) fn create(request: NetworkCreateRequest) -> Result<CreateNetwork, Failure> {
    let NetworkCreateRequest {
        driver,
        scope,
        enable_ipv4,
        enable_ipv6,
        ipam,
        internal,
        attachable,
        ingress,
        config_only,
        config_from,
        options,
        labels,
        name,
        // Names are always unique.
        check_duplicate: _,
    } = request;
    if name.is_empty() {
        return Err(invalid("invalid name: name is empty"));
    }
    // There is no Swarm. In Docker's words.
    let refuse = |words: &str| Err(Failure::new(ErrorKind::Forbidden, words));
    if ingress {
        return refuse("Ingress network can only be global scope network");
    }
    if !matches!(scope.as_str(), "" | "local") {
        return refuse(&format!("cannot create a {scope} scoped network when swarm is not active"));
    }
    let Ipam { driver: ipam_driver, options: ipam_options, config } = ipam.unwrap_or_default();
    if !matches!(ipam_driver.as_str(), "" | "default") {
        let words = format!("plugin \"{ipam_driver}\" not found");
        return Err(Failure::new(ErrorKind::NotFound, words));
    }
    let dual = (enable_ipv4.unwrap_or(true), enable_ipv6.unwrap_or(false));
    if dual == (false, false) && config_from.as_ref().is_none_or(|from| from.network.is_empty()) {
        return Err(invalid("IPv4 or IPv6 must be enabled"));
    }
    let config = config.unwrap_or_default();
    ipam::check(&config, enable_ipv6.unwrap_or(false))?;
    let network = Network {
        name,
        driver: if driver.is_empty() { "bridge".to_owned() } else { driver },
        internal,
        attachable,
        enable_ipv4: enable_ipv4.unwrap_or(true),
        enable_ipv6: enable_ipv6.unwrap_or(false),
        ipam: config.into_iter().map(pool).collect(),
        ipam_options,
        options: options.unwrap_or_default(),
        labels: labels.unwrap_or_default(),
        config_only,
        config_from: config_from.map(|from| from.network).unwrap_or_default(),
        ..Network::default()
    };
    Ok(CreateNetwork { network })
}

fn pool(IpamConfig { subnet, ip_range, gateway, aux_address }: IpamConfig) -> IpamPool {
    IpamPool { subnet, ip_range, gateway, aux_addresses: aux_address, chosen: false }
}

/// Writes a network, with its containers if `detailed`.
pub(crate) fn to_wire(view: NetworkView, detailed: bool) -> WireNetwork {
    let NetworkView { network, containers } = view;
    let Network {
        id,
        name,
        created,
        driver,
        internal,
        attachable,
        enable_ipv4,
        enable_ipv6,
        ipam,
        ipam_options,
        options,
        labels,
        builtin,
        bridge: _,
        made_parent: _,
        found_bridge: _,
        config_only,
        config_from,
    } = network;
    let config: Vec<IpamConfig> = ipam.into_iter().map(pool_to_wire).collect();
    let containers = containers.into_iter().filter(|_| detailed);
    WireNetwork {
        name,
        id,
        created: created.format_rfc3339_nano(),
        scope: "local".to_owned(),
        driver,
        enable_ipv4,
        enable_ipv6,
        ipam: Ipam {
            driver: "default".to_owned(),
            // Records of earlier versions have empty ones.
            options: ipam_options.filter(|options| !builtin || !options.is_empty()),
            config: if builtin && config.is_empty() { None } else { Some(config) },
        },
        internal,
        attachable,
        ingress: false,
        config_from: ConfigReference { network: config_from },
        config_only,
        containers: Some(
            containers.map(|(id, (name, status))| (id, resource(name, &status))).collect(),
        ),
        options: Some(options),
        labels: Some(labels),
        peers: Vec::new(),
        services: BTreeMap::new(),
    }
}

fn pool_to_wire(pool: IpamPool) -> IpamConfig {
    let IpamPool { subnet, ip_range, gateway, aux_addresses, chosen: _ } = pool;
    IpamConfig { subnet, ip_range, gateway, aux_address: aux_addresses }
}

fn resource(name: String, status: &EndpointStatus) -> EndpointResource {
    let with_prefix = |address: Option<String>, len: u8| {
        address.map(|address| format!("{address}/{len}")).unwrap_or_default()
    };
    EndpointResource {
        name,
        endpoint_id: status.endpoint_id.clone(),
        mac_address: status.mac.clone(),
        ipv4_address: with_prefix(status.ipv4.map(|ip| ip.to_string()), status.prefix_len),
        ipv6_address: with_prefix(status.ipv6.map(|ip| ip.to_string()), status.ipv6_prefix_len),
    }
}

//! Networks, endpoints and ports.

use std::collections::BTreeMap;

use crate::Nothing;

/// Container port (`80/tcp`) to where it is on the host. A `null` list is a port that is exposed, not published.
pub type PortMap = BTreeMap<String, Option<Vec<PortBinding>>>;

/// Container ports (`80/tcp`).
pub type PortSet = BTreeMap<String, Nothing>;

wire! {
    /// Where a port is on the host.
    pub struct PortBinding {
        /// Address; empty is every address.
        host_ip: String = "HostIp",
        /// Port or range; empty lets the engine choose.
        host_port: String = "HostPort",
    }

    /// The networking part of container create.
    pub struct NetworkingConfig {
        /// By network name or id.
        endpoints_config: Option<BTreeMap<String, Option<EndpointSettings>>> = "EndpointsConfig",
    }

    /// A container's attachment to a network: the first six fields are asked for, the others are what came of it.
    pub struct EndpointSettings {
        /// Addresses asked for.
        ipam_config: Option<EndpointIpamConfig> = "IPAMConfig",
        /// `container:alias`.
        links: Option<Vec<String>> = "Links",
        /// Further names.
        aliases: Option<Vec<String>> = "Aliases",
        /// MAC address.
        mac_address: String = "MacAddress",
        /// Driver options.
        driver_opts: Option<BTreeMap<String, String>> = "DriverOpts",
        /// The highest one provides the default gateway.
        gw_priority: i64 = "GwPriority",
        /// The network's id.
        network_id: String = "NetworkID",
        /// The endpoint's id.
        endpoint_id: String = "EndpointID",
        /// Gateway.
        gateway: String = "Gateway",
        /// Address.
        ip_address: String = "IPAddress",
        /// Prefix length.
        ip_prefix_len: u32 = "IPPrefixLen",
        /// IPv6 gateway.
        ipv6_gateway: String = "IPv6Gateway",
        /// IPv6 address.
        global_ipv6_address: String = "GlobalIPv6Address",
        /// IPv6 prefix length.
        global_ipv6_prefix_len: u32 = "GlobalIPv6PrefixLen",
        /// Names that resolve to it.
        dns_names: Option<Vec<String>> = "DNSNames",
    }

    /// Addresses asked for.
    pub struct EndpointIpamConfig {
        /// IPv4 address.
        ipv4_address: String = "IPv4Address" omitempty,
        /// IPv6 address.
        ipv6_address: String = "IPv6Address" omitempty,
        /// Link-local addresses.
        link_local_ips: Vec<String> = "LinkLocalIPs" omitempty,
    }

    /// A network, in list and inspect.
    pub struct Network {
        /// Name.
        name: String = "Name",
        /// Id.
        id: String = "Id",
        /// RFC 3339.
        created: String = "Created",
        /// `local` or `swarm`.
        scope: String = "Scope",
        /// Driver.
        driver: String = "Driver",
        /// IPv4 on.
        enable_ipv4: bool = "EnableIPv4",
        /// IPv6 on.
        enable_ipv6: bool = "EnableIPv6",
        /// Address pools.
        ipam: Ipam = "IPAM",
        /// No way out.
        internal: bool = "Internal",
        /// Swarm only.
        attachable: bool = "Attachable",
        /// Swarm only.
        ingress: bool = "Ingress",
        /// Where its configuration is from.
        config_from: ConfigReference = "ConfigFrom",
        /// It is only a configuration.
        config_only: bool = "ConfigOnly",
        /// Endpoints by container id.
        containers: Option<BTreeMap<String, EndpointResource>> = "Containers",
        /// Driver options.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Swarm only.
        peers: Vec<serde_json::Value> = "Peers" omitempty,
        /// Swarm only.
        services: BTreeMap<String, serde_json::Value> = "Services" omitempty,
    }

    /// Address management.
    pub struct Ipam {
        /// `default`.
        driver: String = "Driver",
        /// Driver options.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Pools.
        config: Option<Vec<IpamConfig>> = "Config",
    }

    /// An address pool.
    pub struct IpamConfig {
        /// CIDR.
        subnet: String = "Subnet" omitempty,
        /// CIDR inside the subnet.
        ip_range: String = "IPRange" omitempty,
        /// Address.
        gateway: String = "Gateway" omitempty,
        /// Taken addresses by name.
        aux_address: BTreeMap<String, String> = "AuxiliaryAddresses" omitempty,
    }

    /// A network's name where another one takes its configuration from.
    pub struct ConfigReference {
        /// Its name.
        network: String = "Network",
    }

    /// A container on a network.
    pub struct EndpointResource {
        /// The container's name.
        name: String = "Name",
        /// The endpoint's id.
        endpoint_id: String = "EndpointID",
        /// MAC address.
        mac_address: String = "MacAddress",
        /// Address with prefix length.
        ipv4_address: String = "IPv4Address",
        /// Address with prefix length.
        ipv6_address: String = "IPv6Address",
    }

    /// Body of network create.
    pub struct NetworkCreateRequest {
        /// Driver; empty is `bridge`.
        driver: String = "Driver",
        /// `local`, `swarm` or empty.
        scope: String = "Scope",
        /// `null` is on.
        enable_ipv4: Option<bool> = "EnableIPv4" omitempty,
        /// `null` is off.
        enable_ipv6: Option<bool> = "EnableIPv6" omitempty,
        /// Address pools.
        ipam: Option<Ipam> = "IPAM",
        /// No way out.
        internal: bool = "Internal",
        /// Swarm only.
        attachable: bool = "Attachable",
        /// Swarm only.
        ingress: bool = "Ingress",
        /// Only a configuration.
        config_only: bool = "ConfigOnly",
        /// Take the configuration from there.
        config_from: Option<ConfigReference> = "ConfigFrom",
        /// Driver options.
        options: Option<BTreeMap<String, String>> = "Options",
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels",
        /// Name.
        name: String = "Name",
        /// Old clients send it; names are always unique.
        check_duplicate: Option<bool> = "CheckDuplicate" omitempty,
    }

    /// Answer to network create.
    pub struct NetworkCreated {
        /// The new network's id.
        id: String = "Id",
        /// What was not done as asked.
        warning: String = "Warning",
    }

    /// Body of network connect.
    pub struct NetworkConnectRequest {
        /// Container id or name.
        container: String = "Container",
        /// What to ask for.
        endpoint_config: Option<EndpointSettings> = "EndpointConfig" omitempty,
    }

    /// Body of network disconnect.
    pub struct NetworkDisconnectRequest {
        /// Container id or name.
        container: String = "Container",
        /// Even if the container is gone.
        force: bool = "Force",
    }

    /// Answer to network prune.
    pub struct NetworkPruneReport {
        /// Names.
        networks_deleted: Option<Vec<String>> = "NetworksDeleted",
    }
}

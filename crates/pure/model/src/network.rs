//! Networks, endpoints and ports.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Transport protocol of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp`, `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A container's port: `80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortKey {
    /// The number, never 0.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A text is not `port[/protocol]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPort(pub String);

impl fmt::Display for InvalidPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid port specification: \"{}\"", self.0)
    }
}

impl std::error::Error for InvalidPort {}

impl FromStr for PortKey {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let invalid = || InvalidPort(text.to_owned());
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(invalid)?;
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "tcp" | "" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(invalid()),
        };
        Ok(PortKey { port, protocol })
    }
}

impl fmt::Display for PortKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol.as_str())
    }
}

impl Serialize for PortKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where a container's port is to be, or is, reachable on the host.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct PortBinding {
    /// The host's address; `None` is every address.
    pub host_ip: Option<IpAddr>,
    /// First host port; 0 lets the engine choose.
    pub host_port: u16,
    /// Last host port of a range to choose from; equal to `host_port` (or 0) when there is no choice.
    pub host_port_end: u16,
}

/// Ports that a container gets and loses while it lives: beyond Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortsChange {
    /// Bindings to add.
    pub add: BTreeMap<PortKey, Vec<PortBinding>>,
    /// Host ports to take away.
    pub remove: Vec<HostPort>,
}

/// A port of the host: `8080`, `127.0.0.1:8080/udp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// `None` is whatever addresses it is published on.
    pub ip: Option<IpAddr>,
    /// The number, never 0.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

impl FromStr for HostPort {
    type Err = InvalidPort;

    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        let invalid = || InvalidPort(text.to_owned());
        let (ip, port) = match text.rsplit_once(':') {
            Some((ip, port)) => {
                let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
                (Some(bare.parse().map_err(|_| invalid())?), port)
            }
            None => (None, text),
        };
        let key: PortKey = port.parse().map_err(|_| invalid())?;
        Ok(HostPort { ip, port: key.port, protocol: key.protocol })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            Some(ip @ IpAddr::V6(_)) => write!(f, "[{ip}]:")?,
            Some(ip) => write!(f, "{ip}:")?,
            None => {}
        }
        write!(f, "{}/{}", self.port, self.protocol.as_str())
    }
}

/// What the user asked of one network attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointRequest {
    /// `--ip`.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// `--ip6`.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// `--link-local-ip`.
    pub link_local_ips: Vec<IpAddr>,
    /// `--mac-address`.
    pub mac: Option<String>,
    /// `--network-alias`.
    pub aliases: Vec<String>,
    /// `--link`.
    pub links: Vec<String>,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
    /// Priority for the default gateway.
    pub gw_priority: i64,
}

/// A container's attachment to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointStatus {
    /// What was asked.
    pub request: EndpointRequest,
    /// The network's id.
    pub network_id: String,
    /// The endpoint's id; empty while not attached.
    pub endpoint_id: String,
    /// Address; `None` while not attached.
    pub ipv4: Option<std::net::Ipv4Addr>,
    /// Prefix length of `ipv4`.
    pub prefix_len: u8,
    /// Gateway.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// IPv6 address.
    pub ipv6: Option<std::net::Ipv6Addr>,
    /// Prefix length of `ipv6`.
    pub ipv6_prefix_len: u8,
    /// IPv6 gateway.
    pub ipv6_gateway: Option<std::net::Ipv6Addr>,
    /// `02:42:…`; empty while not attached.
    pub mac: String,
    /// Names that resolve to this endpoint.
    pub dns_names: Vec<String>,
    /// The host's end of the veth pair; empty while not attached.
    pub host_link: String,
    /// The link's name in the container; empty while not attached.
    pub interface: String,
    /// Its published ports are open at its own addresses, too: to links that the network trusts.
    pub direct: bool,
    /// The same for IPv6.
    #[serde(default)]
    pub direct6: bool,
}

/// A subnet with its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamPool {
    /// `172.29.0.0/16`.
    pub subnet: String,
    /// Part of the subnet that addresses come from.
    pub ip_range: String,
    /// The bridge's address.
    pub gateway: String,
    /// Names and addresses that are taken.
    pub aux_addresses: BTreeMap<String, String>,
    /// The engine chose it, nobody asked for it.
    pub chosen: bool,
}

/// A network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// `bridge`, `host`, `null` (also of a configuration), `macvlan`, `ipvlan`.
    pub driver: String,
    /// No way out.
    pub internal: bool,
    /// Containers may join by hand; shown only.
    pub attachable: bool,
    /// IPv4 on.
    pub enable_ipv4: bool,
    /// IPv6 on.
    pub enable_ipv6: bool,
    /// Pools.
    pub ipam: Vec<IpamPool>,
    /// IPAM driver options.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Driver options.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// One of `bridge`, `host`, `none`, which are always there.
    pub builtin: bool,
    /// Name of the bridge link, for driver `bridge`; of the link below, for `macvlan` and `ipvlan`.
    pub bridge: String,
    /// We made the link below, and it goes with the network.
    pub made_parent: bool,
    /// The bridge is somebody else's, and stays when the network goes.
    pub found_bridge: bool,
    /// Nobody can be on it: it is a configuration that other networks are made with.
    pub config_only: bool,
    /// The network whose configuration it was made with; empty for its own.
    pub config_from: String,
}

/// A network with the containers on it: name, endpoint by container id.
#[derive(Debug, Clone, Default)]
pub struct NetworkView {
    /// The network.
    pub network: Network,
    /// Container id to container name and endpoint.
    pub containers: BTreeMap<String, (String, EndpointStatus)>,
}

/// What `network create` was called with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateNetwork {
    /// The new network; `id`, `created`, `builtin` and `bridge` are the engine's.
    pub network: Network,
}

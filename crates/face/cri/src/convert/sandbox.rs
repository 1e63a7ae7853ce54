//! A sandbox as it is asked for.

use std::{collections::BTreeMap, net::IpAddr};

use ferry_model::{
    container::{
        CniBandwidth, CniPort, CniRequest, ContainerSpec, HostSettings, IpcMode, NetworkMode,
        PodNetwork, PodPart, UsernsMode,
    },
    network::{PortBinding, PortKey, Protocol},
};
use tonic::Status;

use super::{ids, required, security};
use crate::{answer::invalid, api, record};

/// The name of a sandbox among sandboxes.
pub(crate) fn name(metadata: &api::PodSandboxMetadata) -> Result<String, Status> {
    let api::PodSandboxMetadata { name, uid, namespace, attempt } = metadata;
    for (part, what) in [(name, "name"), (namespace, "namespace"), (uid, "uid")] {
        if part.is_empty() {
            return Err(invalid(format!("metadata.{what} is required")));
        }
    }
    Ok(format!("{name}_{namespace}_{uid}_{attempt}"))
}

/// The engine's request for a sandbox. `cni` says that plugins make networks.
pub(crate) fn spec(
    request: &api::RunPodSandboxRequest,
    cni: bool,
) -> Result<(String, ContainerSpec), Status> {
    let config = required(request.config.as_ref(), "config")?;
    let metadata = required(config.metadata.as_ref(), "config.metadata")?;
    let linux = config.linux.clone().unwrap_or_default();
    let security = linux.security_context.unwrap_or_default();
    let namespaces = security.namespace_options.clone().unwrap_or_default();
    let ids = ids::of_pod(&namespaces)?;
    let on_host = namespaces.network() == api::NamespaceMode::Node;
    let ports = ports(&config.port_mappings)?;
    let by_cni = cni && !on_host;
    let network = if by_cni {
        PodNetwork::Cni(Box::new(cni_request(config, metadata, &ports)?))
    } else {
        PodNetwork::Engine
    };
    let dns = config.dns_config.clone().unwrap_or_default();
    let host = HostSettings {
        network_mode: match (on_host, by_cni) {
            (true, _) => NetworkMode::Host,
            (false, true) => NetworkMode::None,
            (false, false) => NetworkMode::Default,
        },
        port_bindings: if on_host || by_cni { BTreeMap::new() } else { bindings(&ports) },
        ipc_mode: Some(match namespaces.ipc() {
            api::NamespaceMode::Node => IpcMode::Host,
            _ => IpcMode::Shareable,
        }),
        uts_host: on_host,
        // A pod says itself which ids it has (`ids`): the daemon's default is for Docker's clients.
        userns_mode: UsernsMode::Host,
        sysctls: linux.sysctls,
        cgroup_parent: linux.cgroup_parent,
        dns: dns.servers,
        dns_search: dns.searches,
        dns_options: dns.options,
        security_opt: security::seccomp(security.seccomp.as_ref())?
            .into_iter()
            .chain(security::selinux(security.selinux_options.as_ref()))
            .collect(),
        // What holds a pod together should be the last to be killed; as containerd.
        oom_score_adj: -998,
        ..HostSettings::default()
    };
    let spec = ContainerSpec {
        hostname: if on_host { String::new() } else { config.hostname.clone() },
        host,
        pod: Some(PodPart { request: record::encode(request), ids, network, ..PodPart::default() }),
        ..ContainerSpec::default()
    };
    Ok((name(metadata)?, spec))
}

/// Port mappings; those without a port of the host mean nothing.
fn ports(mappings: &[api::PortMapping]) -> Result<Vec<CniPort>, Status> {
    let number = |port: i32| {
        u16::try_from(port).map_err(|_| invalid(format!("port_mappings: {port} is no port")))
    };
    let mapped = mappings.iter().filter(|mapping| mapping.host_port > 0);
    mapped
        .map(|mapping| {
            let host_port = number(mapping.host_port)?;
            let host_ip = match mapping.host_ip.as_str() {
                "" => None,
                text => Some(
                    text.parse::<IpAddr>()
                        .map_err(|_| invalid(format!("port_mappings: \"{text}\" is no address")))?,
                ),
            };
            Ok(CniPort {
                container_port: number(mapping.container_port)?,
                host: PortBinding { host_ip, host_port, host_port_end: host_port },
                protocol: match mapping.protocol() {
                    api::Protocol::Tcp => "tcp",
                    api::Protocol::Udp => "udp",
                    api::Protocol::Sctp => "sctp",
                }
                .to_owned(),
            })
        })
        .collect()
}

/// The same for our own bridge.
fn bindings(ports: &[CniPort]) -> BTreeMap<PortKey, Vec<PortBinding>> {
    let mut all: BTreeMap<PortKey, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        let protocol = match port.protocol.as_str() {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => Protocol::Sctp,
        };
        let key = PortKey { port: port.container_port, protocol };
        all.entry(key).or_default().push(port.host);
    }
    all
}

fn cni_request(
    config: &api::PodSandboxConfig,
    metadata: &api::PodSandboxMetadata,
    ports: &[CniPort],
) -> Result<CniRequest, Status> {
    let args = [
        ("IgnoreUnknown", "1"),
        ("K8S_POD_NAMESPACE", &metadata.namespace),
        ("K8S_POD_NAME", &metadata.name),
        ("K8S_POD_UID", &metadata.uid),
    ];
    if args.iter().any(|(_, value)| value.contains([';', '='])) {
        return Err(invalid("metadata: a semicolon or equals sign cannot be told to CNI plugins"));
    }
    let dns = config.dns_config.clone();
    Ok(CniRequest {
        args: args.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ports: ports.to_vec(),
        bandwidth: bandwidth(&config.annotations)?,
        dns: dns.map(|dns| [dns.servers, dns.searches, dns.options]),
        cgroup_path: config.linux.as_ref().map(|it| it.cgroup_parent.clone()).unwrap_or_default(),
        annotations: config.annotations.clone(),
    })
}

/// Kubernetes' annotations for limits, which are quantities of bits a second.
fn bandwidth(annotations: &BTreeMap<String, String>) -> Result<Option<CniBandwidth>, Status> {
    let rate = |key: &str| match annotations.get(key) {
        None => Ok(0),
        Some(text) => {
            quantity(text).ok_or_else(|| invalid(format!("annotation {key}: \"{text}\"")))
        }
    };
    let ingress_rate = rate("kubernetes.io/ingress-bandwidth")?;
    let egress_rate = rate("kubernetes.io/egress-bandwidth")?;
    if ingress_rate == 0 && egress_rate == 0 {
        return Ok(None);
    }
    // As containerd: a burst is as good as without limit, where there is a rate.
    let burst = |rate: u64| if rate == 0 { 0 } else { u64::from(u32::MAX) };
    let (ingress_burst, egress_burst) = (burst(ingress_rate), burst(egress_rate));
    Ok(Some(CniBandwidth { ingress_rate, ingress_burst, egress_rate, egress_burst }))
}

/// `10M`, `1Gi`, `5000`.
fn quantity(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &text[digits.len()..] {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_published_as_such() {
        let port = |protocol: &str| CniPort {
            container_port: 80,
            host: PortBinding { host_ip: None, host_port: 8080, host_port_end: 8080 },
            protocol: protocol.to_owned(),
        };
        let all = bindings(&["tcp", "udp", "sctp"].map(port));
        let protocols: Vec<Protocol> = all.keys().map(|key| key.protocol).collect();
        assert_eq!(protocols, [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    }

    #[test]
    fn quantities_of_bits() {
        assert_eq!(quantity("10M"), Some(10_000_000));
        assert_eq!(quantity("1Gi"), Some(1 << 30));
        assert_eq!(quantity("7"), Some(7));
        for wrong in ["", "M", "1X", "-1", "1.5M", "99999999999G"] {
            assert_eq!(quantity(wrong), None, "{wrong}");
        }
    }
}

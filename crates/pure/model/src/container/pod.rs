//! A container's part in a Kubernetes pod.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::IdMaps;
use crate::network::PortBinding;

/// What makes a container a pod's sandbox or one of its containers. Such containers are not shown to Docker's clients.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodPart {
    /// The id of the sandbox that it lives in; `None`: it is a sandbox, a process that only holds namespaces.
    pub sandbox: Option<String>,
    /// What the face was asked, in its own form; the engine does not read it.
    pub request: String,
    /// Its log, in CRI's format; empty is none.
    pub log_path: String,
    /// Capabilities that the program has without being root.
    pub ambient: Vec<String>,
    /// Most bytes in huge pages, by their size (`2MB`).
    pub hugepages: BTreeMap<String, u64>,
    /// Files of cgroup v2 and what is written to them.
    pub unified: BTreeMap<String, String>,
    /// Its user has the groups that were asked for, and none that the image's `/etc/group` names.
    pub strict_groups: bool,
    /// The ids of the pod's user namespace; `None`: it is in the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdMaps>,
    /// For a sandbox: how its network comes about.
    pub network: PodNetwork,
}

/// How a sandbox's network comes about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PodNetwork {
    /// By the engine itself: its own bridge, or the host's network, as the container's settings say.
    #[default]
    Engine,
    /// By CNI plugins.
    Cni(Box<CniRequest>),
}

/// What CNI plugins are told about a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniRequest {
    /// `CNI_ARGS`, in this order.
    pub args: Vec<(String, String)>,
    /// For plugins with the capability `portMappings`.
    pub ports: Vec<CniPort>,
    /// For plugins with the capability `bandwidth`.
    pub bandwidth: Option<CniBandwidth>,
    /// For plugins with the capability `dns`: servers, search domains, options.
    pub dns: Option<[Vec<String>; 3]>,
    /// For plugins with the capability `cgroupPath`: the pod's group of processes; empty is none.
    pub cgroup_path: String,
    /// For plugins with the capability `io.kubernetes.cri.pod-annotations`.
    pub annotations: BTreeMap<String, String>,
}

/// A port of the host that leads into a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniPort {
    /// In the pod.
    pub container_port: u16,
    /// On the host, at which address.
    pub host: PortBinding,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}

/// Limits in bits a second and bits; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniBandwidth {
    /// Into the pod.
    pub ingress_rate: u64,
    /// See `ingress_rate`.
    pub ingress_burst: u64,
    /// Out of the pod.
    pub egress_rate: u64,
    /// See `egress_rate`.
    pub egress_burst: u64,
}

/// A pod that CNI plugins have, or may have, attached to its network: noted before they are called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CniAttachment {
    /// The configuration list that was in force, as JSON: what is undone with.
    pub list: String,
    /// The result of the last plugin, as JSON; empty when they did not get so far.
    pub result: String,
    /// The pod's addresses, the first one is its main address.
    pub addresses: Vec<std::net::IpAddr>,
    /// They have been asked to take it apart, and may have done so.
    pub leaving: bool,
}

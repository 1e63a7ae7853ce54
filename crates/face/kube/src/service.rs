//! Services: names for pods, ports of this machine, and where a front of its own is needed to lead one port to another.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    infra::KEEPER,
    manifest::{Manifests, Pod},
    plan::{self, ContainerPlan, NETWORK, PodPlan},
    probes,
    reader::Reader,
};

/// The program in front of pods, as a container.
pub(crate) const IMAGE: &str = "ferry/welcome";

/// A name for pods, and ports that lead to them.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    namespace: String,
    selector: Vec<(String, String)>,
    ports: Vec<ServicePort>,
    kind: Kind,
    /// It has no address of its own in a cluster either: its name is the pods'.
    headless: bool,
    /// A client stays with the pod that it met first.
    sticky: bool,
    /// It leads to pods that are not ready, too.
    early: bool,
}

/// Who reaches it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[default]
    Inside,
    /// At a port of every node.
    Node,
    /// At its own ports.
    Balancer,
}

/// A port, and where it leads.
#[derive(Debug)]
struct ServicePort {
    number: i64,
    target: Target,
    protocol: String,
    node: Option<i64>,
}

/// A port of pods.
#[derive(Debug)]
enum Target {
    Number(i64),
    Name(String),
}

impl Service {
    /// Reads a service.
    pub(crate) fn read(
        name: String,
        namespace: String,
        mut spec: Reader<'_>,
    ) -> Result<Self, String> {
        let kind = match spec.text("type")?.as_str() {
            "" | "ClusterIP" => Kind::Inside,
            "NodePort" => Kind::Node,
            "LoadBalancer" => Kind::Balancer,
            other => return Err(format!("{}.type: \"{other}\" is not supported", spec.path())),
        };
        let selector = spec.pairs("selector")?;
        if selector.is_empty() {
            spec.tell("selector", "is not there: the service leads nowhere");
        }
        let ports = spec.each("ports", port)?;
        let sticky = match spec.text("sessionAffinity")?.as_str() {
            "" | "None" => false,
            "ClientIP" => true,
            other => return Err(format!("{}.sessionAffinity: \"{other}\" cannot be", spec.path())),
        };
        if sticky {
            spec.notice(
                "sessionAffinityConfig",
                "is not kept: a client stays for as long as the pods do",
            );
        }
        let address = spec.text("clusterIP")?;
        let headless = address == "None";
        if !matches!(address.as_str(), "" | "None") {
            spec.tell("clusterIP", "has no meaning on one machine");
        }
        for key in [
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
            "externalTrafficPolicy",
            "loadBalancerClass",
            "allocateLoadBalancerNodePorts",
            "healthCheckNodePort",
            "trafficDistribution",
        ] {
            spec.notice(key, "has no meaning on one machine");
        }
        let early = spec.flag("publishNotReadyAddresses")?.unwrap_or(false);
        spec.finish()?;
        Ok(Service { name, namespace, selector, ports, kind, headless, sticky, early })
    }

    pub(crate) fn selects(&self, pod: &Pod) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|pair| pod.labels.contains(pair))
    }

    /// Whether it leads to a pod only when that says that it is ready.
    pub(crate) fn wants_ready(&self, pod: &Pod) -> bool {
        !self.early && probes::say_when_ready(pod)
    }

    /// The name by which its front finds a pod. The pod's own name may be the front's, too.
    pub(crate) fn name_of(&self, pod: &Pod) -> String {
        let kind = if self.wants_ready(pod) { "ready" } else { "pod" };
        format!("{kind}.{}", pod.name)
    }

    /// What it is called on the network.
    pub(crate) fn names(&self) -> Vec<String> {
        let Service { name, namespace, .. } = self;
        let whole = format!("{name}.{namespace}.svc");
        vec![
            name.clone(),
            format!("{name}.{namespace}"),
            whole.clone(),
            format!("{whole}.cluster.local"),
        ]
    }

    /// Whether it needs a front of its own: its ports are others than the pods', clients are to stay where they are, or several pods are
    /// behind a port of this machine.
    pub(crate) fn has_front(&self, manifests: &Manifests) -> bool {
        let pods: Vec<&Pod> = manifests.pods.iter().filter(|pod| self.selects(pod)).collect();
        if self.headless || pods.is_empty() || self.ports.is_empty() {
            return false;
        }
        let differs = |port: &ServicePort| pods.iter().any(|pod| port.on(pod) != Some(port.number));
        let is_shared = self.kind != Kind::Inside && pods.len() > 1;
        self.sticky || is_shared || self.ports.iter().any(differs)
    }

    /// Ports of this machine that lead to a pod without a front: target, protocol, and the port here (none for any).
    pub(crate) fn published(&self) -> impl Iterator<Item = (i64, &str, Value)> {
        let ports = self.ports.iter().filter(|_| self.kind != Kind::Inside);
        ports.map(|port| (port.number, port.protocol.as_str(), self.binding(port)))
    }

    fn binding(&self, port: &ServicePort) -> Value {
        let here = match self.kind {
            Kind::Balancer => Some(port.number),
            Kind::Node | Kind::Inside => port.node,
        };
        json!({ "HostIp": "", "HostPort": here.map(|port| port.to_string()).unwrap_or_default() })
    }

    /// The container that is its front.
    pub(crate) fn front(&self, manifests: &Manifests) -> Result<PodPlan, String> {
        let mut rules = Vec::new();
        let mut exposed = BTreeSet::new();
        let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for port in &self.ports {
            let mut targets = Vec::new();
            for pod in manifests.pods.iter().filter(|pod| self.selects(pod)) {
                let target = port.on(pod).ok_or_else(|| {
                    format!("Service/{}: pod {} has no port of that name", self.name, pod.name)
                })?;
                targets.push(format!("{}:{target}", self.name_of(pod)));
            }
            if port.protocol == "sctp" {
                return Err(format!("Service/{}: an SCTP port must be that of one pod", self.name));
            }
            let key = format!("{}/{}", port.number, port.protocol);
            if self.kind != Kind::Inside {
                bindings.entry(key.clone()).or_default().push(self.binding(port));
            }
            rules.push(format!("{key}={}", targets.join(",")));
            exposed.insert(key);
        }
        let mut words = vec!["kube".to_owned(), "keep".to_owned(), "service".to_owned()];
        if self.sticky {
            words.push("--sticky".to_owned());
        }
        words.extend(rules);
        let body = json!({
            "Image": IMAGE,
            "Entrypoint": ["/ferry"],
            "Cmd": words,
            "StopSignal": "SIGKILL",
            "Hostname": self.name,
            "Labels": { KEEPER: "service" },
            "ExposedPorts": exposed.into_iter().map(|port| (port, json!({}))).collect::<serde_json::Map<_, _>>(),
            "HostConfig": {
                "NetworkMode": NETWORK,
                "RestartPolicy": { "Name": "always" },
                "ReadonlyRootfs": true,
                "PortBindings": bindings,
            },
            "NetworkingConfig": { "EndpointsConfig": { NETWORK: { "Aliases": self.names() } } },
        });
        let one = ContainerPlan {
            name: format!("{}_service", self.name),
            body,
            ..ContainerPlan::of(IMAGE)
        };
        let owner = format!("Service/{}", self.name);
        Ok(plan::finished(PodPlan {
            name: self.name.clone(),
            owner,
            containers: vec![one],
            ..PodPlan::default()
        }))
    }
}

impl ServicePort {
    /// The number of the target in a pod.
    fn on(&self, pod: &Pod) -> Option<i64> {
        let name = match &self.target {
            Target::Number(number) => return Some(*number),
            Target::Name(name) => name,
        };
        let lists = ["containers", "initContainers"]
            .into_iter()
            .filter_map(|key| pod.spec.get(key)?.as_array());
        let ports = lists.flatten().filter_map(|one| one.get("ports")?.as_array()).flatten();
        let mut named = ports.filter(|port| port.get("name").and_then(Value::as_str) == Some(name));
        named.next()?.get("containerPort")?.as_i64()
    }
}

fn port(mut port: Reader<'_>) -> Result<ServicePort, String> {
    let number = port.port("port")?.ok_or_else(|| format!("{}.port is required", port.path()))?;
    let target = match port.take("targetPort") {
        Value::Null => Target::Number(number),
        Value::String(name) if !name.is_empty() => Target::Name(name),
        other => {
            Target::Number(other.as_i64().filter(|port| (1..=65535).contains(port)).ok_or_else(
                || format!("{}.targetPort: expected a port or its name", port.path()),
            )?)
        }
    };
    port.take("name");
    port.take("appProtocol");
    let protocol = port.protocol()?;
    let node = port.port("nodePort")?;
    port.finish()?;
    Ok(ServicePort { number, target, protocol, node })
}

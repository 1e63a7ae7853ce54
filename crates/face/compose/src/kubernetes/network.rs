//! Names and ports: the Services of a service, and the Ingress of a project.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Converter, object_name};
use crate::model::{Port, Service};

/// A published port behind the Ingress: the service, and its port.
pub(super) type Route = (String, u16);

/// Ports that others in the cluster reach: those exposed and those published, by number and protocol.
pub(super) fn inside(service: &Service) -> BTreeMap<(u16, String), ()> {
    let exposed = service.expose.iter().filter_map(|text| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        Some((port.parse().ok()?, protocol.to_ascii_uppercase()))
    });
    let published = service
        .ports
        .iter()
        .filter_map(|port| Some((u16::try_from(port.target).ok()?, protocol(port))));
    exposed.chain(published).map(|port| (port, ())).collect()
}

fn protocol(port: &Port) -> String {
    if port.protocol.is_empty() { "TCP".to_owned() } else { port.protocol.to_ascii_uppercase() }
}

fn entry(name: &str, port: u16, target: u16, protocol: &str) -> Value {
    json!({ "name": name, "port": port, "targetPort": target, "protocol": protocol })
}

fn port_name(port: u16, protocol: &str) -> String {
    format!("{}-{port}", protocol.to_ascii_lowercase())
}

impl Converter<'_> {
    /// The Service of the service's name, and one more for what it publishes.
    pub(super) fn services(&mut self, service: &Service, routes: &mut Vec<Route>) -> Vec<Value> {
        let name = object_name(&service.name);
        if name != service.name {
            self.notice(format!(
                "services.{}: in the cluster its name is {name}; what calls it by the old one must be changed",
                service.name
            ));
        }
        if service.network_mode == "host" {
            return Vec::new();
        }
        let ports: Vec<Value> = inside(service)
            .keys()
            .map(|(port, protocol)| entry(&port_name(*port, protocol), *port, *port, protocol))
            .collect();
        let mut names = vec![name.clone()];
        let aliases = service.networks.values().flatten().flat_map(|network| &network.aliases);
        names.extend(aliases.map(|alias| object_name(alias)));
        names.sort();
        names.dedup();
        let mut objects: Vec<Value> = names
            .iter()
            .map(|name| {
                // Without ports the name leads to the pods themselves.
                if ports.is_empty() {
                    self.service(name, service, json!({ "clusterIP": "None" }))
                } else {
                    self.service(name, service, json!({ "ports": ports }))
                }
            })
            .collect();
        let published = self.published(service, routes);
        if !published.is_empty() {
            let spec = json!({ "type": "LoadBalancer", "ports": published });
            objects.push(self.service(&format!("{name}-published"), service, spec));
        }
        objects
    }

    fn service(&self, name: &str, service: &Service, mut spec: Value) -> Value {
        spec["selector"] = self.labels(Some(service));
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name, "labels": self.labels(Some(service)) },
            "spec": spec,
        })
    }

    /// Ports for everybody. One that is published on the loopback interface is not for everybody.
    fn published(&mut self, service: &Service, routes: &mut Vec<Route>) -> Vec<Value> {
        let mut list: Vec<Value> = Vec::new();
        for port in &service.ports {
            let Ok(target) = u16::try_from(port.target) else { continue };
            let place = format!("services.{}.ports: {target}", service.name);
            let loopback = port.host_ip.starts_with("127.") || port.host_ip == "::1";
            let number = port.published.as_deref().map(str::parse::<u16>);
            let protocol = protocol(port);
            match number {
                _ if loopback => self.notice(format!(
                    "{place} is published on {} only: it is reached inside the cluster, not from outside",
                    port.host_ip
                )),
                _ if !self.wishes.ingress.is_empty() && protocol == "TCP" => {
                    let name = object_name(&service.name);
                    if routes.iter().any(|(other, _)| *other == name) {
                        self.notice(format!("{place} has no rule in the ingress: {name} has one for another port"));
                    } else {
                        routes.push((name, target));
                    }
                }
                Some(Ok(number)) => {
                    if !port.host_ip.is_empty() && port.host_ip != "0.0.0.0" && port.host_ip != "::" {
                        self.notice(format!("{place}: the address {} is not the cluster's", port.host_ip));
                    }
                    let entry = entry(&port_name(number, &protocol), number, target, &protocol);
                    if !list.contains(&entry) {
                        list.push(entry);
                    }
                }
                _ => self.notice(format!(
                    "{place} is published on a port that is not certain: it is reached inside the cluster, not from outside"
                )),
            }
        }
        list
    }

    /// The Ingress of the project.
    pub(super) fn ingress(&self, routes: Vec<Route>) -> Option<Value> {
        if routes.is_empty() {
            return None;
        }
        let rules: Vec<Value> = routes
            .into_iter()
            .map(|(name, port)| {
                let service = json!({ "name": name, "port": { "number": port } });
                json!({
                    "host": format!("{name}.{}", self.wishes.ingress),
                    "http": { "paths": [
                        { "path": "/", "pathType": "Prefix", "backend": { "service": service } },
                    ] },
                })
            })
            .collect();
        Some(json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": { "name": object_name(&self.project.name), "labels": self.labels(None) },
            "spec": { "rules": rules },
        }))
    }
}

//! A project as Kubernetes' objects. Nothing here asks a daemon or a cluster; files of the project are read.
//!
//! A service becomes a Deployment (a DaemonSet where it is `global`, a Job where others wait for its end) and a Service of its name,
//! so that the others reach it as they do under Compose. What a cluster has no counterpart for is a notice; what would be lost with
//! it is refused by name.

mod mounts;
mod network;
mod pod;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use ferry_cli::face::CliError;
use serde_json::{Map, Value, json};

use crate::{
    model::{FileObject, Project, Service},
    run::order,
};

/// Longest name of a Service.
const MAX_NAME: usize = 63;

/// What the command line says about the objects.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Published ports are behind an Ingress, as `SERVICE.DOMAIN`; empty for none.
    pub(crate) ingress: String,
    /// Size of a claim.
    pub(crate) storage: String,
}

/// A project's objects, and what they do not say.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) objects: Vec<Value>,
    pub(crate) notices: Vec<String>,
}

/// A conversion at work.
struct Converter<'p> {
    project: &'p Project,
    wishes: &'p Wishes,
    notices: Vec<String>,
    /// Objects for files that services mount.
    files: Vec<Value>,
}

/// Converts these services.
pub(crate) fn convert(
    project: &Project,
    names: &BTreeSet<String>,
    wishes: &Wishes,
) -> Result<Converted, CliError> {
    different_names(names)?;
    let mut converter = Converter { project, wishes, notices: Vec::new(), files: Vec::new() };
    let order = order::sorted(project, names);
    let services: Vec<&Service> =
        order.iter().filter_map(|name| project.services.get(name)).collect();
    let ends = waited_for(project, names);
    let mut objects = converter.values(&services)?;
    objects.extend(converter.claims(&services));
    let mut workloads = Vec::new();
    let mut routes = Vec::new();
    for service in services {
        refuse(service)?;
        let ends = ends.contains(service.name.as_str());
        let template = converter.template(service, ends)?;
        workloads.push(converter.workload(service, template, ends));
        if !ends {
            workloads.extend(converter.services(service, &mut routes));
        }
    }
    objects.append(&mut converter.files);
    objects.append(&mut workloads);
    objects.extend(converter.ingress(routes));
    Ok(Converted { objects, notices: converter.notices })
}

/// A name that every kind of object takes: small letters, digits and hyphens, a letter first.
pub(crate) fn object_name(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let name: String =
        lower.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    let first = name.starts_with(|c: char| c.is_ascii_digit());
    let name = if first || name.is_empty() { format!("s{name}") } else { name.to_owned() };
    name.chars().take(MAX_NAME).collect::<String>().trim_end_matches('-').to_owned()
}

/// Services that become one name would become one object.
fn different_names(names: &BTreeSet<String>) -> Result<(), CliError> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for name in names {
        if let Some(other) = seen.insert(object_name(name), name) {
            return Err(CliError::new(format!(
                "services {other} and {name} would both be {} in a cluster",
                object_name(name)
            )));
        }
    }
    Ok(())
}

/// Services whose end somebody waits for: they are jobs.
fn waited_for<'p>(project: &'p Project, names: &BTreeSet<String>) -> BTreeSet<&'p str> {
    let services = project.services.iter().filter(|(name, _)| names.contains(*name));
    let waits = services.flat_map(|(_, service)| &service.depends_on);
    waits
        .filter(|(_, how)| how.condition == "service_completed_successfully")
        .map(|(name, _)| name.as_str())
        .collect()
}

/// What a pod has no counterpart for, and what a service does not work without.
fn refuse(service: &Service) -> Result<(), CliError> {
    let shares = |mode: &str| mode.starts_with("service:") || mode.starts_with("container:");
    let refused = [
        ("models", service.models.is_some()),
        ("provider", service.provider.is_some()),
        ("credential_spec", service.credential_spec.is_some()),
        ("use_api_socket", service.use_api_socket),
        ("network_mode", shares(&service.network_mode) || service.network_mode == "none"),
        ("pid", shares(&service.pid)),
        ("ipc", shares(&service.ipc)),
        ("volumes_from", !service.volumes_from.is_empty()),
        ("devices", !service.devices.is_empty()),
        ("external_links", !service.external_links.is_empty()),
    ];
    match refused.iter().find(|(_, used)| *used) {
        Some((key, _)) => Err(CliError::new(format!(
            "services.{}.{key} cannot be converted: a pod has nothing like it",
            service.name
        ))),
        None => Ok(()),
    }
}

impl Converter<'_> {
    fn notice(&mut self, words: String) {
        if !self.notices.contains(&words) {
            self.notices.push(words);
        }
    }

    /// Configs and secrets that these services use.
    fn values(&mut self, services: &[&Service]) -> Result<Vec<Value>, CliError> {
        let mut objects = Vec::new();
        let mut done = BTreeSet::new();
        for service in services {
            for (kind, object, reference) in crate::run::inject::references(self.project, service) {
                if !done.insert((kind, reference.source.clone())) {
                    continue;
                }
                if object.external {
                    let name = object_name(&object.name);
                    self.notice(format!(
                        "{kind}s.{}: {name} must be in the cluster, with the key {}",
                        reference.source, reference.source
                    ));
                    continue;
                }
                let bytes = self.content(kind, &reference.source, object)?;
                let name = value_name(object, &reference.source);
                objects.push(mounts::value_object(kind, &name, &reference.source, &bytes));
            }
        }
        Ok(objects)
    }

    fn content(&self, kind: &str, name: &str, object: &FileObject) -> Result<Vec<u8>, CliError> {
        match crate::run::inject::text_of(self.project, object)? {
            Some(text) => Ok(text.into_bytes()),
            None => mounts::read(std::path::Path::new(&object.file))
                .map_err(|words| CliError::new(format!("{kind}s.{name}: {words}"))),
        }
    }

    /// Claims for the named volumes of these services.
    fn claims(&mut self, services: &[&Service]) -> Vec<Value> {
        let mounts = services.iter().flat_map(|service| &service.volumes);
        let used: BTreeSet<&str> = mounts
            .filter(|mount| mount.r#type == "volume" && !mount.source.is_empty())
            .map(|mount| mount.source.as_str())
            .collect();
        let mut claims = Vec::new();
        for key in used {
            let Some(volume) = self.project.volumes.get(key) else { continue };
            let name = object_name(&volume.name);
            if volume.external {
                self.notice(format!("volumes.{key}: the claim {name} must be in the cluster"));
                continue;
            }
            if !volume.driver_opts.is_empty() || !matches!(volume.driver.as_str(), "" | "local") {
                self.notice(format!("volumes.{key}: its driver is not the cluster's; the claim has the default storage class"));
            }
            let size = if self.wishes.storage.is_empty() { "1Gi" } else { &self.wishes.storage };
            claims.push(json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": { "name": name, "labels": self.labels(None) },
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": { "requests": { "storage": size } },
                },
            }));
        }
        claims
    }

    /// Labels by which the objects of a project, or of a service, are found.
    fn labels(&self, service: Option<&Service>) -> Value {
        let mut labels = json!({ "app.kubernetes.io/part-of": object_name(&self.project.name) });
        if let Some(service) = service {
            labels["app.kubernetes.io/name"] = json!(object_name(&service.name));
        }
        labels
    }

    /// The object that keeps pods of this template.
    fn workload(&self, service: &Service, template: Value, ends: bool) -> Value {
        let name = object_name(&service.name);
        let mode = service.deploy.as_ref().map_or("", |deploy| deploy.mode.as_str());
        let mut metadata = json!({ "name": name, "labels": self.labels(Some(service)) });
        let annotations = service.deploy.as_ref().map(|deploy| &deploy.labels);
        if let Some(annotations) = annotations.filter(|map| !map.is_empty()) {
            metadata["annotations"] = json!(annotations);
        }
        let selector = json!({ "matchLabels": self.labels(Some(service)) });
        if ends || mode.ends_with("-job") {
            let policy = service.deploy.as_ref().and_then(|one| one.restart_policy.as_ref());
            let attempts = policy.and_then(|policy| policy.max_attempts);
            let never = template.pointer("/spec/restartPolicy") == Some(&json!("Never"));
            let mut spec = json!({ "template": template });
            match attempts {
                Some(attempts) => spec["backoffLimit"] = json!(attempts),
                None if never => spec["backoffLimit"] = json!(0),
                None => {}
            }
            return json!({ "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec });
        }
        if mode == "global" {
            let spec = json!({ "selector": selector, "template": template });
            return json!({ "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata, "spec": spec });
        }
        let mut spec = json!({ "replicas": service.replicas(), "selector": selector });
        if let Some(strategy) = strategy(service) {
            spec["strategy"] = strategy;
        }
        spec["template"] = template;
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec })
    }
}

/// The name of the object for a config or secret: an external one has its own, the others stand in a file of one project.
fn value_name(object: &FileObject, key: &str) -> String {
    object_name(if object.name.is_empty() { key } else { &object.name })
}

/// How pods are replaced. A claim may be for one node only, so what has one ends before its successor starts.
fn strategy(service: &Service) -> Option<Value> {
    let keeps = service.volumes.iter().any(|mount| mount.r#type == "volume");
    let update = service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref());
    let start_first = update.is_some_and(|update| update.order == "start-first");
    if keeps && !start_first {
        return Some(json!({ "type": "Recreate" }));
    }
    let at_once = match update?.parallelism.unwrap_or(1) {
        0 => u64::from(service.replicas().max(1)),
        some => some,
    };
    let (surge, gone) = if start_first { (at_once, 0) } else { (0, at_once) };
    let mut rolling = Map::new();
    rolling.insert("maxSurge".to_owned(), json!(surge));
    rolling.insert("maxUnavailable".to_owned(), json!(gone));
    Some(json!({ "type": "RollingUpdate", "rollingUpdate": rolling }))
}

//! Documents to objects.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::reader::Reader;

/// Objects in one file.
const MAX_OBJECTS: usize = 1000;

/// Copies of one pod.
const MAX_REPLICAS: i64 = 100;

/// Everything that a file asks for.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Pods, those of deployments with numbers behind their names.
    pub(crate) pods: Vec<Pod>,
    /// ConfigMaps and Secrets: keys and values.
    pub(crate) values: BTreeMap<(Source, String), BTreeMap<String, Vec<u8>>>,
    /// Names of claims.
    pub(crate) claims: Vec<String>,
    pub(crate) services: Vec<Service>,
    /// What has no meaning here.
    pub(crate) notices: Vec<String>,
}

/// A name for pods, and ports of this machine that lead to one of them.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) name: String,
    selector: Vec<(String, String)>,
    /// Of a load balancer: port, target and protocol.
    pub(crate) published: Vec<(i64, i64, String)>,
}

impl Service {
    pub(crate) fn selects(&self, pod: &Pod) -> bool {
        !self.selector.is_empty() && self.selector.iter().all(|pair| pod.labels.contains(pair))
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    ConfigMap,
    Secret,
}

/// A pod.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) name: String,
    /// The object that wants it: `Pod/web`, `Deployment/web`.
    pub(crate) owner: String,
    pub(crate) labels: Vec<(String, String)>,
    /// Its `spec`, not read yet: that wants the values of other documents.
    pub(crate) spec: Value,
    /// Of a Job: it ends.
    pub(crate) is_job: bool,
}

/// Reads documents.
pub(crate) fn read(documents: Vec<Value>) -> Result<Manifests, String> {
    let mut manifests = Manifests::default();
    let documents = documents.into_iter().filter(|document| !document.is_null());
    let mut all = Vec::new();
    for document in documents {
        match document {
            Value::Object(mut map) if map.get("kind") == Some(&Value::from("List")) => {
                match map.remove("items") {
                    Some(Value::Array(items)) => all.extend(items),
                    _ => return Err("List: items is required".to_owned()),
                }
            }
            other => all.push(other),
        }
    }
    if all.len() > MAX_OBJECTS {
        return Err(format!("more than {MAX_OBJECTS} objects"));
    }
    for document in all {
        object(document, &mut manifests)?;
    }
    Ok(manifests)
}

fn object(document: Value, manifests: &mut Manifests) -> Result<(), String> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(format!("{kind}: metadata.name is required"));
    }
    let mut notices = Vec::new();
    let owner = format!("{kind}/{name}");
    let mut reader = Reader::new(owner.clone(), document, &mut notices)?;
    let version = reader.text("apiVersion")?;
    reader.take("kind");
    let (name, labels) = metadata(reader.inside("metadata")?)?;
    let expected = match kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" => "batch/v1",
        _ => "v1",
    };
    if version != expected {
        return Err(format!("{owner}: apiVersion \"{version}\" is not supported, {expected} is"));
    }
    match kind.as_str() {
        "Pod" => {
            let spec = reader.take("spec");
            manifests.pods.push(Pod { name, owner, labels, spec, is_job: false });
        }
        "Deployment" | "StatefulSet" | "DaemonSet" | "Job" => {
            workload(&name, &owner, &kind, reader.inside("spec")?, &mut manifests.pods)?;
        }
        "ConfigMap" => {
            let mut data = decoded(&mut reader, "binaryData")?;
            data.extend(reader.pairs("data")?.into_iter().map(|(key, text)| (key, text.into())));
            reader.take("immutable");
            manifests.values.insert((Source::ConfigMap, name), data);
        }
        "Secret" => {
            let data = secret(&mut reader)?;
            manifests.values.insert((Source::Secret, name), data);
        }
        "PersistentVolumeClaim" => {
            reader.notice("spec", "has no meaning on one machine: the claim is a volume");
            manifests.claims.push(name);
        }
        "Service" => {
            manifests.services.push(service(name, reader.inside("spec")?)?);
        }
        other => return Err(format!("kind \"{other}\" is not supported")),
    }
    reader.finish()?;
    manifests.notices.extend(notices);
    Ok(())
}

/// Name and labels; annotations say nothing here.
fn metadata(mut reader: Reader<'_>) -> Result<(String, Vec<(String, String)>), String> {
    let name = reader.text("name")?;
    let valid =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !name.bytes().all(valid) || name.len() > 200 {
        return Err(format!("{}.name: \"{name}\" is no name of an object", reader.path()));
    }
    let labels = reader.pairs("labels")?;
    reader.take("annotations");
    reader.notice("namespace", "has no meaning on one machine");
    reader.finish()?;
    Ok((name, labels))
}

fn workload(
    name: &str,
    owner: &str,
    kind: &str,
    mut spec: Reader<'_>,
    pods: &mut Vec<Pod>,
) -> Result<(), String> {
    let count = match kind {
        "Deployment" | "StatefulSet" => spec.number("replicas")?.unwrap_or(1),
        _ => 1,
    };
    if !(0..=MAX_REPLICAS).contains(&count) {
        return Err(format!("{}.replicas: 0 to {MAX_REPLICAS} can be", spec.path()));
    }
    spec.take("selector");
    spec.take("serviceName");
    if kind == "Job" {
        for key in ["backoffLimit", "completions", "parallelism", "ttlSecondsAfterFinished"] {
            spec.notice(key, "is not kept: a job runs once");
        }
    }
    let mut template = spec.inside("template")?;
    let mut meta = template.inside("metadata")?;
    let labels = meta.pairs("labels")?;
    meta.take("annotations");
    meta.take("name");
    meta.finish()?;
    let pod = template.take("spec");
    template.finish()?;
    spec.finish()?;
    for number in 0..count {
        let name = if kind == "DaemonSet" || kind == "Job" {
            name.to_owned()
        } else {
            format!("{name}-{number}")
        };
        pods.push(Pod {
            name,
            owner: owner.to_owned(),
            labels: labels.clone(),
            spec: pod.clone(),
            is_job: kind == "Job",
        });
    }
    Ok(())
}

fn secret(reader: &mut Reader<'_>) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut data = decoded(reader, "data")?;
    data.extend(reader.pairs("stringData")?.into_iter().map(|(key, text)| (key, text.into())));
    reader.take("type");
    reader.take("immutable");
    Ok(data)
}

fn decoded(reader: &mut Reader<'_>, field: &str) -> Result<BTreeMap<String, Vec<u8>>, String> {
    let mut data = BTreeMap::new();
    for (key, value) in reader.pairs(field)? {
        let wrong = |_| format!("{}.{field}.{key}: expected base64", reader.path());
        let bytes = STANDARD.decode(value.trim()).map_err(wrong)?;
        data.insert(key, bytes);
    }
    Ok(data)
}

/// A service is a name for pods; a load balancer's ports are this machine's.
fn service(name: String, mut spec: Reader<'_>) -> Result<Service, String> {
    let selector = spec.pairs("selector")?;
    let kind = spec.text("type")?;
    let is_balancer = kind == "LoadBalancer";
    let published = spec.each("ports", |mut port| {
        let number = port.number("port")?.unwrap_or_default();
        let target = port.take("targetPort");
        let target = if target.is_null() { Some(number) } else { target.as_i64() };
        let target = target.filter(|target| *target == number || is_balancer).ok_or_else(|| {
            format!(
                "{}.targetPort: a service is a name here, it does not change ports",
                port.path()
            )
        })?;
        port.take("name");
        let protocol = port.text("protocol")?.to_ascii_lowercase();
        let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol };
        port.notice("nodePort", "is not published: give hostPort to the container");
        port.finish()?;
        Ok((number, target, protocol))
    })?;
    if !matches!(kind.as_str(), "" | "ClusterIP" | "LoadBalancer") {
        spec.tell("type", "has no meaning on one machine");
    }
    // A name for the pods themselves is what every service is here.
    let address = spec.text("clusterIP")?;
    if !matches!(address.as_str(), "" | "None") {
        spec.tell("clusterIP", "has no meaning on one machine");
    }
    spec.finish()?;
    Ok(Service { name, selector, published: if is_balancer { published } else { Vec::new() } })
}

//! Documents to objects.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    reader::Reader,
    service::Service,
    workload::{self, CronJob, Job},
};

/// Objects in one file.
const MAX_OBJECTS: usize = 1000;

/// Kinds that are about a cluster, and why nothing comes of them here.
const MEANINGLESS: [(&str, &str); 15] = [
    ("ClusterRole", NO_RIGHTS),
    ("ClusterRoleBinding", NO_RIGHTS),
    ("HorizontalPodAutoscaler", "replicas are as many as the object says"),
    ("Ingress", "a Service of type LoadBalancer or NodePort is the way in"),
    ("IngressClass", "a Service of type LoadBalancer or NodePort is the way in"),
    ("LimitRange", "limits are those of the pods"),
    ("Namespace", "there is one on this machine"),
    ("PersistentVolume", "claims are volumes of their names"),
    ("PodDisruptionBudget", "nobody drains it"),
    ("PriorityClass", "nothing is scheduled"),
    ("ResourceQuota", "limits are those of the pods"),
    ("Role", NO_RIGHTS),
    ("RoleBinding", NO_RIGHTS),
    ("ServiceAccount", NO_RIGHTS),
    ("StorageClass", "claims are volumes of their names"),
];
const NO_RIGHTS: &str = "there is no API server that pods could ask";

/// Everything that a file asks for.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// Pods, those of deployments with numbers behind their names.
    pub(crate) pods: Vec<Pod>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) crons: Vec<CronJob>,
    /// ConfigMaps and Secrets: keys and values.
    pub(crate) values: BTreeMap<(Source, String), BTreeMap<String, Vec<u8>>>,
    /// The same as they were read, for those who need them later.
    pub(crate) documents: Vec<(String, Value)>,
    /// Names of claims.
    pub(crate) claims: Vec<String>,
    pub(crate) services: Vec<Service>,
    /// Deployments and the like: what of theirs is not planned any more goes.
    pub(crate) owners: Vec<String>,
    /// What has no meaning here.
    pub(crate) notices: Vec<String>,
}

/// What an object is called. Labels and annotations of its own are nobody's concern later.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) namespace: String,
    #[serde(skip)]
    pub(crate) labels: Vec<(String, String)>,
    #[serde(skip)]
    pub(crate) annotations: Vec<(String, String)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    ConfigMap,
    Secret,
}

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pod {
    pub(crate) name: String,
    /// The object that wants it: `Pod/web`, `Deployment/web`.
    pub(crate) owner: String,
    /// The object that wants that, which takes it along when it goes: `CronJob/web`.
    pub(crate) parent: String,
    pub(crate) namespace: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) annotations: Vec<(String, String)>,
    /// Its `spec`, not read yet: that wants the values of other documents.
    pub(crate) spec: Value,
    /// Of a Job: it ends.
    pub(crate) is_job: bool,
    /// How often its containers are started again, where that is limited.
    pub(crate) restarts: Option<i64>,
    /// It starts when the one before it is ready.
    #[serde(default)]
    pub(crate) in_order: bool,
    /// The headless service under which it has a name of its own.
    #[serde(default)]
    pub(crate) subdomain: String,
}

/// Reads documents; `zone_file` brings the file of a time zone, as base64.
pub(crate) fn read(
    documents: Vec<Value>,
    zone_file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<Manifests, String> {
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
        object(document, &mut manifests, zone_file)?;
    }
    Ok(manifests)
}

fn object(
    document: Value,
    manifests: &mut Manifests,
    zone_file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    let kind = document.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(format!("{kind}: metadata.name is required"));
    }
    let mut notices = Vec::new();
    let owner = format!("{kind}/{name}");
    if let Some((_, why)) = MEANINGLESS.iter().find(|(known, _)| *known == kind) {
        manifests.notices.push(format!("{owner} has no meaning on one machine: {why}"));
        return Ok(());
    }
    let kept = matches!(kind.as_str(), "ConfigMap" | "Secret").then(|| document.clone());
    let mut reader = Reader::new(owner.clone(), document, &mut notices)?;
    let version = reader.text("apiVersion")?;
    reader.take("kind");
    let meta = metadata(reader.inside("metadata")?)?;
    let expected = match kind.as_str() {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        "Pod"
        | "Service"
        | "ConfigMap"
        | "Secret"
        | "PersistentVolumeClaim"
        | "ReplicationController" => "v1",
        other => return Err(format!("kind \"{other}\" is not supported")),
    };
    if version != expected {
        return Err(format!("{owner}: apiVersion \"{version}\" is not supported, {expected} is"));
    }
    manifests.documents.extend(kept.map(|document| (meta.name.clone(), document)));
    keep(&kind, meta, &mut reader, manifests, zone_file)?;
    reader.finish()?;
    manifests.notices.extend(notices);
    Ok(())
}

/// Puts an object where it belongs.
fn keep(
    kind: &str,
    meta: Meta,
    reader: &mut Reader<'_>,
    manifests: &mut Manifests,
    zone_file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<(), String> {
    let (name, owner) = (meta.name.clone(), format!("{kind}/{}", meta.name));
    match kind {
        "Pod" => {
            let spec = reader.take("spec");
            let Meta { namespace, labels, annotations, .. } = meta;
            let pod = Pod { name, owner, namespace, labels, annotations, spec, ..Pod::default() };
            manifests.pods.push(pod);
        }
        "Deployment" | "ReplicaSet" | "ReplicationController" | "StatefulSet" | "DaemonSet" => {
            manifests.pods.extend(workload::pods(&meta, kind, reader.inside("spec")?)?);
            manifests.owners.push(owner);
        }
        "Job" => {
            let job = workload::job(&meta, reader.inside("spec")?)?;
            // One that is suspended has nothing that runs.
            manifests.owners.extend(job.suspended.then_some(owner));
            manifests.jobs.push(job);
        }
        "CronJob" => {
            manifests.crons.push(workload::cron(&meta, reader.inside("spec")?, zone_file)?);
        }
        "ConfigMap" => {
            let mut data = decoded(reader, "binaryData")?;
            data.extend(reader.pairs("data")?.into_iter().map(|(key, text)| (key, text.into())));
            reader.take("immutable");
            manifests.values.insert((Source::ConfigMap, name), data);
        }
        "Secret" => {
            let data = secret(reader)?;
            manifests.values.insert((Source::Secret, name), data);
        }
        "PersistentVolumeClaim" => {
            reader.notice("spec", "has no meaning on one machine: the claim is a volume");
            manifests.claims.push(name);
        }
        "Service" => {
            let service = Service::read(name, meta.namespace, reader.inside("spec")?)?;
            manifests.services.push(service);
            // It may have had a front that it needs no longer.
            manifests.owners.push(owner);
        }
        other => return Err(format!("kind \"{other}\" is not supported")),
    }
    Ok(())
}

/// Name, labels and annotations.
fn metadata(mut reader: Reader<'_>) -> Result<Meta, String> {
    let name = reader.text("name")?;
    let valid =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    if !name.bytes().all(valid) || name.len() > 200 {
        return Err(format!("{}.name: \"{name}\" is no name of an object", reader.path()));
    }
    let (labels, annotations) = (reader.pairs("labels")?, reader.pairs("annotations")?);
    let namespace = match reader.text("namespace")? {
        text if text.is_empty() || text == "default" => "default".to_owned(),
        text => {
            reader.tell("namespace", "is part of names only: there is one on this machine");
            text
        }
    };
    for key in ["uid", "resourceVersion", "generation", "managedFields"] {
        reader.take(key);
    }
    reader.finish()?;
    Ok(Meta { name, namespace, labels, annotations })
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

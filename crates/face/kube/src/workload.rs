//! Objects that want pods: Deployments, StatefulSets, DaemonSets, Jobs, CronJobs.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    cron::{schedule::Schedule, zone},
    manifest::{Meta, Pod},
    reader::Reader,
};

/// Copies of one pod.
const MAX_REPLICAS: i64 = 100;

/// What keeps a job apart from a pod: how often, how often again, how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) meta: Meta,
    /// What its pods are like; their names are the job's with a number.
    pub(crate) pod: Pod,
    /// Ends that are wanted; `None` is one success of any pod.
    pub(crate) completions: Option<i64>,
    /// Each of them has a number of its own, which its pods know.
    pub(crate) indexed: bool,
    pub(crate) parallelism: i64,
    pub(crate) backoff_limit: i64,
    pub(crate) ttl: Option<i64>,
    pub(crate) deadline: Option<i64>,
    pub(crate) suspended: bool,
}

/// A job again and again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CronJob {
    pub(crate) job: Job,
    pub(crate) schedule: String,
    /// The zone's file, as base64; empty for UTC.
    pub(crate) zone: String,
    /// `Allow`, `Forbid`, `Replace`.
    pub(crate) policy: String,
    pub(crate) suspended: bool,
    /// Seconds that a start may be late.
    pub(crate) patience: Option<i64>,
    /// Jobs that are kept: succeeded, failed.
    pub(crate) kept: (i64, i64),
}

/// Pods of a Deployment, ReplicaSet, ReplicationController, StatefulSet or DaemonSet.
pub(crate) fn pods(meta: &Meta, kind: &str, mut spec: Reader<'_>) -> Result<Vec<Pod>, String> {
    let count = match kind {
        "DaemonSet" => 1,
        _ => spec.number("replicas")?.unwrap_or(1),
    };
    if !(0..=MAX_REPLICAS).contains(&count) {
        return Err(format!("{}.replicas: 0 to {MAX_REPLICAS} can be", spec.path()));
    }
    spec.take("selector");
    let is_set = kind == "StatefulSet";
    let Set { service, templates, first, in_order } =
        if is_set { set(&mut spec)? } else { Set::default() };
    if kind == "Deployment" && spec.flag("paused")? == Some(true) {
        spec.tell("paused", "has no meaning on one machine");
    }
    if matches!(kind, "StatefulSet" | "DaemonSet") {
        spec.notice("updateStrategy", "has no meaning on one machine");
    }
    let mut pod = template(meta, kind, &mut spec)?;
    spec.finish()?;
    (pod.in_order, pod.subdomain) = (in_order, service);
    let numbered = |number: i64| {
        let mut pod = pod.clone();
        if kind != "DaemonSet" {
            pod.name = format!("{}-{}", meta.name, first + number);
        }
        for template in &templates {
            let claim = format!("{template}-{}", pod.name);
            let volume =
                json!({ "name": template, "persistentVolumeClaim": { "claimName": claim } });
            match &mut pod.spec["volumes"] {
                Value::Array(list) => {
                    list.retain(|one| one["name"] != json!(template));
                    list.push(volume);
                }
                other => *other = json!([volume]),
            }
        }
        pod
    };
    Ok((0..count).map(numbered).collect())
}

/// What a StatefulSet has beside its pods.
#[derive(Default)]
struct Set {
    /// Names its pods.
    service: String,
    /// Names of claims, of which each pod has its own.
    templates: Vec<String>,
    /// The number of the first pod.
    first: i64,
    /// Each pod waits for the one before it.
    in_order: bool,
}

fn set(spec: &mut Reader<'_>) -> Result<Set, String> {
    let service = spec.text("serviceName")?;
    let in_order = match spec.text("podManagementPolicy")?.as_str() {
        "" | "OrderedReady" => true,
        "Parallel" => false,
        other => {
            return Err(format!("{}.podManagementPolicy: \"{other}\" cannot be", spec.path()));
        }
    };
    spec.notice(
        "persistentVolumeClaimRetentionPolicy",
        "has no meaning on one machine: claims stay",
    );
    let mut ordinals = spec.inside("ordinals")?;
    let first = ordinals.number("start")?.unwrap_or(0);
    ordinals.finish()?;
    if !(0..=1_000_000).contains(&first) {
        return Err(format!("{}.ordinals.start: 0 to 1000000 can be", spec.path()));
    }
    let templates = spec.each("volumeClaimTemplates", |mut claim| {
        let name = claim.inside("metadata")?.needed("name")?;
        Ok(name)
    })?;
    Ok(Set { service, templates, first, in_order })
}

/// What the pods of an object are like.
fn template(meta: &Meta, kind: &str, spec: &mut Reader<'_>) -> Result<Pod, String> {
    let mut template = spec.inside("template")?;
    let mut own = template.inside("metadata")?;
    let (labels, annotations) = (own.pairs("labels")?, own.pairs("annotations")?);
    for key in ["name", "namespace", "creationTimestamp"] {
        own.take(key);
    }
    own.finish()?;
    let of_pod = template.take("spec");
    template.finish()?;
    if !of_pod.is_object() {
        return Err(format!("{}.template.spec is required", spec.path()));
    }
    Ok(Pod {
        name: meta.name.clone(),
        owner: format!("{kind}/{}", meta.name),
        namespace: meta.namespace.clone(),
        labels,
        annotations,
        spec: of_pod,
        is_job: kind == "Job",
        ..Pod::default()
    })
}

/// Reads a job's `spec`.
pub(crate) fn job(meta: &Meta, mut spec: Reader<'_>) -> Result<Job, String> {
    let mut whole = |key: &str, low: i64| match spec.number(key)? {
        Some(number) if number < low || number > i64::from(i32::MAX) => {
            Err(format!("{}.{key}: {number} cannot be", spec.path()))
        }
        number => Ok(number),
    };
    let (completions, parallelism) = (whole("completions", 0)?, whole("parallelism", 0)?);
    let (limit, ttl) = (whole("backoffLimit", 0)?, whole("ttlSecondsAfterFinished", 0)?);
    let deadline = whole("activeDeadlineSeconds", 1)?;
    let suspended = spec.flag("suspend")?.unwrap_or(false);
    let indexed = match spec.text("completionMode")?.as_str() {
        "" | "NonIndexed" => false,
        "Indexed" if completions.is_none() => {
            return Err(format!("{}.completions is required of an indexed job", spec.path()));
        }
        "Indexed" => true,
        other => return Err(format!("{}.completionMode: \"{other}\" cannot be", spec.path())),
    };
    spec.take("selector");
    spec.take("manualSelector");
    spec.notice(
        "podReplacementPolicy",
        "has no meaning on one machine: a pod is replaced when it has ended",
    );
    let pod = template(meta, "Job", &mut spec)?;
    spec.finish()?;
    let parallelism = parallelism.unwrap_or(1);
    if parallelism > MAX_REPLICAS {
        return Err(format!("Job/{}: parallelism may be {MAX_REPLICAS} at most", meta.name));
    }
    // Without completions one success is enough, unless there are several workers: then all of them end by themselves.
    let completions = completions.or((parallelism == 1).then_some(1));
    Ok(Job {
        meta: meta.clone(),
        pod,
        completions,
        indexed,
        parallelism,
        backoff_limit: limit.unwrap_or(6),
        ttl,
        deadline,
        suspended,
    })
}

/// Reads a cron job's `spec`. Its zone's file comes from `zone_file`.
pub(crate) fn cron(
    meta: &Meta,
    mut spec: Reader<'_>,
    zone_file: &dyn Fn(&str) -> Result<String, String>,
) -> Result<CronJob, String> {
    let schedule = spec.needed("schedule")?;
    Schedule::parse(&schedule).map_err(|why| format!("{}.schedule: {why}", spec.path()))?;
    let zone = match spec.text("timeZone")?.as_str() {
        "" | "UTC" | "Etc/UTC" => String::new(),
        name => zone_file(name).map_err(|why| format!("{}.timeZone: {why}", spec.path()))?,
    };
    if !zone.is_empty() && zone::Zone::of_text(&zone).is_none() {
        return Err(format!("{}.timeZone: its file is no time zone", spec.path()));
    }
    let policy = match spec.text("concurrencyPolicy")?.as_str() {
        "" => "Allow".to_owned(),
        known @ ("Allow" | "Forbid" | "Replace") => known.to_owned(),
        other => return Err(format!("{}.concurrencyPolicy: \"{other}\" cannot be", spec.path())),
    };
    let suspended = spec.flag("suspend")?.unwrap_or(false);
    let mut whole = |key: &str| match spec.number(key)? {
        Some(number) if !(0..=i64::from(i32::MAX)).contains(&number) => {
            Err(format!("{}.{key}: {number} cannot be", spec.path()))
        }
        number => Ok(number),
    };
    let patience = whole("startingDeadlineSeconds")?;
    let kept = (
        whole("successfulJobsHistoryLimit")?.unwrap_or(3),
        whole("failedJobsHistoryLimit")?.unwrap_or(1),
    );
    let mut template = spec.inside("jobTemplate")?;
    template.take("metadata");
    let job = job(meta, template.inside("spec")?)?;
    template.finish()?;
    spec.finish()?;
    Ok(CronJob { job, schedule, zone, policy, suspended, patience, kept })
}

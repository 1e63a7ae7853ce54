//! Jobs: as one pod where that is all there is to it, else with a keeper that makes pods until enough have succeeded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    infra,
    manifest::{self, Manifests, Pod},
    plan::{self, PodPlan},
    play::Plans,
    workload::Job,
};

/// The label of a job's pods, as a cluster gives it.
const JOB_NAME: &str = "job-name";

/// The variable that tells a pod of an indexed job which one it is.
const INDEX: &str = "JOB_COMPLETION_INDEX";

/// Plans everything in these manifests.
pub(crate) fn plans(manifests: &Manifests, notices: &mut Vec<String>) -> Result<Plans, String> {
    let mut plans = Plans::default();
    for pod in &manifests.pods {
        plans.pods.push(plan::plan(pod, manifests, notices)?);
    }
    for service in manifests.services.iter().filter(|service| service.has_front(manifests)) {
        plans.pods.push(service.front(manifests)?);
    }
    for job in &manifests.jobs {
        if job.suspended {
            notices.push(format!("Job/{} is suspended: nothing runs", job.meta.name));
            continue;
        }
        let pod = numbered(job, None);
        let planned = plan::plan(&pod, manifests, notices)?;
        if is_one_pod(job, &planned) {
            plans.pods.push(planned);
        } else {
            let record = record(job, job, manifests)?;
            plans.pods.push(keeper(&job.meta.name, "Job", "job", &record));
            plans.later.push(planned);
        }
    }
    for cron in &manifests.crons {
        plans.later.push(plan::plan(&numbered(&cron.job, None), manifests, notices)?);
        let record = record(cron, &cron.job, manifests)?;
        plans.pods.push(keeper(&cron.job.meta.name, "CronJob", "cron", &record));
    }
    Ok(plans)
}

/// Whether one pod that the engine starts again is the whole job.
fn is_one_pod(job: &Job, plan: &PodPlan) -> bool {
    let policy =
        plan.containers.first().and_then(|one| one.body.pointer("/HostConfig/RestartPolicy/Name"));
    // What never is started again must not fail; what is, is started again by the engine.
    let by_engine = job.backoff_limit == 0 || policy == Some(&json!("on-failure"));
    let alone = plan.containers.len() == 1 && plan.keeper.is_none() && plan.init.is_empty();
    let once = job.completions == Some(1) && job.parallelism == 1;
    alone && once && by_engine && !job.indexed && job.ttl.is_none() && job.deadline.is_none()
}

fn keeper(name: &str, kind: &str, what: &str, record: &Value) -> PodPlan {
    let mut one = infra::container(&format!("{name}_{what}"), what, record);
    one.body["Hostname"] = json!(name);
    one.body["HostConfig"]["NetworkMode"] = json!("none");
    let owner = format!("{kind}/{name}");
    plan::finished(PodPlan {
        name: name.to_owned(),
        owner,
        containers: vec![one],
        ..PodPlan::default()
    })
}

/// Which pod of a job: its number, or of an indexed job the index and how often that was tried before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number {
    pub(crate) index: i64,
    pub(crate) attempt: i64,
}

impl Number {
    /// Reads what stands behind a job's name in that of its pod.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        let (index, attempt) = text.split_once('-').unwrap_or((text, "0"));
        let number = |text: &str| text.parse().ok().filter(|number| *number >= 0);
        Some(Number { index: number(index)?, attempt: number(attempt)? })
    }

    fn name(self, job: &str) -> String {
        match self.attempt {
            0 => format!("{job}-{}", self.index),
            attempt => format!("{job}-{}-{attempt}", self.index),
        }
    }
}

/// A pod of a job: the only one, or one with a number.
pub(crate) fn numbered(job: &Job, number: Option<Number>) -> Pod {
    let mut pod = job.pod.clone();
    let name = &job.meta.name;
    pod.owner = format!("Job/{name}");
    pod.name = number.map_or_else(|| name.clone(), |number| number.name(name));
    for key in [JOB_NAME, "batch.kubernetes.io/job-name"] {
        pod.labels.push((key.to_owned(), name.clone()));
    }
    if let Some(number) = number.filter(|_| job.indexed) {
        tell_index(&mut pod, number.index);
        pod.spec["hostname"] = json!(format!("{name}-{}", number.index));
    }
    pod.restarts = Some(job.backoff_limit);
    pod
}

/// Lets a pod know its index in all the ways that a cluster has.
fn tell_index(pod: &mut Pod, index: i64) {
    let pair = ("batch.kubernetes.io/job-completion-index".to_owned(), index.to_string());
    pod.labels.push(pair.clone());
    pod.annotations.push(pair);
    let of_pod = &mut pod.spec;
    for key in ["initContainers", "containers"] {
        for one in of_pod.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let Some(one) = one.as_object_mut() else { continue };
            let env = one.entry("env").or_insert(Value::Null);
            if env.is_null() {
                *env = json!([]);
            }
            let known = |line: &Value| line["name"] == json!(INDEX);
            match env {
                Value::Array(lines) if !lines.iter().any(known) => {
                    lines.push(json!({ "name": INDEX, "value": index.to_string() }));
                }
                _ => {}
            }
        }
    }
}

/// The numbers of the next pods of a job.
pub(crate) fn next(job: &Job, pods: &BTreeMap<Number, Outcome>, count: i64) -> Vec<Number> {
    let Some(completions) = job.completions.filter(|_| job.indexed) else {
        let first = pods.keys().next_back().map_or(0, |last| last.index + 1);
        return (first..first + count).map(|index| Number { index, attempt: 0 }).collect();
    };
    let is_busy = |index: i64| {
        let of_index = Number { index, attempt: 0 }..=Number { index, attempt: i64::MAX };
        pods.range(of_index).any(|(_, one)| matches!(one, Outcome::Active | Outcome::Succeeded))
    };
    let attempt = |index: i64| {
        let of_index = Number { index, attempt: 0 }..=Number { index, attempt: i64::MAX };
        pods.range(of_index).next_back().map_or(0, |(last, _)| last.attempt + 1)
    };
    let free = (0..completions).filter(|index| !is_busy(*index));
    free.take(usize::try_from(count).unwrap_or(0))
        .map(|index| Number { index, attempt: attempt(index) })
        .collect()
}

/// What the keeper of a job or of a cron job reads.
#[derive(Serialize, Deserialize)]
struct Record<T> {
    what: T,
    /// The ConfigMaps and Secrets that its pods may name, and no others.
    documents: Vec<Value>,
}

fn record(what: &impl Serialize, job: &Job, manifests: &Manifests) -> Result<Value, String> {
    let text = job.pod.spec.to_string();
    let used = manifests.documents.iter().filter(|(name, _)| text.contains(&format!("{name:?}")));
    let documents = used.map(|(_, document)| document.clone()).collect();
    serde_json::to_value(Record { what, documents }).map_err(|error| error.to_string())
}

/// Reads a record back: the job or cron job, and its ConfigMaps and Secrets.
pub(crate) fn read<T: DeserializeOwned>(record: Value) -> Result<(T, Manifests), String> {
    let record: Record<T> = serde_json::from_value(record)
        .map_err(|error| format!("the record does not read: {error}"))?;
    let manifests = manifest::read(record.documents, &|name| Err(format!("{name} is not here")))?;
    Ok((record.what, manifests))
}

/// How a pod of a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Active,
    Succeeded,
    /// When, in seconds since 1970.
    Failed(i64),
    /// Failed after its containers were started again as often as they may.
    Exhausted,
}

/// What is to be done for a job next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// So many pods more.
    Start(i64),
    /// Something has to happen first, at the latest in so many seconds.
    Wait(Option<i64>),
    Succeeded,
    Failed(&'static str),
}

/// Decides; `started` is when the job was.
pub(crate) fn decide(job: &Job, pods: &[Outcome], started: i64, now: i64) -> Step {
    let count = |wanted: &dyn Fn(&Outcome) -> bool| {
        i64::try_from(pods.iter().filter(|one| wanted(one)).count()).unwrap_or(i64::MAX)
    };
    let succeeded = count(&|one| *one == Outcome::Succeeded);
    let active = count(&|one| *one == Outcome::Active);
    let failed = count(&|one| matches!(one, Outcome::Failed(_)));
    let enough = job.completions.map_or(succeeded > 0 && active == 0, |wanted| succeeded >= wanted);
    if enough {
        return Step::Succeeded;
    }
    if failed > job.backoff_limit || pods.contains(&Outcome::Exhausted) {
        return Step::Failed("BackoffLimitExceeded");
    }
    let left = job.deadline.map(|deadline| started.saturating_add(deadline) - now);
    if left.is_some_and(|left| left <= 0) {
        return Step::Failed("DeadlineExceeded");
    }
    let wanted = match job.completions {
        Some(completions) => job.parallelism.min(completions - succeeded),
        // One of them has seen that there is no work left.
        None if succeeded > 0 => 0,
        None => job.parallelism,
    };
    if wanted <= active {
        return Step::Wait(left);
    }
    let last = pods.iter().filter_map(|one| match one {
        Outcome::Failed(at) => Some(*at),
        Outcome::Active | Outcome::Succeeded | Outcome::Exhausted => None,
    });
    // Ten seconds after the first failure, and twice as long after each further one, up to six minutes.
    let delay = 10_i64.saturating_mul(1 << (failed - 1).clamp(0, 6)).min(360);
    let wait = last.max().map_or(0, |at| at + delay - now);
    if wait > 0 {
        return Step::Wait(Some(left.map_or(wait, |left| left.min(wait))));
    }
    Step::Start(wanted - active)
}

//! Jobs: as one pod where that is all there is to it, else with a keeper that makes pods until enough have succeeded.

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
    alone && once && by_engine && job.ttl.is_none() && job.deadline.is_none()
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

/// A pod of a job: the only one, or one with a number.
pub(crate) fn numbered(job: &Job, number: Option<u64>) -> Pod {
    let mut pod = job.pod.clone();
    pod.owner = format!("Job/{}", job.meta.name);
    pod.name = match number {
        Some(number) => format!("{}-{number}", job.meta.name),
        None => job.meta.name.clone(),
    };
    for key in [JOB_NAME, "batch.kubernetes.io/job-name"] {
        pod.labels.push((key.to_owned(), job.meta.name.clone()));
    }
    pod.restarts = Some(job.backoff_limit);
    pod
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

//! The keeper of a job.

use std::{collections::BTreeMap, pin::pin};

use ferry_cli::face::{Cli, CliError, Outcome as Ended};
use ferry_client::path_segment;
use ferry_docker_api::ContainerSummary;
use serde_json::{Value, json};

use super::{changes, now, seconds, wait};
use crate::{
    end,
    infra::{KEEPER, SIDECAR},
    jobs::{self, Outcome, Step},
    manifest::Manifests,
    plan::{self, OWNER, PARENT, POD},
    play::{Player, label},
    workload::Job,
};

/// Keeps a job until it has ended and, where it says so, for some time after that.
pub(super) async fn keep(cli: &Cli, record: Value) -> Ended {
    let (job, manifests, _) = jobs::read(record).map_err(CliError::new)?;
    let player = Player { cli, client: cli.client()? };
    let name = job.meta.name.clone();
    let changed = changes(player.client, format!("{OWNER}=Job/{name}"));
    let own = format!("/containers/{}/json", path_segment(&format!("{name}_job")));
    let started = loop {
        match player.client.get(&own).json::<Value>().await {
            Ok(it) => break seconds(&it, "/Created"),
            Err(_) => wait(&changed, Some(1)).await,
        }
    };
    let end = loop {
        match step(&player, &job, &manifests, "", started).await {
            Ok(Step::Succeeded) => break "succeeded".to_owned(),
            Ok(Step::Failed(why)) => break format!("failed: {why}"),
            Ok(Step::Start(_)) => {}
            Ok(Step::Wait(most)) => wait(&changed, most).await,
            Err(error) => {
                cli.warn(&format!("Job/{name}: {error}"));
                wait(&changed, Some(10)).await;
            }
        }
    };
    cli.println(&format!("Job/{name} {end}"))?;
    if let Some(ttl) = job.ttl {
        let mut left = pin!(tokio::time::sleep(std::time::Duration::from_secs(ttl.unsigned_abs())));
        (&mut left).await;
        let mut all = player.having(OWNER, &format!("Job/{name}")).await?;
        // This one ends itself with the last call.
        all.sort_by_key(|one| label(one, KEEPER) == "job");
        for one in &all {
            end::remove_one(&player, &one.id).await?;
        }
    }
    // It is not to be started again, also not with the machine.
    let path = format!("/containers/{}/update", path_segment(&format!("{name}_job")));
    let policy = json!({ "RestartPolicy": { "Name": "no" } });
    player.client.post(path).json_body(&policy).done().await?;
    Ok(u8::from(end != "succeeded"))
}

/// Looks at a job, and does what is next.
pub(super) async fn step(
    player: &Player<'_>,
    job: &Job,
    manifests: &Manifests,
    parent: &str,
    started: i64,
) -> Result<Step, CliError> {
    let pods = pods(player, job).await?;
    let outcomes: Vec<Outcome> = pods.values().map(|pod| pod.outcome).collect();
    let again = job.pod.spec["restartPolicy"] != json!("Never");
    let step = jobs::decide(job, &outcomes, again, started, now());
    for pod in pods.values() {
        // Sidecars and keepers of a pod end with what they are there for, and everything ends with a job that failed.
        let over = pod.outcome != Outcome::Active || matches!(step, Step::Failed(_));
        let left: Vec<ContainerSummary> =
            pod.all.iter().filter(|one| one.state == "running").cloned().collect();
        if over && !left.is_empty() {
            stop(player, &left).await?;
        }
    }
    if let Step::Start(count) = step {
        let first = pods.keys().max().map_or(0, |last| last + 1);
        for (number, _) in (first..).zip(0..count) {
            let mut pod = jobs::numbered(job, Some(number));
            parent.clone_into(&mut pod.parent);
            let mut notices = Vec::new();
            let plan = plan::plan(&pod, manifests, &mut notices).map_err(CliError::new)?;
            player.cli.println(&format!("Job/{}: pod {}", job.meta.name, pod.name))?;
            player.bring_all(&plan).await?;
            player.start(&plan).await?;
        }
    }
    Ok(step)
}

/// Stops what is left of a pod, the keeper last. Everything stays to be looked at.
async fn stop(player: &Player<'_>, left: &[ContainerSummary]) -> Result<(), CliError> {
    let mut left: Vec<&ContainerSummary> = left.iter().collect();
    left.sort_by_key(|one| (!label(one, KEEPER).is_empty(), label(one, SIDECAR) == "1"));
    for one in left {
        let path = format!("/containers/{}/stop", path_segment(&one.id));
        player.client.post(path).done().await?;
    }
    Ok(())
}

/// A pod of a job as it is there.
struct There {
    outcome: Outcome,
    all: Vec<ContainerSummary>,
}

/// The pods of a job, by their numbers.
async fn pods(player: &Player<'_>, job: &Job) -> Result<BTreeMap<u64, There>, CliError> {
    let mut pods: BTreeMap<u64, Vec<ContainerSummary>> = BTreeMap::new();
    let owner = format!("Job/{}", job.meta.name);
    for one in player.having(OWNER, &owner).await? {
        let number = label(&one, POD).strip_prefix(&format!("{}-", job.meta.name));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            pods.entry(number).or_default().push(one);
        }
    }
    let names = |key: &str| -> Vec<String> {
        let list = job.pod.spec.get(key).and_then(Value::as_array);
        let names = list.into_iter().flatten().filter_map(|one| one.get("name")?.as_str());
        names.map(str::to_owned).collect()
    };
    let (mains, inits) = (names("containers"), names("initContainers"));
    let mut all = BTreeMap::new();
    for (number, there) in pods {
        // Its start was interrupted: nobody goes on with it.
        let whole =
            there.iter().filter(|one| mains.iter().any(|main| main == label(one, plan::CONTAINER)));
        let outcome = outcome(player, &there, &mains, &inits).await?;
        if whole.count() < mains.len() && outcome == Outcome::Active {
            end::remove(player, &there).await?;
            continue;
        }
        all.insert(number, There { outcome, all: there });
    }
    Ok(all)
}

/// Succeeded when every container has, failed when one has and will not be started again.
async fn outcome(
    player: &Player<'_>,
    there: &[ContainerSummary],
    mains: &[String],
    inits: &[String],
) -> Result<Outcome, CliError> {
    let mut succeeded = 0;
    let mut failed = None;
    for one in there {
        let name = label(one, plan::CONTAINER).to_owned();
        let is_main = mains.contains(&name);
        if !is_main && (!inits.contains(&name) || label(one, SIDECAR) == "1") {
            continue;
        }
        let path = format!("/containers/{}/json", path_segment(&one.id));
        let it: Value = player.client.get(path).json().await?;
        if it.pointer("/State/Status") != Some(&json!("exited")) {
            continue;
        }
        match it.pointer("/State/ExitCode").and_then(Value::as_i64) {
            Some(0) => succeeded += usize::from(is_main),
            _ => failed = failed.max(Some(seconds(&it, "/State/FinishedAt"))),
        }
    }
    Ok(match failed {
        _ if succeeded == mains.len() => Outcome::Succeeded,
        Some(at) => Outcome::Failed(at),
        None => Outcome::Active,
    })
}

/// Removes a job with everything that it made.
pub(super) async fn remove(player: &Player<'_>, name: &str) -> Result<(), CliError> {
    end::everything(player, &format!("Job/{name}")).await.map(drop)
}

/// Jobs that an object has made, by what is there of them.
pub(super) async fn made_by(player: &Player<'_>, parent: &str) -> Result<Vec<String>, CliError> {
    let all = player.having(PARENT, parent).await?;
    let owners = all.iter().filter_map(|one| label(one, OWNER).strip_prefix("Job/"));
    let mut names: Vec<String> = owners.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

//! The keeper of a job.

use std::{collections::BTreeMap, time::Duration};

use ferry_cli::face::{Cli, CliError, Outcome as Ended};
use ferry_client::path_segment;
use ferry_docker_api::ContainerSummary;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Changes, now, seconds, starts::Starts, state};
use crate::{
    end, fill,
    infra::{KEEPER, SIDECAR},
    jobs::{self, Number, Outcome, Step},
    manifest::Manifests,
    plan::{self, CONTAINER, OWNER, PARENT, POD},
    play::{Player, label},
    workload::Job,
};

/// Until what did not work is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// How a job has ended, once it has.
#[derive(Debug, Serialize, Deserialize)]
struct Over {
    words: String,
    at: i64,
}

/// Keeps a job until it has ended and, where it says so, for some time after that.
pub(super) async fn keep(cli: &Cli, record: Value) -> Ended {
    let (job, manifests): (Job, Manifests) = jobs::read(record).map_err(CliError::new)?;
    let player = Player { cli, client: cli.client()? };
    let (name, own) = (&job.meta.name, format!("{}_job", job.meta.name));
    let mut starts = Starts::default();
    let over = match state::load()? {
        Some(over) => over,
        None => {
            let words = until_end(&player, &job, &manifests, &own, &mut starts).await?;
            let over = Over { words, at: now() };
            state::save(&over)?;
            cli.println(&format!("Job/{name} {}", over.words))?;
            over
        }
    };
    while let Err(error) = end_all(&player, name, &mut starts).await {
        cli.warn(&format!("Job/{name}: {error}"));
        tokio::time::sleep(AGAIN).await;
    }
    if let Some(ttl) = job.ttl {
        let left = over.at.saturating_add(ttl) - now();
        tokio::time::sleep(Duration::from_secs(u64::try_from(left).unwrap_or(0))).await;
        let owner = format!("Job/{name}");
        let mut all = player.having(OWNER, &owner).await?;
        all.retain(|one| !end::makes_more(one));
        end::remove(&player, &all).await?;
        fill::remove_own(&player, &owner, None).await?;
        // This one ends itself with the last call.
        end::remove_one(&player, &own).await?;
    }
    // It is not to be started again, also not with the machine.
    let path = format!("/containers/{}/update", path_segment(&own));
    let policy = json!({ "RestartPolicy": { "Name": "no" } });
    player.client.post(path).json_body(&policy).done().await?;
    Ok(u8::from(over.words != "succeeded"))
}

/// Makes pods until there is nothing more to be done; how it has ended.
async fn until_end<'c>(
    player: &Player<'c>,
    job: &Job,
    manifests: &Manifests,
    own: &str,
    starts: &mut Starts<'c>,
) -> Result<String, CliError> {
    let name = &job.meta.name;
    let mut changed = Changes::of(player.client, format!("{OWNER}=Job/{name}"));
    let own = format!("/containers/{}/json", path_segment(own));
    let started = loop {
        match player.client.get(&own).json::<Value>().await {
            Ok(it) => break seconds(&it, "/Created"),
            Err(_) => changed.wait(Some(1)).await,
        }
    };
    loop {
        let most = match step(player, job, manifests, "", started, starts).await {
            Ok(Step::Succeeded) => return Ok("succeeded".to_owned()),
            Ok(Step::Failed(why)) => return Ok(format!("failed: {why}")),
            Ok(Step::Start(_)) => continue,
            Ok(Step::Wait(most)) => most,
            Err(error) => {
                player.cli.warn(&format!("Job/{name}: {error}"));
                Some(10)
            }
        };
        starts.meanwhile(player.cli, changed.wait(most)).await;
    }
}

/// Looks at a job, and does what is next. What runs of one that is over is for [`end_all`], once its verdict is kept: programs that
/// are ended leave other exit codes than those that it was made of.
pub(super) async fn step<'c>(
    player: &Player<'c>,
    job: &Job,
    manifests: &Manifests,
    parent: &str,
    started: i64,
    starts: &mut Starts<'c>,
) -> Result<Step, CliError> {
    let name = &job.meta.name;
    let pods = pods(player, job, starts).await?;
    let outcomes: Vec<Outcome> = pods.values().map(|pod| pod.outcome).collect();
    let step = match (jobs::decide(job, &outcomes, started, now()), starts.rest(name)) {
        (Step::Start(_), Some(rest)) => {
            let left = job.deadline.map(|deadline| started.saturating_add(deadline) - now());
            Step::Wait(Some(left.map_or(rest, |left| left.min(rest))))
        }
        (step, _) => step,
    };
    if matches!(step, Step::Succeeded | Step::Failed(_)) {
        return Ok(step);
    }
    for pod in pods.values() {
        // Sidecars and keepers of a pod end with what they are there for.
        if pod.outcome != Outcome::Active {
            stop(player, &pod.all).await?;
        }
    }
    if let Step::Start(count) = step {
        let there = pods.iter().map(|(number, pod)| (*number, pod.outcome)).collect();
        for number in jobs::next(job, &there, count) {
            let mut pod = jobs::numbered(job, Some(number));
            parent.clone_into(&mut pod.parent);
            let mut notices = Vec::new();
            let plan = plan::plan(&pod, manifests, &mut notices).map_err(CliError::new)?;
            player.cli.println(&format!("Job/{name}: pod {}", pod.name))?;
            starts.add(*player, name, plan);
        }
    }
    Ok(step)
}

/// Ends everything of a job, also what is on its way: it ends with its containers.
pub(super) async fn end_all<'c>(
    player: &Player<'c>,
    job: &str,
    starts: &mut Starts<'c>,
) -> Result<(), CliError> {
    starts.give_up(job);
    loop {
        let mut all = player.having(OWNER, &format!("Job/{job}")).await?;
        all.retain(|one| !end::makes_more(one));
        stop(player, &all).await?;
        if starts.of(job).next().is_none() {
            return Ok(());
        }
        starts.meanwhile(player.cli, tokio::time::sleep(Duration::from_millis(100))).await;
    }
}

/// Stops what still runs of pods, the keepers last. Everything stays to be looked at.
async fn stop(player: &Player<'_>, all: &[ContainerSummary]) -> Result<(), CliError> {
    let runs = |one: &&ContainerSummary| matches!(one.state.as_str(), "running" | "restarting");
    let left: Vec<ContainerSummary> = all.iter().filter(runs).cloned().collect();
    end::stop_all(player, &left).await?;
    for keeper in left.into_iter().filter(|one| !label(one, KEEPER).is_empty()) {
        end::stop(player.client.clone(), keeper, None).await?;
    }
    Ok(())
}

/// A pod of a job as it is there.
struct There {
    outcome: Outcome,
    all: Vec<ContainerSummary>,
}

/// The pods of a job, by their numbers.
async fn pods(
    player: &Player<'_>,
    job: &Job,
    starts: &Starts<'_>,
) -> Result<BTreeMap<Number, There>, CliError> {
    let name = &job.meta.name;
    let number = |pod: &str| Number::parse(pod.strip_prefix(name.as_str())?.strip_prefix('-')?);
    let mut pods: BTreeMap<Number, Vec<ContainerSummary>> = BTreeMap::new();
    for one in player.having(OWNER, &format!("Job/{name}")).await? {
        if let Some(number) = number(label(&one, POD)) {
            pods.entry(number).or_default().push(one);
        }
    }
    let on_their_way: Vec<Number> = starts.of(name).filter_map(number).collect();
    for number in &on_their_way {
        pods.entry(*number).or_default();
    }
    let mut all = BTreeMap::new();
    for (number, there) in pods {
        let outcome = outcome(player, job, &there).await?;
        if outcome == Outcome::Active && !on_their_way.contains(&number) && !is_whole(job, &there) {
            // Its start was interrupted: nobody goes on with it.
            let pod = there.first().map(|one| label(one, POD));
            end::remove(player, &there).await?;
            fill::remove_own(player, &format!("Job/{name}"), pod).await?;
            continue;
        }
        all.insert(number, There { outcome, all: there });
    }
    Ok(all)
}

/// Names of containers of a job's pods, of one kind.
fn names<'j>(job: &'j Job, key: &str) -> Vec<&'j str> {
    let list = job.pod.spec.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|one| one.get("name")?.as_str()).collect()
}

fn is_whole(job: &Job, there: &[ContainerSummary]) -> bool {
    let mut mains = names(job, "containers").into_iter();
    let is_there = |one: &ContainerSummary, main: &str| {
        label(one, CONTAINER) == main && one.state != "created"
    };
    mains.all(|main| there.iter().any(|one| is_there(one, main)))
}

/// Succeeded when every container has, failed when one has and will not be started again.
async fn outcome(
    player: &Player<'_>,
    job: &Job,
    there: &[ContainerSummary],
) -> Result<Outcome, CliError> {
    let (mains, inits) = (names(job, "containers"), names(job, "initContainers"));
    // The engine has started it again as often as it may.
    let again = job.pod.spec["restartPolicy"] != json!("Never");
    let mut succeeded = 0;
    let mut failed = None;
    for one in there {
        let name = label(one, CONTAINER);
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
            _ if is_main && again => return Ok(Outcome::Exhausted),
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
pub(super) async fn remove<'c>(
    player: &Player<'c>,
    name: &str,
    starts: &mut Starts<'c>,
) -> Result<(), CliError> {
    end_all(player, name, starts).await?;
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

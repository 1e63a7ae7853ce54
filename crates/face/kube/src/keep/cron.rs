//! The keeper of a cron job: starts jobs on their schedule, and looks after them.

use ferry_cli::face::{Cli, CliError, Outcome};
use serde_json::{Value, json};

use super::{changes, job, now, wait};
use crate::{
    cron::{Due, due, schedule::Schedule, zone::Zone},
    jobs::{self, Step},
    manifest::Manifests,
    plan::PARENT,
    play::Player,
    workload::{CronJob, Job},
};

/// What is known of the past.
const STATE: &str = "/state.json";

/// A job that was started.
#[derive(Debug, Clone)]
struct Started {
    name: String,
    at: i64,
    /// `None` while it runs.
    succeeded: Option<bool>,
}

/// Everything between two looks.
#[derive(Debug)]
struct State {
    /// The last time that was dealt with.
    last: i64,
    jobs: Vec<Started>,
}

/// Keeps a cron job until it is removed.
pub(super) async fn keep(cli: &Cli, record: Value) -> Outcome {
    let (job, manifests, cron) = jobs::read(record).map_err(CliError::new)?;
    let cron = cron.ok_or_else(|| CliError::new("the record has no schedule"))?;
    let schedule = Schedule::parse(&cron.schedule).map_err(CliError::new)?;
    let zone = match cron.zone.as_str() {
        "" => Zone::utc(),
        text => Zone::of_text(text).ok_or_else(|| CliError::new("the record has no time zone"))?,
    };
    let player = Player { cli, client: cli.client()? };
    let name = job.meta.name.clone();
    let parent = format!("CronJob/{name}");
    let changed = changes(player.client, format!("{PARENT}={parent}"));
    let mut state = State::load();
    state.save()?;
    let keeper = Keeper { player, cron, manifests, parent };
    loop {
        let now = now();
        let mut most = None;
        if !keeper.cron.suspended {
            match due(&schedule, &zone, state.last, now, keeper.cron.patience) {
                Due::Later(at) => most = at.map(|at| at - now),
                Due::Missed(at) => {
                    cli.println(&format!("{}: a start was missed by too long", keeper.parent))?;
                    state.last = at;
                    state.save()?;
                    continue;
                }
                Due::Now(at) => keeper.begin(&mut state, at).await?,
            }
        }
        match keeper.look_after(&mut state).await {
            Ok(soonest) => most = [most, soonest].into_iter().flatten().min(),
            Err(error) => {
                cli.warn(&format!("{}: {error}", keeper.parent));
                most = Some(most.map_or(10, |most| most.min(10)));
            }
        }
        state.save()?;
        wait(&changed, most).await;
    }
}

struct Keeper<'c> {
    player: Player<'c>,
    cron: CronJob,
    manifests: Manifests,
    parent: String,
}

impl Keeper<'_> {
    /// It is time for a job; what runs still may be in its way.
    async fn begin(&self, state: &mut State, at: i64) -> Result<(), CliError> {
        state.last = at;
        let running = state.jobs.iter().any(|job| job.succeeded.is_none());
        match self.cron.policy.as_str() {
            "Forbid" if running => {
                self.player
                    .cli
                    .println(&format!("{}: not started, the last job runs still", self.parent))?;
                return state.save();
            }
            "Replace" => {
                for job in state.jobs.iter().filter(|job| job.succeeded.is_none()) {
                    job::remove(&self.player, &job.name).await?;
                }
                state.jobs.retain(|job| job.succeeded.is_some());
            }
            _ => {}
        }
        // The minute is in its name, as in a cluster: twice the same time is the same job.
        let name = format!("{}-{}", self.cron.job.meta.name, at.div_euclid(60));
        if !state.jobs.iter().any(|job| job.name == name) {
            state.jobs.push(Started { name, at: now(), succeeded: None });
        }
        // Before it is started, so that a crash does not forget it.
        state.save()
    }

    /// Looks after jobs, and removes those that nobody wants to see any more. When to look again.
    async fn look_after(&self, state: &mut State) -> Result<Option<i64>, CliError> {
        let mut most: Option<i64> = None;
        for started in state.jobs.iter_mut().filter(|job| job.succeeded.is_none()) {
            let mut job = self.job(&started.name);
            job.meta.name.clone_from(&started.name);
            loop {
                match job::step(&self.player, &job, &self.manifests, &self.parent, started.at)
                    .await?
                {
                    Step::Start(_) => {}
                    Step::Wait(wait) => {
                        most = [most, wait].into_iter().flatten().min();
                        break;
                    }
                    Step::Succeeded => {
                        started.succeeded = Some(true);
                        self.player.cli.println(&format!("Job/{} succeeded", started.name))?;
                        break;
                    }
                    Step::Failed(why) => {
                        started.succeeded = Some(false);
                        self.player.cli.println(&format!("Job/{} failed: {why}", started.name))?;
                        break;
                    }
                }
            }
        }
        for (kind, kept) in [(true, self.cron.kept.0), (false, self.cron.kept.1)] {
            let ended: Vec<String> = state
                .jobs
                .iter()
                .filter(|job| job.succeeded == Some(kind))
                .map(|job| job.name.clone())
                .collect();
            let surplus = ended.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
            for name in ended.into_iter().take(surplus) {
                job::remove(&self.player, &name).await?;
                state.jobs.retain(|job| job.name != name);
            }
        }
        self.forget(state).await?;
        Ok(most)
    }

    /// Jobs that live on for a given time only, and jobs of which nothing is known any more.
    async fn forget(&self, state: &mut State) -> Result<(), CliError> {
        if let Some(ttl) = self.cron.job.ttl {
            let old = |job: &&Started| job.succeeded.is_some() && job.at + ttl < now();
            for name in
                state.jobs.iter().filter(old).map(|job| job.name.clone()).collect::<Vec<_>>()
            {
                job::remove(&self.player, &name).await?;
                state.jobs.retain(|job| job.name != name);
            }
        }
        for name in job::made_by(&self.player, &self.parent).await? {
            if !state.jobs.iter().any(|job| job.name == name) {
                job::remove(&self.player, &name).await?;
            }
        }
        Ok(())
    }

    fn job(&self, name: &str) -> Job {
        let mut job = self.cron.job.clone();
        name.clone_into(&mut job.meta.name);
        job
    }
}

impl State {
    /// The state that was saved; without one nothing was missed yet.
    fn load() -> State {
        let text = std::fs::read_to_string(STATE).unwrap_or_default();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        let jobs = value["jobs"].as_array().into_iter().flatten().filter_map(|job| {
            Some(Started {
                name: job["name"].as_str()?.to_owned(),
                at: job["at"].as_i64()?,
                succeeded: job["succeeded"].as_bool(),
            })
        });
        State { last: value["last"].as_i64().unwrap_or_else(now), jobs: jobs.collect() }
    }

    /// All of it or nothing.
    fn save(&self) -> Result<(), CliError> {
        let jobs: Vec<Value> = self
            .jobs
            .iter()
            .map(|job| json!({ "name": job.name, "at": job.at, "succeeded": job.succeeded }))
            .collect();
        let text = json!({ "last": self.last, "jobs": jobs }).to_string();
        let new = format!("{STATE}.new");
        let saved = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, STATE));
        saved.map_err(|error| CliError::new(format!("cannot write {STATE}: {error}")))
    }
}

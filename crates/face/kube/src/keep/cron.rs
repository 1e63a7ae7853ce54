//! The keeper of a cron job: starts jobs on their schedule, and looks after them.

use ferry_cli::face::{Cli, CliError, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Changes, job, now, starts::Starts, state};
use crate::{
    cron::{Due, due, schedule::Schedule, zone::Zone},
    jobs::{self, Step},
    manifest::Manifests,
    plan::PARENT,
    play::Player,
    workload::{CronJob, Job},
};

/// Seconds until what did not work is tried again.
const AGAIN: i64 = 10;

/// A job that was started.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Started {
    name: String,
    at: i64,
    /// When, and whether it succeeded; `None` before that is known.
    ended: Option<(i64, bool)>,
    /// It is over, and not all that it left has been ended.
    #[serde(default)]
    is_ending: bool,
}

impl Started {
    fn runs(&self) -> bool {
        self.ended.is_none() || self.is_ending
    }
}

/// Everything between two looks.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    /// The last time that was dealt with.
    last: i64,
    jobs: Vec<Started>,
}

/// Keeps a cron job until it is removed.
pub(super) async fn keep(cli: &Cli, record: Value) -> Outcome {
    let (cron, manifests): (CronJob, Manifests) = jobs::read(record).map_err(CliError::new)?;
    let schedule = Schedule::parse(&cron.schedule).map_err(CliError::new)?;
    let zone = match cron.zone.as_str() {
        "" => Zone::utc(),
        text => Zone::of_text(text).ok_or_else(|| CliError::new("the record has no time zone"))?,
    };
    let player = Player { cli, client: cli.client()? };
    let parent = format!("CronJob/{}", cron.job.meta.name);
    let mut changed = Changes::of(player.client, format!("{PARENT}={parent}"));
    // Without a past nothing was missed yet.
    let mut state = state::load()?.unwrap_or_else(|| State { last: now(), jobs: Vec::new() });
    state::save(&state)?;
    let mut starts = Starts::default();
    let keeper = Keeper { player, cron, manifests, parent };
    loop {
        let mut next = None;
        if !keeper.cron.suspended {
            match due(&schedule, &zone, state.last, now(), keeper.cron.patience) {
                Due::Later(at) => next = at,
                Due::Missed(at) => {
                    cli.println(&format!("{}: a start was missed by too long", keeper.parent))?;
                    state.last = at;
                    state::save(&state)?;
                    continue;
                }
                Due::Now(at) => {
                    if let Err(error) = keeper.begin(&mut state, &mut starts, at).await {
                        cli.warn(&format!("{}: {error}", keeper.parent));
                        next = Some(now() + AGAIN);
                    }
                }
            }
        }
        let soonest = keeper.look_after(&mut state, &mut starts).await.unwrap_or_else(|error| {
            cli.warn(&format!("{}: {error}", keeper.parent));
            Some(AGAIN)
        });
        state::save(&state)?;
        // All of this may have taken a while.
        let rest = next.map(|at| (at - now()).max(0));
        let most = [rest, soonest].into_iter().flatten().min();
        starts.meanwhile(cli, changed.wait(most)).await;
    }
}

struct Keeper<'c> {
    player: Player<'c>,
    cron: CronJob,
    manifests: Manifests,
    parent: String,
}

impl<'c> Keeper<'c> {
    /// It is time for a job; what runs still may be in its way.
    async fn begin(
        &self,
        state: &mut State,
        starts: &mut Starts<'c>,
        at: i64,
    ) -> Result<(), CliError> {
        let running = state.jobs.iter().any(Started::runs);
        match self.cron.policy.as_str() {
            "Forbid" if running => {
                self.player
                    .cli
                    .println(&format!("{}: not started, the last job runs still", self.parent))?;
                state.last = at;
                return state::save(state);
            }
            "Replace" => {
                for job in state.jobs.iter().filter(|job| job.runs()) {
                    job::remove(&self.player, &job.name, starts).await?;
                }
                state.jobs.retain(|job| !job.runs());
            }
            _ => {}
        }
        // The minute is in its name, as in a cluster: twice the same time is the same job.
        let name = format!("{}-{}", self.cron.job.meta.name, at.div_euclid(60));
        if !state.jobs.iter().any(|job| job.name == name) {
            state.jobs.push(Started { name, at: now(), ended: None, is_ending: false });
        }
        state.last = at;
        // Before it is started, so that a crash does not forget it.
        state::save(state)
    }

    /// Looks after jobs, and removes those that nobody wants to see any more. When to look again.
    async fn look_after(
        &self,
        state: &mut State,
        starts: &mut Starts<'c>,
    ) -> Result<Option<i64>, CliError> {
        let mut soonest = None;
        for index in 0..state.jobs.len() {
            if state.jobs[index].ended.is_none()
                && let Some(succeeded) = self.step(&state.jobs[index], starts, &mut soonest).await?
            {
                let started = &mut state.jobs[index];
                (started.ended, started.is_ending) = (Some((now(), succeeded)), true);
                // Before anything is ended for it: a crash in between must not find other exit codes.
                state::save(state)?;
            }
            let started = &mut state.jobs[index];
            if started.is_ending {
                match job::end_all(&self.player, &started.name, starts).await {
                    Ok(()) => started.is_ending = false,
                    Err(error) => self.try_again(&started.name, &error, &mut soonest),
                }
            }
        }
        for (kind, kept) in [(true, self.cron.kept.0), (false, self.cron.kept.1)] {
            let ended: Vec<String> = state
                .jobs
                .iter()
                .filter(|job| job.ended.is_some_and(|(_, succeeded)| succeeded == kind))
                .map(|job| job.name.clone())
                .collect();
            let surplus = ended.len().saturating_sub(usize::try_from(kept).unwrap_or(0));
            for name in ended.into_iter().take(surplus) {
                job::remove(&self.player, &name, starts).await?;
                state.jobs.retain(|job| job.name != name);
            }
        }
        sooner(&mut soonest, self.forget(state, starts).await?);
        Ok(soonest)
    }

    /// Does what is next for a job; whether it succeeded, once that is known.
    async fn step(
        &self,
        started: &Started,
        starts: &mut Starts<'c>,
        soonest: &mut Option<i64>,
    ) -> Result<Option<bool>, CliError> {
        let Keeper { player, manifests, parent, .. } = self;
        let (name, job) = (&started.name, self.job(&started.name));
        let (succeeded, words) = loop {
            match job::step(player, &job, manifests, parent, started.at, starts).await {
                Err(error) => {
                    self.try_again(name, &error, soonest);
                    return Ok(None);
                }
                Ok(Step::Start(_)) => {}
                Ok(Step::Wait(wait)) => {
                    sooner(soonest, wait);
                    return Ok(None);
                }
                Ok(Step::Succeeded) => break (true, "succeeded".to_owned()),
                Ok(Step::Failed(why)) => break (false, format!("failed: {why}")),
            }
        };
        player.cli.println(&format!("Job/{name} {words}"))?;
        Ok(Some(succeeded))
    }

    /// The others are looked after all the same.
    fn try_again(&self, name: &str, error: &CliError, soonest: &mut Option<i64>) {
        self.player.cli.warn(&format!("Job/{name}: {error}"));
        sooner(soonest, Some(AGAIN));
    }

    /// Jobs that live on for a given time only, and jobs of which nothing is known any more. When the next one goes.
    async fn forget(
        &self,
        state: &mut State,
        starts: &mut Starts<'c>,
    ) -> Result<Option<i64>, CliError> {
        let mut soonest = None;
        if let Some(ttl) = self.cron.job.ttl {
            let (gone, next) = expired(&state.jobs, ttl, now());
            soonest = next;
            for name in gone {
                job::remove(&self.player, &name, starts).await?;
                state.jobs.retain(|job| job.name != name);
            }
        }
        for name in job::made_by(&self.player, &self.parent).await? {
            if !state.jobs.iter().any(|job| job.name == name) {
                job::remove(&self.player, &name, starts).await?;
            }
        }
        Ok(soonest)
    }

    fn job(&self, name: &str) -> Job {
        let mut job = self.cron.job.clone();
        name.clone_into(&mut job.meta.name);
        job
    }
}

/// Something is to be done in so many seconds, if in any.
fn sooner(soonest: &mut Option<i64>, left: Option<i64>) {
    *soonest = [*soonest, left].into_iter().flatten().min();
}

/// Jobs that ended so many seconds ago, and when the next one will have.
fn expired(jobs: &[Started], ttl: i64, now: i64) -> (Vec<String>, Option<i64>) {
    let mut gone = Vec::new();
    let mut soonest = None;
    for job in jobs {
        let Some((ended, _)) = job.ended else { continue };
        match ended.saturating_add(ttl) - now {
            left if left > 0 => soonest = Some(soonest.map_or(left, |other: i64| other.min(left))),
            _ => gone.push(job.name.clone()),
        }
    }
    (gone, soonest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_job_begins_with_its_end() {
        let job =
            |name: &str, at, ended| Started { name: name.to_owned(), at, ended, is_ending: false };
        let jobs = [
            job("long", 0, Some((100, true))),
            job("short", 0, Some((5, false))),
            job("runs", 0, None),
        ];
        assert_eq!(expired(&jobs, 10, 14), (Vec::new(), Some(1)));
        assert_eq!(expired(&jobs, 10, 15), (vec!["short".to_owned()], Some(95)));
        assert_eq!(expired(&jobs, 10, 110).0, ["long", "short"]);
        assert_eq!(expired(&jobs[2..], 0, 1000), (Vec::new(), None));
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let state = State {
            last: 7,
            jobs: vec![Started {
                name: "a-1".to_owned(),
                at: 5,
                ended: Some((6, true)),
                is_ending: true,
            }],
        };
        let text = serde_json::to_string(&state).unwrap();
        let read: State = serde_json::from_str(&text).unwrap();
        assert_eq!((read.last, read.jobs[0].ended), (7, Some((6, true))));
        assert!(read.jobs[0].runs(), "what it has left is still to be ended");
        // Those who kept no such thing had ended all of it.
        let old: State = serde_json::from_str(&text.replace(",\"is_ending\":true", "")).unwrap();
        assert!(text.contains("is_ending") && !old.jobs[0].runs());
    }
}

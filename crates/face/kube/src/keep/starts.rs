//! Pods that are being started: init containers take their time, and meanwhile there is more to look at.

use std::{cell::Cell, collections::BTreeMap, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use ferry_cli::face::{Cli, CliError};

use super::now;
use crate::{plan::PodPlan, play::Player, together::Others};

/// Seconds until something is tried again that did not start.
const AGAIN: i64 = 10;

type Work<'c> = Pin<Box<dyn Future<Output = Result<(), CliError>> + 'c>>;

/// All of them.
#[derive(Default)]
pub(super) struct Starts<'c> {
    running: Vec<Start<'c>>,
    /// Jobs of which something did not start, and when it may be tried again.
    later: BTreeMap<String, i64>,
}

struct Start<'c> {
    job: String,
    pod: String,
    /// It makes containers.
    begun: Rc<Cell<bool>>,
    work: Work<'c>,
}

impl<'c> Starts<'c> {
    /// Begins with a pod of a job; nothing comes of it before it is waited for.
    pub(super) fn add(&mut self, player: Player<'c>, job: &str, plan: PodPlan) {
        let begun = Rc::new(Cell::new(false));
        let (pod, begins) = (plan.name.clone(), Rc::clone(&begun));
        let work = Box::pin(async move {
            player.bring_all(&plan).await?;
            begins.set(true);
            player.start(&plan, &Others::none()).await.map(drop)
        });
        self.running.push(Start { job: job.to_owned(), pod, begun, work });
    }

    /// The pods of a job that are on their way.
    pub(super) fn of<'s>(&'s self, job: &'s str) -> impl Iterator<Item = &'s str> {
        self.running.iter().filter(move |one| one.job == job).map(|one| one.pod.as_str())
    }

    /// Seconds until something of a job may be started.
    pub(super) fn rest(&self, job: &str) -> Option<i64> {
        Some(self.later.get(job)? - now()).filter(|rest| *rest > 0)
    }

    /// Gives up pods of a job that wait for their images. Others make containers at this moment, and end when those do.
    pub(super) fn give_up(&mut self, job: &str) {
        self.running.retain(|one| one.job != job || one.begun.get());
    }

    /// Goes on with all of them until one has ended or `until` is there.
    pub(super) async fn meanwhile(&mut self, cli: &Cli, until: impl Future<Output = ()>) {
        let (start, ended) = tokio::select! {
            () = until => return,
            ended = self.next() => ended,
        };
        if let Err(error) = ended {
            cli.warn(&format!("Job/{}: pod {}: {error}", start.job, start.pod));
            self.put_off(start.job, now());
        }
    }

    /// Holds off further starts of a job for a while, and of no other one.
    fn put_off(&mut self, job: String, now: i64) {
        self.later.retain(|_, later| *later > now);
        self.later.insert(job, now + AGAIN);
    }

    /// The next one that has ended; for ever when there is none.
    async fn next(&mut self) -> (Start<'c>, Result<(), CliError>) {
        poll_fn(|context| {
            for index in 0..self.running.len() {
                if let Poll::Ready(ended) = self.running[index].work.as_mut().poll(context) {
                    return Poll::Ready((self.running.swap_remove(index), ended));
                }
            }
            Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_cannot_start_holds_off_no_other_one() {
        let mut starts = Starts::default();
        let now = now();
        starts.put_off("old".to_owned(), now - 2 * AGAIN);
        assert_eq!(starts.rest("old"), None, "that is over");
        starts.put_off("broken".to_owned(), now);
        assert!(starts.rest("broken").is_some_and(|rest| (1..=AGAIN).contains(&rest)));
        assert_eq!(starts.rest("other"), None);
        assert_eq!(starts.later.len(), 1, "nothing is kept of what is over");
    }
}

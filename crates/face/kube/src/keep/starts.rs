//! Pods that are being started: init containers take their time, and meanwhile there is more to look at.

use std::{cell::Cell, future::poll_fn, pin::Pin, rc::Rc, task::Poll};

use ferry_cli::face::{Cli, CliError};

use super::now;
use crate::{plan::PodPlan, play::Player};

/// Seconds until something is tried again that did not start.
const AGAIN: i64 = 10;

type Work<'c> = Pin<Box<dyn Future<Output = Result<(), CliError>> + 'c>>;

/// All of them.
#[derive(Default)]
pub(super) struct Starts<'c> {
    running: Vec<Start<'c>>,
    /// Nothing is started before this.
    later: i64,
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
            player.start(&plan).await
        });
        self.running.push(Start { job: job.to_owned(), pod, begun, work });
    }

    /// The pods of a job that are on their way.
    pub(super) fn of<'s>(&'s self, job: &'s str) -> impl Iterator<Item = &'s str> {
        self.running.iter().filter(move |one| one.job == job).map(|one| one.pod.as_str())
    }

    /// Seconds until something may be started.
    pub(super) fn rest(&self) -> Option<i64> {
        Some(self.later - now()).filter(|rest| *rest > 0)
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
            self.later = now() + AGAIN;
        }
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

//! Pods that are being started: init containers take their time, and meanwhile there is more to look at.

use std::{future::poll_fn, pin::Pin, task::Poll};

use ferry_cli::face::{Cli, CliError};

use super::now;

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
    work: Work<'c>,
}

impl<'c> Starts<'c> {
    pub(super) fn add(
        &mut self,
        job: &str,
        pod: &str,
        work: impl Future<Output = Result<(), CliError>> + 'c,
    ) {
        self.running.push(Start { job: job.to_owned(), pod: pod.to_owned(), work: Box::pin(work) });
    }

    /// The pods of a job that are on their way.
    pub(super) fn of<'s>(&'s self, job: &'s str) -> impl Iterator<Item = &'s str> {
        self.running.iter().filter(move |one| one.job == job).map(|one| one.pod.as_str())
    }

    /// Seconds until something may be started.
    pub(super) fn rest(&self) -> Option<i64> {
        Some(self.later - now()).filter(|rest| *rest > 0)
    }

    /// Gives up what is on its way for a job.
    pub(super) fn give_up(&mut self, job: &str) {
        self.running.retain(|one| one.job != job);
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

//! Between registries: rules by which chosen images of another one come here on a schedule (`--mirror`), and by which what is pushed
//! here goes to another one (`--replicate`).
//!
//! A rule works on its own, tries again what failed, and says how it stands: in the log, on the first page, to `registry rules`.

mod mirror;
mod replicate;
mod text;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ferry_registry_store::now;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use self::{
    mirror::Mirror,
    replicate::Replica,
    text::{MirrorRule, ReplicateRule},
};

/// After the first failure; each further wait is twice as long, and none is longer than the second.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a rule stands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// `mirror` or `replicate`.
    pub(crate) kind: String,
    /// As the user wrote it.
    pub(crate) rule: String,
    /// Images and what is about them that travelled since the server began.
    pub(crate) done: u64,
    /// What is to travel still, as far as that is known.
    pub(crate) waiting: u64,
    /// When everything was last as it should be, in seconds since 1970.
    pub(crate) good: Option<u64>,
    /// When it tries again, or looks again.
    pub(crate) next: Option<u64>,
    /// Why it does not get on.
    pub(crate) error: Option<String>,
}

/// A rule's report, and how to wake it.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    report: Mutex<Report>,
    wake: Notify,
}

/// All rules.
#[derive(Debug, Default)]
pub(crate) struct Rules(Vec<Arc<Standing>>);

impl Rules {
    pub(crate) fn new(all: Vec<Arc<Standing>>) -> Rules {
        Rules(all)
    }

    pub(crate) fn reports(&self) -> Vec<Report> {
        self.0.iter().map(|standing| standing.report().clone()).collect()
    }

    /// None of them waits any longer.
    pub(crate) fn wake(&self) {
        self.0.iter().for_each(|standing| standing.wake.notify_one());
    }
}

impl Standing {
    fn of(kind: &str, rule: &str) -> Arc<Standing> {
        let (kind, rule) = (kind.to_owned(), rule.to_owned());
        let report = Mutex::new(Report { kind, rule, ..Report::default() });
        Arc::new(Standing { report, wake: Notify::new() })
    }

    fn report(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is time, or somebody says so.
    async fn pause(&self, length: Duration) {
        self.report().next = Some(now().saturating_add(length.as_secs()));
        self.rest(length).await;
        self.report().next = None;
    }

    /// The same, and nobody is told: it is too short.
    async fn rest(&self, length: Duration) {
        // Either is as good.
        drop(tokio::time::timeout(length, self.wake.notified()).await);
    }

    fn travelled(&self) {
        let mut report = self.report();
        report.done += 1;
        report.waiting = report.waiting.saturating_sub(1);
    }

    fn failed(&self, words: &str) {
        let mut report = self.report();
        if report.error.as_deref() != Some(words) {
            tracing::warn!(rule = report.rule, "{}: {words}", report.kind);
        }
        report.error = Some(words.to_owned());
    }

    fn succeeded(&self) {
        let mut report = self.report();
        report.error = None;
        report.good = Some(now());
    }
}

/// A length of time, in words.
pub(crate) fn human(seconds: u64) -> String {
    ferry_stdx::duration::human(Duration::from_secs(seconds)).to_lowercase()
}

/// How a rule stands, in a few words.
pub(crate) fn state(report: &Report) -> String {
    let next = report.next.map(|at| human(at.saturating_sub(now())));
    match (&report.error, next) {
        (Some(error), Some(next)) => format!("again in {next}: {error}"),
        (Some(error), None) => format!("at work: {error}"),
        (None, Some(next)) => format!("again in {next}"),
        (None, None) => String::new(),
    }
}

/// How long to wait after so many failures one after the other.
fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        assert_eq!(pause_after(1), FIRST_PAUSE);
        assert_eq!(pause_after(3), FIRST_PAUSE * 4);
        assert_eq!(pause_after(1000), LONGEST_PAUSE);
    }
}

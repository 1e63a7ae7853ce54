//! Health checks: what to run, when, and what a result means. Docker's arithmetic, without a clock.

use std::time::Duration;

use ferry_model::container::{
    ContainerSpec, Health, HealthAction, HealthCheck, HealthResult, HealthStatus, ON_FAILURE_LABEL,
};
use ferry_stdx::time::Timestamp;

/// Results that are kept.
const LOG: usize = 5;

/// Bytes of a probe's output that are kept.
pub const OUTPUT: usize = 4096;

/// When to probe, with Docker's defaults in place of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthTiming {
    /// Between the end of a probe and the next.
    pub interval: Duration,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How long after the start failures do not count.
    pub start_period: Duration,
    /// Instead of `interval` in the start period, until the first success.
    pub start_interval: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: i64,
}

impl HealthTiming {
    /// Reads a check's numbers.
    pub fn of(check: &HealthCheck) -> Self {
        let or = |nanos: i64, default: u64| match u64::try_from(nanos) {
            Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
            _ => Duration::from_secs(default),
        };
        HealthTiming {
            interval: or(check.interval, 30),
            timeout: or(check.timeout, 30),
            start_period: or(check.start_period, 0),
            start_interval: or(check.start_interval, 5),
            retries: if check.retries > 0 { check.retries } else { 3 },
        }
    }

    /// How long to wait for the next probe of a container that has run for `up`.
    pub fn delay(&self, status: HealthStatus, up: Duration) -> Duration {
        if status == HealthStatus::Starting && up < self.start_period {
            self.start_interval
        } else {
            self.interval
        }
    }

    /// Notes a result. True when the status changed.
    pub fn note(&self, health: &mut Health, started_at: Timestamp, result: HealthResult) -> bool {
        let before = health.status;
        let healthy = result.exit_code == 0;
        let young = result.start.since(started_at) < self.start_period;
        let surplus = (health.log.len() + 1).saturating_sub(LOG);
        health.log.drain(..surplus);
        health.log.push(result);
        if healthy {
            health.failing_streak = 0;
            health.status = HealthStatus::Healthy;
        } else if before != HealthStatus::Starting || !young {
            health.failing_streak += 1;
            if health.failing_streak >= self.retries {
                health.status = HealthStatus::Unhealthy;
            }
        }
        health.status != before
    }
}

/// What a probe runs; `None` when there is no health check. A first word that Docker does not know is none, too.
pub fn probe_command(spec: &ContainerSpec) -> Option<Vec<String>> {
    let (kind, rest) = spec.healthcheck.as_ref()?.test.split_first()?;
    match kind.as_str() {
        "CMD" => Some(rest.to_vec()),
        "CMD-SHELL" => {
            let mut words = match &spec.shell {
                Some(shell) if !shell.is_empty() => shell.clone(),
                _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            };
            words.extend_from_slice(rest);
            Some(words)
        }
        _ => None,
    }
}

/// What is to happen when the container becomes unhealthy.
///
/// # Errors
/// The label has another word: it is returned.
pub fn health_action(spec: &ContainerSpec) -> Result<HealthAction, &str> {
    let word = spec.labels.get(ON_FAILURE_LABEL).map_or("", String::as_str);
    HealthAction::parse(word).ok_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn check(start_period: i64, start_interval: i64, retries: i64) -> HealthCheck {
        HealthCheck {
            test: vec!["CMD".into(), "probe".into()],
            interval: 10 * SECOND,
            timeout: 0,
            start_period: start_period * SECOND,
            start_interval: start_interval * SECOND,
            retries,
        }
    }

    fn result(second: i64, exit_code: i32) -> HealthResult {
        let at = |second: i64| Timestamp::from_nanos(second * SECOND);
        HealthResult { start: at(second), end: at(second + 1), exit_code, output: String::new() }
    }

    fn walk(check: &HealthCheck, results: &[(i64, i32)]) -> Vec<(HealthStatus, i64, bool)> {
        let timing = HealthTiming::of(check);
        let mut health = Health::default();
        let note = |(second, code): &(i64, i32)| {
            let changed =
                timing.note(&mut health, Timestamp::from_nanos(0), result(*second, *code));
            (health.status, health.failing_streak, changed)
        };
        results.iter().map(note).collect()
    }

    #[test]
    fn docker_defaults() {
        let timing = HealthTiming::of(&HealthCheck::default());
        assert_eq!(timing.interval, Duration::from_secs(30));
        assert_eq!(timing.timeout, Duration::from_secs(30));
        assert_eq!(timing.start_period, Duration::ZERO);
        assert_eq!(timing.start_interval, Duration::from_secs(5));
        assert_eq!(timing.retries, 3);
    }

    #[test]
    fn failures_count_to_the_limit_and_one_success_heals() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        let steps = walk(&check(0, 0, 2), &[(1, 1), (2, -1), (3, 7), (4, 0), (5, 1), (6, 0)]);
        assert_eq!(
            steps,
            [
                (Starting, 1, false),
                (Unhealthy, 2, true),
                (Unhealthy, 3, false),
                (Healthy, 0, true),
                (Healthy, 1, false),
                (Healthy, 0, false),
            ]
        );
    }

    #[test]
    fn the_start_period_forgives_until_the_first_success() {
        use HealthStatus::{Healthy, Starting, Unhealthy};
        // It counts when a probe began, not when it ended.
        let steps = walk(&check(30, 0, 1), &[(5, 1), (29, 1), (30, 1)]);
        assert_eq!(steps, [(Starting, 0, false), (Starting, 0, false), (Unhealthy, 1, true)]);
        // A success ends it early.
        let steps = walk(&check(30, 0, 1), &[(5, 0), (6, 1)]);
        assert_eq!(steps, [(Healthy, 0, true), (Unhealthy, 1, true)]);
    }

    #[test]
    fn the_start_interval_holds_while_starting_in_the_start_period() {
        let timing = HealthTiming::of(&check(30, 2, 1));
        let delay = |status, up| timing.delay(status, Duration::from_secs(up)).as_secs();
        assert_eq!(delay(HealthStatus::Starting, 0), 2);
        assert_eq!(delay(HealthStatus::Starting, 29), 2);
        assert_eq!(delay(HealthStatus::Starting, 30), 10);
        assert_eq!(delay(HealthStatus::Healthy, 5), 10);
        assert_eq!(delay(HealthStatus::Unhealthy, 5), 10);
    }

    #[test]
    fn five_results_are_kept() {
        let timing = HealthTiming::of(&check(0, 0, 1));
        let mut health = Health::default();
        for second in 0..8 {
            timing.note(&mut health, Timestamp::from_nanos(0), result(second, 0));
        }
        assert_eq!(health.log, (3..8).map(|second| result(second, 0)).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_probe_runs() {
        let command = |test: &[&str], shell: Option<&[&str]>| {
            let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
            let healthcheck = Some(HealthCheck { test: words(test), ..HealthCheck::default() });
            let spec =
                ContainerSpec { healthcheck, shell: shell.map(words), ..ContainerSpec::default() };
            probe_command(&spec).map(|words| words.join("|"))
        };
        assert_eq!(command(&["CMD", "a", "b c"], None).as_deref(), Some("a|b c"));
        assert_eq!(command(&["CMD-SHELL", "a b"], None).as_deref(), Some("/bin/sh|-c|a b"));
        assert_eq!(
            command(&["CMD-SHELL", "a"], Some(&["/bin/bash", "-ec"])).as_deref(),
            Some("/bin/bash|-ec|a")
        );
        for none in [&["NONE"][..], &[], &["FOO", "a"]] {
            assert_eq!(command(none, None), None, "{none:?}");
        }
    }
}

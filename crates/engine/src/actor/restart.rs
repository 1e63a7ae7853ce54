//! Restart policies: who comes back, and after how long.

use std::time::Duration;

use ferry_model::container::{Phase, RestartPolicy};
use tokio::time::Instant;

use super::{Actor, Next};

/// First delay; doubles with every restart, as Docker's.
const FIRST: Duration = Duration::from_millis(100);
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(60);
/// A container that ran this long has earned the first delay again.
const HEALTHY: Duration = Duration::from_secs(10);

/// The delay before the next restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST }
    }
}

impl Backoff {
    /// The delay after a run of this length.
    fn after(&mut self, ran: Duration) -> Duration {
        if ran >= HEALTHY {
            self.next = FIRST;
        }
        let delay = self.next;
        self.next = (self.next * 2).min(LONGEST);
        delay
    }
}

/// Whether the policy brings a container back after an end with `exit_code`, `restarts` restarts so far.
pub(super) fn comes_back(
    policy: RestartPolicy,
    exit_code: i32,
    restarts: u32,
    stopped_by_user: bool,
) -> bool {
    match policy {
        RestartPolicy::Never => false,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => !stopped_by_user,
        RestartPolicy::OnFailure { max_retries } => {
            !stopped_by_user && exit_code != 0 && (max_retries == 0 || restarts < max_retries)
        }
    }
}

impl Actor {
    /// Decides after an end. True when a restart is planned; the phase is `Restarting` then.
    pub(super) fn plan_restart(&mut self, ran: Duration) -> bool {
        let container = &self.container;
        let back = comes_back(
            container.spec.host.restart_policy,
            container.state.exit_code,
            container.restart_count,
            container.stopped_by_user,
        );
        if !back || self.stopping.is_some() {
            return false;
        }
        self.restart_at = Some(Instant::now() + self.backoff.after(ran));
        self.set_phase(Phase::Restarting);
        true
    }

    pub(super) async fn restart_now(&mut self) -> Next {
        self.container.restart_count += 1;
        if let Err(failure) = self.start().await {
            tracing::warn!(id = %self.container.id, %failure, "restart failed");
            if !self.plan_restart(Duration::ZERO) {
                self.set_phase(Phase::Exited);
            }
            self.save_or_warn();
            self.publish();
        }
        Next::Continue
    }

    /// At boot: `always` comes back whatever happened, `unless-stopped` unless the user stopped it, `on-failure` if it was
    /// running or failed when the machine or the engine went down.
    pub(super) async fn boot(&mut self) {
        if self.live.is_some() {
            return;
        }
        let state = &self.container.state;
        let back = match self.container.spec.host.restart_policy {
            RestartPolicy::Never => false,
            RestartPolicy::Always => state.phase != Phase::Created,
            RestartPolicy::UnlessStopped => {
                state.phase != Phase::Created && !self.container.stopped_by_user
            }
            RestartPolicy::OnFailure { .. } => {
                state.phase != Phase::Created
                    && comes_back(
                        self.container.spec.host.restart_policy,
                        state.exit_code,
                        self.container.restart_count,
                        self.container.stopped_by_user,
                    )
            }
        };
        if back && let Err(failure) = self.start().await {
            tracing::warn!(id = %self.container.id, %failure, "cannot bring a container back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policies() {
        use RestartPolicy as P;
        let on_failure = |max_retries| P::OnFailure { max_retries };
        for (policy, code, restarts, by_user, back) in [
            (P::Never, 1, 0, false, false),
            (P::Always, 0, 99, false, true),
            (P::Always, 0, 0, true, false),
            (P::UnlessStopped, 0, 0, true, false),
            (on_failure(0), 1, 1000, false, true),
            (on_failure(0), 0, 0, false, false),
            (on_failure(2), 1, 1, false, true),
            (on_failure(2), 1, 2, false, false),
            (on_failure(2), 1, 0, true, false),
        ] {
            assert_eq!(comes_back(policy, code, restarts, by_user), back, "{policy:?} {code}");
        }
    }

    #[test]
    fn delays_double_to_a_minute_and_a_long_run_starts_over() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> =
            (0..12).map(|_| backoff.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[11], 60_000);
        assert_eq!(backoff.after(Duration::from_secs(11)).as_millis(), 100);
    }
}

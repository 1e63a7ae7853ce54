//! Health: when a container is probed, and what follows from a probe.
//!
//! Docker's order: a start sets the status to `starting` and keeps the log; whatever ends the probing (the container's end,
//! a pause) sets it to `unhealthy` without an event; the next success heals.

use ferry_container::{HealthTiming, health_action, probe_command};
use ferry_model::container::{Health, HealthAction, HealthResult, HealthStatus, Phase};
use tokio::{sync::oneshot, time::Instant};

use super::{Actor, Next, stop};
use crate::{net::names, probe::Probe, signal};

/// Where probing stands.
#[derive(Debug, Default)]
pub(crate) enum Monitor {
    /// Nobody probes: no health check, not running, or paused.
    #[default]
    Closed,
    /// The next probe is due then.
    Waiting(Instant),
    /// One runs.
    Probing(Probe),
}

impl Monitor {
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Monitor::Waiting(at) => Some(*at),
            Monitor::Closed | Monitor::Probing(_) => None,
        }
    }

    /// What the running probe says; never, when none runs.
    pub(super) async fn result(&mut self) -> Option<HealthResult> {
        match self {
            Monitor::Probing(probe) => probe.result().await,
            Monitor::Closed | Monitor::Waiting(_) => std::future::pending().await,
        }
    }
}

impl Actor {
    /// The container was started: whatever was known of its health before no longer counts.
    pub(super) fn start_health(&mut self) {
        if probe_command(&self.container.spec).is_none() {
            self.container.state.health = None;
            return;
        }
        let health = self.container.state.health.get_or_insert_default();
        health.status = HealthStatus::Starting;
        health.failing_streak = 0;
        names::follow_health(&self.shared, &self.container);
        self.open_health();
    }

    /// Probes it from now on, if there is something to probe.
    pub(super) fn open_health(&mut self) {
        if self.container.state.health.is_some() {
            self.monitor = Monitor::Waiting(self.next_probe());
        }
    }

    /// An engine before this one probed it: its verdict stands, and the time since its last probe counts.
    pub(super) fn resume_health(&mut self) {
        if self.live.is_none() {
            // It ended while nobody looked.
            if let Some(health) = &mut self.container.state.health {
                health.status = HealthStatus::Unhealthy;
            }
            return self.publish();
        }
        if self.container.state.phase != Phase::Running {
            return;
        }
        let Some(health) = &self.container.state.health else { return };
        let last = health.log.last().map(|result| result.end);
        let since = last.max(self.container.state.started_at);
        let passed = since.map(|at| self.shared.now().since(at)).unwrap_or_default();
        let now = Instant::now();
        let due = self.next_probe();
        self.monitor = Monitor::Waiting(due.checked_sub(passed).unwrap_or(now).max(now));
    }

    /// Nobody probes any more.
    pub(super) fn close_health(&mut self) {
        self.monitor = Monitor::Closed;
        if let Some(health) = &mut self.container.state.health {
            health.status = HealthStatus::Unhealthy;
            names::follow_health(&self.shared, &self.container);
        }
    }

    /// It is time.
    pub(super) fn probe(&mut self) {
        let Some((timing, command)) = self.timing().zip(probe_command(&self.container.spec)) else {
            self.monitor = Monitor::Closed;
            return;
        };
        let id = &self.container.id;
        self.monitor = Monitor::Probing(Probe::start(&self.shared, id, command, timing.timeout));
    }

    /// A probe has ended; without a result its worker did.
    pub(super) async fn on_probe(&mut self, result: Option<HealthResult>) -> Next {
        let changed = match (result, self.timing()) {
            (Some(result), Some(timing)) => self.note(timing, result),
            _ => None,
        };
        self.monitor = Monitor::Waiting(self.next_probe());
        self.save_or_warn();
        self.publish();
        if let Some(status) = changed {
            names::follow_health(&self.shared, &self.container);
            self.event(&format!("health_status: {}", status.as_str()), &[]);
            if status == HealthStatus::Unhealthy {
                self.on_unhealthy().await;
            }
        }
        Next::Continue
    }

    fn note(&mut self, timing: HealthTiming, result: HealthResult) -> Option<HealthStatus> {
        let state = &mut self.container.state;
        let health: &mut Health = state.health.as_mut()?;
        let started_at = state.started_at.unwrap_or(result.start);
        timing.note(health, started_at, result).then_some(health.status)
    }

    /// What the user wants to happen then, by [`ferry_model::container::ON_FAILURE_LABEL`].
    async fn on_unhealthy(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        // Nobody waits for these.
        match health_action(&self.container.spec).unwrap_or_default() {
            HealthAction::None => {}
            HealthAction::Restart => {
                self.restart(stop::StopWish::default(), oneshot::channel().0).await;
            }
            HealthAction::Stop => {
                let waiter = stop::Waiter::Stop(oneshot::channel().0);
                self.stop(stop::StopWish::default(), waiter).await;
            }
            HealthAction::Kill => {
                self.remember("kill", Some(signal::KILL));
                self.save_or_warn();
                self.event("kill", &[("signal", signal::KILL.to_string())]);
                self.kill_hard().await;
            }
        }
    }

    fn timing(&self) -> Option<HealthTiming> {
        self.container.spec.healthcheck.as_ref().map(HealthTiming::of)
    }

    fn next_probe(&self) -> Instant {
        let state = &self.container.state;
        let status = state.health.as_ref().map(|health| health.status).unwrap_or_default();
        let up = state.started_at.map(|at| self.shared.now().since(at)).unwrap_or_default();
        let delay = self.timing().map(|timing| timing.delay(status, up)).unwrap_or_default();
        let now = Instant::now();
        // Docker's durations reach 292 years, which an instant does not.
        now.checked_add(delay).unwrap_or(now + std::time::Duration::from_secs(u32::MAX.into()))
    }
}

//! `stop`, `kill`, `pause`: ending and freezing a container that runs.

use std::time::Duration;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::{Phase, RestartPolicy};
use tokio::time::Instant;

use super::{Actor, Next, Reply, answer};
use crate::{failpoint, signal};

/// How long after SIGKILL the kernel may take before the caller is told that something is wrong.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Docker's default between the stop signal and SIGKILL.
const DEFAULT_TIMEOUT: i64 = 10;

/// What `stop` was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StopWish {
    /// Seconds until SIGKILL; negative is never; `None` is the container's own.
    pub(crate) timeout: Option<i64>,
    /// Signal to send first; `None` is the container's own.
    pub(crate) signal: Option<i32>,
}

/// A stop that is under way.
#[derive(Debug)]
pub(crate) struct Stopping {
    deadline: Option<Instant>,
    killed: bool,
    waiters: Vec<Waiter>,
}

/// What to do when a container that is being stopped has ended.
#[derive(Debug)]
pub(crate) enum Waiter {
    Stop(Reply<bool>),
    Restart(Reply<()>),
    Remove { volumes: bool, reply: Reply<()> },
}

impl Stopping {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether somebody wants it to run again when it has ended, and nobody wants it gone.
    pub(super) fn wants_start(&self) -> bool {
        !self.wants_removal()
            && self.waiters.iter().any(|waiter| matches!(waiter, Waiter::Restart(_)))
    }

    /// Whether it is removed when it has ended.
    pub(super) fn wants_removal(&self) -> bool {
        self.waiters.iter().any(|waiter| matches!(waiter, Waiter::Remove { .. }))
    }

    /// How many asked for its end, and not for it to be gone.
    pub(super) fn stops(&self) -> usize {
        self.waiters.iter().filter(|waiter| !matches!(waiter, Waiter::Remove { .. })).count()
    }

    pub(super) fn into_waiters(self) -> Vec<Waiter> {
        self.waiters
    }
}

impl Waiter {
    pub(super) fn fail(self, failure: Failure) {
        match self {
            Waiter::Stop(reply) => answer(reply, Err(failure)),
            Waiter::Restart(reply) | Waiter::Remove { reply, .. } => answer(reply, Err(failure)),
        }
    }
}

impl Actor {
    /// Sends the stop signal and lets `waiter` know when it has ended.
    pub(super) async fn stop(&mut self, wish: StopWish, waiter: Waiter) -> Next {
        self.restart_at = None;
        if self.live.is_none() {
            return self.not_running(waiter).await;
        }
        self.container.stopped_by_user = matches!(waiter, Waiter::Stop(_) | Waiter::Remove { .. });
        let (number, timeout) = match self.stop_plan(&wish) {
            Ok(plan) => plan,
            Err(failure) => {
                self.save_or_warn();
                waiter.fail(failure);
                return Next::Continue;
            }
        };
        match waiter {
            Waiter::Stop(_) => self.remember("stop", None),
            Waiter::Restart(_) => self.remember("restart", None),
            Waiter::Remove { .. } => {}
        }
        self.remember("kill", Some(number));
        let removes = matches!(waiter, Waiter::Remove { .. });
        // One that is removed is soon gone with its record; but the next daemon must not bring it back.
        if !removes || self.container.spec.host.restart_policy != RestartPolicy::Never {
            self.save_or_warn();
        }
        let kills = number == signal::KILL;
        let deadline = match timeout {
            _ if kills => Some(Instant::now() + KILL_PATIENCE),
            seconds if seconds < 0 => None,
            seconds => {
                let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                Instant::now().checked_add(seconds)
            }
        };
        match &mut self.stopping {
            Some(stopping) => {
                stopping.waiters.push(waiter);
                let sooner = |known: Option<Instant>| {
                    deadline.is_some() && (known.is_none() || deadline < known)
                };
                // A second stop may be more impatient than the first; once it was killed, what is left is the kernel's time.
                if !stopping.killed && (kills || sooner(stopping.deadline)) {
                    stopping.deadline = deadline;
                    stopping.killed = kills;
                }
            }
            None => {
                self.stopping = Some(Stopping { deadline, killed: kills, waiters: vec![waiter] });
            }
        }
        if let Err(failure) = self.send_signal(number).await {
            tracing::debug!(id = %self.container.id, %failure, "stop signal not delivered");
        }
        self.event("kill", &[("signal", number.to_string())]);
        failpoint::hit("stop.signal");
        Next::Continue
    }

    async fn not_running(&mut self, waiter: Waiter) -> Next {
        if self.container.state.phase == Phase::Restarting {
            self.container.stopped_by_user = true;
            self.set_phase(Phase::Exited);
            self.save_or_warn();
            self.publish();
        }
        match waiter {
            Waiter::Stop(reply) => answer(reply, Ok(false)),
            Waiter::Restart(reply) => {
                let started = self.start_by_hand().await.map(|_| ());
                let next = self.remove_if_useless().await;
                answer(reply, started);
                return next;
            }
            Waiter::Remove { reply, .. } => answer(reply, Ok(())),
        }
        Next::Continue
    }

    fn stop_plan(&self, wish: &StopWish) -> Result<(i32, i64), Failure> {
        let spec = &self.container.spec;
        let number = match (wish.signal, &spec.stop_signal) {
            (Some(number), _) => number,
            (None, Some(name)) => signal::parse(name)?,
            (None, None) => signal::TERM,
        };
        Ok((number, wish.timeout.or(spec.stop_timeout).unwrap_or(DEFAULT_TIMEOUT)))
    }

    /// The patience is over: SIGKILL first, and if the kernel does not end it either, the waiters are told.
    pub(super) async fn stop_deadline(&mut self) {
        let Some(stopping) = &mut self.stopping else { return };
        if !stopping.killed {
            stopping.killed = true;
            stopping.deadline = Some(Instant::now() + KILL_PATIENCE);
            self.remember("kill", Some(signal::KILL));
            self.save_or_warn();
            self.event("kill", &[("signal", signal::KILL.to_string())]);
            self.kill_hard().await;
            return;
        }
        let words = format!(
            "container {} did not end within {} s of SIGKILL: its process is stuck in the kernel (see /proc/{}/stack)",
            self.container.id,
            KILL_PATIENCE.as_secs(),
            self.container.state.pid.unwrap_or(0),
        );
        if let Some(stopping) = self.stopping.take() {
            for waiter in stopping.waiters {
                waiter.fail(Failure::new(ErrorKind::Internal, words.clone()));
            }
        }
    }

    /// SIGKILL also reaches a frozen container: the v1 freezer holds the signal back until the thaw.
    pub(super) async fn kill_hard(&mut self) {
        if let Err(failure) = self.send_signal(signal::KILL).await {
            tracing::debug!(id = %self.container.id, %failure, "kill not delivered");
        }
        if self.container.state.phase == Phase::Paused
            && let Err(failure) = self.freezer(false).await
        {
            tracing::warn!(id = %self.container.id, %failure, "cannot thaw a killed container");
        }
    }

    pub(super) async fn kill(&mut self, number: i32) -> Result<(), Failure> {
        if self.live.is_none() {
            let words = format!("container {} is not running", self.container.id);
            return Err(Failure::new(ErrorKind::Conflict, words));
        }
        if number == signal::KILL || number == self.stop_plan(&StopWish::default())?.0 {
            self.container.stopped_by_user = true;
        }
        self.remember("kill", Some(number));
        self.save_or_warn();
        self.event("kill", &[("signal", number.to_string())]);
        if number == signal::KILL {
            self.kill_hard().await;
            return Ok(());
        }
        self.send_signal(number).await
    }

    pub(super) async fn pause(&mut self) -> Result<(), Failure> {
        match self.container.state.phase {
            Phase::Running => {}
            Phase::Paused => {
                return Err(self
                    .state_conflict(format!("Container {} is already paused", self.container.id)));
            }
            _ => return Err(self.not_running_conflict()),
        }
        self.freezer(true).await?;
        self.set_phase(Phase::Paused);
        self.close_health();
        self.save_or_warn();
        self.publish();
        self.event("pause", &[]);
        Ok(())
    }

    pub(super) async fn unpause(&mut self) -> Result<(), Failure> {
        if self.container.state.phase != Phase::Paused {
            return Err(
                self.state_conflict(format!("Container {} is not paused", self.container.id))
            );
        }
        self.freezer(false).await?;
        self.set_phase(Phase::Running);
        self.open_health();
        self.save_or_warn();
        self.publish();
        self.event("unpause", &[]);
        Ok(())
    }

    fn not_running_conflict(&self) -> Failure {
        self.state_conflict(format!("container {} is not running", self.container.id))
    }

    fn state_conflict(&self, words: String) -> Failure {
        Failure::new(ErrorKind::Conflict, words)
    }

    /// `restart`: a stop whose end is a start.
    pub(super) async fn restart(&mut self, wish: StopWish, reply: Reply<()>) -> Next {
        self.stop(wish, Waiter::Restart(reply)).await
    }

    /// It has ended: tells everyone who waited for that. Returns whether the task goes on.
    pub(super) async fn stopped(&mut self) -> Next {
        let Some(stopping) = self.stopping.take() else { return Next::Continue };
        let is_removed = stopping.wants_removal();
        let mut removal = None;
        let mut restarts = Vec::new();
        for waiter in stopping.into_waiters() {
            match waiter {
                Waiter::Stop(reply) => answer(reply, Ok(true)),
                Waiter::Restart(reply) if is_removed => {
                    let words = "container is marked for removal and cannot be started";
                    answer(reply, Err(self.state_conflict(words.to_owned())));
                }
                Waiter::Restart(reply) => {
                    let started = self.start_by_hand().await.map(|_| ());
                    if started.is_ok() {
                        self.event("restart", &[]);
                    }
                    restarts.push((reply, started));
                }
                Waiter::Remove { volumes, reply } => removal = Some((volumes, reply)),
            }
        }
        let next = match removal {
            Some((volumes, reply)) => return self.remove(false, volumes, reply).await,
            None if restarts.is_empty() => Next::Continue,
            None => self.remove_if_useless().await,
        };
        // Whoever is told that it does not start finds it gone, if that is what becomes of it.
        for (reply, started) in restarts {
            answer(reply, started);
        }
        next
    }
}

//! The end of a container: what is cleaned up, recorded and told.

use std::{
    fs,
    os::fd::AsFd,
    time::{Duration, SystemTime},
};

use ferry_cgroup::OomCount;
use ferry_sys::{pidfd, process};

use super::{Phase, Shim, chain, complain, now};
use crate::{launch::ExitRecord, serve::output::Streams, wire::Event};

/// How long the kernel may take to empty a cgroup of killed processes.
const CGROUP_PATIENCE: Duration = Duration::from_secs(2);

impl Shim {
    /// The container's process ended.
    pub(in crate::serve) fn init_ended(&mut self) {
        let Phase::Running(running) = &self.phase else { return };
        let Ok(Some(ended)) = pidfd::try_wait(running.pidfd.as_fd()) else { return };
        self.phase = Phase::Ended;
        // What it wrote is in the pipes; whoever could still write to them is dead or dies now.
        self.drain(None);
        for index in 0..self.execs.len() {
            if let Some(exec) = &self.execs[index] {
                pidfd::send_signal(exec.running.pidfd.as_fd(), 9).ok();
                self.exec_over(index);
            }
        }
        self.finish(ended.code(), true);
    }

    /// Cleans up, records the end and tells it.
    pub(super) fn finish(&mut self, exit_code: i32, started: bool) {
        let finished_at = now();
        if let Some(log) = &mut self.log {
            log.finish(finished_at).ok();
        }
        self.look_at_counts();
        let (count, memory_peak) = match (&self.counted, &self.cgroup) {
            (Some(watch), _) => (watch.count(), watch.memory_peak()),
            (None, Some(cgroup)) => {
                (cgroup.events().unwrap_or_default(), cgroup.stats().memory_peak)
            }
            (None, None) => (OomCount::default(), 0),
        };
        let oom_killed = count.kills > 0;
        if let Some(external) = &self.external {
            external.delete();
        }
        self.delete_cgroup();
        if started && self.external.is_none() {
            ferry_runtime::run_poststop(&self.bundle());
        }
        let record = ExitRecord { exit_code, oom_killed, finished_at, started, memory_peak };
        if let Err(error) = record.write(&self.launch.run_dir) {
            complain(&format!("{}: exit not recorded: {error}", self.launch.id));
        }
        // Nobody new can come: the record says what a connection would.
        fs::remove_file(self.launch.run_dir.join("shim.sock")).ok();
        if started {
            self.tell_controls(&Event::Exited { exit_code, oom_killed, finished_at });
        }
        for client in self.clients.iter_mut().flatten() {
            client.closing = true;
        }
        self.streams = Streams::default();
        self.phase = Phase::Ended;
    }

    pub(super) fn delete_cgroup(&mut self) {
        self.holder = None;
        let Some(cgroup) = self.cgroup.take() else { return };
        if !self.has_own_pids() {
            // What its first process has left behind goes on.
            cgroup.kill_all().ok();
            bury_orphans();
        }
        let deadline = SystemTime::now() + CGROUP_PATIENCE;
        loop {
            match cgroup.delete() {
                Ok(()) => return,
                Err(error) if SystemTime::now() > deadline => {
                    return complain(&format!("{}: {}", self.launch.id, chain(&error)));
                }
                Err(_) => {
                    cgroup.kill_all().ok();
                    bury_orphans();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Polling is over, by a time-out at the end or by a fault before it.
    pub(in crate::serve) fn give_up(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Running(running) => {
                pidfd::send_signal(running.pidfd.as_fd(), 9).ok();
                let code = pidfd::wait(running.pidfd.as_fd()).map_or(137, pidfd::Ended::code);
                self.finish(code, true);
            }
            Phase::Created(made) => {
                self.abandon(made);
                self.finish(137, false);
            }
            Phase::Failed { .. } | Phase::Ended => {}
        }
    }
}

/// Dead children that nobody waits for any more would keep the group busy.
fn bury_orphans() {
    while let Ok(Some(pid)) = process::peek_any() {
        if pidfd::open(pid).and_then(|orphan| pidfd::wait(orphan.as_fd())).is_err() {
            return;
        }
    }
}

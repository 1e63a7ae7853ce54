//! `rm`: nothing of a container stays.

use std::sync::Arc;

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{container::Phase, event::Subject};

use super::{
    Actor, Next, Reply, StopWish, answer,
    stop::{Stopping, Waiter},
};
use crate::{failpoint, ops, quota, signal};

impl Actor {
    pub(super) async fn remove(&mut self, force: bool, volumes: bool, reply: Reply<()>) -> Next {
        if self.stopping.as_ref().is_some_and(Stopping::wants_removal) {
            let words =
                format!("removal of container {} is already in progress", self.container.name);
            answer(reply, Err(Failure::new(ErrorKind::Conflict, words)));
            return Next::Continue;
        }
        if self.live.is_some() {
            if !force {
                let what =
                    if self.container.state.phase == Phase::Paused { "paused" } else { "running" };
                let how = match what {
                    "paused" => "container is paused and must be unpaused first",
                    _ => "container is running: stop the container before removing or force remove",
                };
                let words = format!("cannot remove container \"{}\": {how}", self.container.name);
                answer(reply, Err(Failure::new(ErrorKind::Conflict, words)));
                return Next::Continue;
            }
            let wish = StopWish { timeout: Some(0), signal: Some(signal::KILL) };
            let next = self.stop(wish, Waiter::Remove { volumes, reply }).await;
            if self.container.state.phase == Phase::Paused {
                self.kill_hard().await;
            }
            return next;
        }
        let removed = self.remove_now(volumes).await;
        let next = if removed.is_ok() { Next::End } else { Next::Continue };
        answer(reply, removed);
        next
    }

    /// What could not be started and removes itself is of no use to anyone, as in Docker.
    pub(super) async fn remove_if_useless(&mut self) -> Next {
        if self.failed_start.is_some() && self.container.spec.host.auto_remove {
            self.remove_quietly().await
        } else {
            Next::Continue
        }
    }

    /// `--rm`: nobody waits for the answer.
    pub(super) async fn remove_quietly(&mut self) -> Next {
        match self.remove_now(true).await {
            Ok(()) => Next::End,
            Err(failure) => {
                tracing::warn!(id = %self.container.id, %failure, "container with --rm not removed");
                Next::Continue
            }
        }
    }

    async fn remove_now(&mut self, volumes: bool) -> Result<(), Failure> {
        let id = self.container.id.clone();
        self.restart_at = None;
        failpoint::hit("remove.begin");
        if volumes {
            for volume in self.anonymous_volumes() {
                self.shared.dirs.doom_volume(&id, &volume)?;
            }
        }
        if let Err(failure) = self.shared.dirs.discard(&id) {
            self.set_phase(Phase::Dead);
            self.save_or_warn();
            self.publish();
            return Err(failure);
        }
        failpoint::hit("remove.files");
        quota::lift(&self.shared, &self.container);
        self.shared.networks.set_aside(&id, false);
        self.shared.containers.remove(&id);
        self.shared.execs.container_removed(&id);
        self.event("destroy", &[]);
        // The bytes go behind the caller's back: the name and the record are gone already.
        let shared = Arc::clone(&self.shared);
        let anonymous: Vec<String> = if volumes { self.anonymous_volumes() } else { Vec::new() };
        let cleanup = move || {
            shared.dirs.empty_trash(&id);
            let used = ops::volume::used_volumes(&shared);
            for volume in anonymous.iter().filter(|volume| !used.contains_key(*volume)) {
                match shared.volumes.remove(volume) {
                    Ok(()) => shared.events.plain(
                        Subject::Volume,
                        "destroy",
                        volume,
                        &[("driver", "local".to_owned())],
                        shared.now(),
                    ),
                    Err(error) => tracing::warn!(%volume, %error, "anonymous volume not removed"),
                }
            }
        };
        if volumes && !self.anonymous_volumes().is_empty() {
            // `rm -v` promises that they are gone.
            crate::blocking(move || {
                cleanup();
                Ok(())
            })
            .await?;
        } else {
            tokio::task::spawn_blocking(cleanup);
        }
        failpoint::hit("remove.volumes");
        Ok(())
    }

    fn anonymous_volumes(&self) -> Vec<String> {
        let mounts = self.container.mounts.iter().filter(|mount| mount.anonymous);
        mounts.filter_map(|mount| mount.name.clone()).collect()
    }
}

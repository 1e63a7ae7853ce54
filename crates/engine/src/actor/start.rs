//! `start`: from a record to a running process, and from its end back to a record.
//!
//! The steps: network plan, files in `/etc`, OCI specification, shim, namespaces, network, attached clients, go. A failure undoes
//! what was done; a crash of the daemon before `go` lets the shim undo the process (it notices that its owner is gone) and
//! leaves the rest to boot.

use std::{io, path::Path, sync::Arc, time::Duration};

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::{
    container::{MountKind, Phase},
    event::Subject,
};
use ferry_oci::runtime::User;
use ferry_shim::{
    ExitRecord, LaunchError, OciRuntime,
    wire::{Command, Event, Request},
};
use ferry_stdx::time::Timestamp;

use super::{Actor, AttachWish, Attached, Live, Next, ShimEvent, live, stop::Stopping};
use crate::{failpoint, launch, mounted, net};

/// A shim that does not answer for so long is stuck: hooks are the only thing that may take long.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long after a failure the shim may take to tell its reason.
const REASON_PATIENCE: Duration = Duration::from_millis(500);

impl Actor {
    pub(super) async fn start_by_hand(&mut self) -> Result<bool, Failure> {
        match self.container.state.phase {
            Phase::Running => return Ok(false),
            Phase::Paused => {
                let words = "cannot start a paused container, try unpause instead";
                return Err(Failure::new(ErrorKind::Conflict, words));
            }
            Phase::Removing | Phase::Dead => {
                let words = "container is marked for removal and cannot be started";
                return Err(Failure::new(ErrorKind::Conflict, words));
            }
            Phase::Created | Phase::Exited | Phase::Restarting => {}
        }
        self.restart_at = None;
        self.backoff = super::restart::Backoff::default();
        self.container.restart_count = 0;
        self.container.stopped_by_user = false;
        self.start().await.map(|()| true)
    }

    /// Starts it, whatever it did before.
    pub(super) async fn start(&mut self) -> Result<(), Failure> {
        self.failed_start = None;
        match self.try_start().await {
            Ok(()) => Ok(()),
            Err((code, failure)) => {
                self.failed(code, &failure);
                Err(failure)
            }
        }
    }

    fn failed(&mut self, code: i32, failure: &Failure) {
        let state = &mut self.container.state;
        state.exit_code = code;
        state.error = failure.message().to_owned();
        state.pid = None;
        // Docker leaves a container that never ran in `created`.
        if state.started_at.is_some() {
            state.phase = Phase::Exited;
            state.finished_at = Some(self.shared.now());
        }
        self.last_exit = code;
        self.failed_start = Some(failure.message().into());
        self.attaches.clear();
        self.save_or_warn();
        self.publish();
    }

    async fn try_start(&mut self) -> Result<(), (i32, Failure)> {
        let internal = |failure: Failure| (128, failure);
        let shared = Arc::clone(&self.shared);
        // Two mounts of one root file system that write are none.
        let files = Arc::clone(&self.files);
        let _files = files.lock().await;
        let _volumes = self.hold_volumes().map_err(internal)?;
        self.mount_volumes().await.map_err(internal)?;
        net::await_departures(&shared, &self.container).await;
        let plan = match net::plan(&shared, &mut self.container) {
            Ok(plan) => plan,
            Err(failure) => {
                self.unmount_volumes().await;
                return Err(internal(failure));
            }
        };
        let started = self.start_planned(&plan).await;
        if started.is_err() {
            self.detach_network().await;
            self.unmount_volumes().await;
        }
        started
    }

    async fn start_planned(&mut self, plan: &net::Plan) -> Result<(), (i32, Failure)> {
        let shared = Arc::clone(&self.shared);
        let internal = |failure: Failure| (128, failure);
        failpoint::hit("start.network-plan");
        let launch = launch::plan(&shared, &self.container, plan).map_err(internal)?;
        let linux = launch.spec.linux.as_ref();
        let cgroup = linux.and_then(|linux| linux.cgroups_path.clone());
        self.container.state.cgroup = cgroup.unwrap_or_default();
        failpoint::hit("start.launch-plan");
        let own = launch.runtime == OciRuntime::Own;
        // Ferry's own runtime does at its start what others do when they create: its words are those of `create`.
        let begin = if own { "create" } else { "start" };
        let run_dir = shared.dirs.run(&self.container.id);
        let profile = shared.apparmor.of(&self.container.spec);
        let launcher = Arc::clone(&shared);
        let labels = crate::selinux::wishes(&shared, &self.container);
        // Whatever collects what belongs to no pod must find its network in the record.
        let gate = Arc::clone(&shared);
        let _no_collection = match self.wants_cni() {
            true => Some(gate.cni_gate.read().await),
            false => None,
        };
        let pid = crate::blocking(move || {
            crate::selinux::relabel(&labels)?;
            launcher.apparmor.prepare(&profile)?;
            launcher.template.launch(&launch).map_err(|error| match error {
                // Docker's words already: a log that cannot be opened.
                LaunchError::Shim { reason, .. } if reason.starts_with("failed to ") => {
                    Failure::new(ErrorKind::Internal, reason)
                }
                error => error.into(),
            })
        })
        .await
        .map_err(internal)?;
        failpoint::hit("start.shim");
        // The namespaces are there: its networks are made while the shim tells of the rest.
        let wiring = pid.map(|pid| self.begin_wiring(plan, pid));
        let created = created(&run_dir).await;
        let wired = match wiring {
            Some(wiring) => Some(self.finish_wiring(wiring).await),
            None => None,
        };
        let lost = |error: io::Error| {
            let words = format!("lost the shim of the container while it was starting: {error}");
            (128, Failure::new(ErrorKind::Internal, words))
        };
        let (mut live, warnings) = match created.map_err(lost)? {
            (live, Event::Created { warnings, .. }) => (live, warnings),
            (_, Event::StartFailed { code, message }) => {
                return Err(refused(own, "create", (code, message)));
            }
            (_, other) => return Err(lost(io::Error::other(format!("it said {other:?} first")))),
        };
        self.warn(&warnings);
        failpoint::hit("start.created");
        self.volume_events("mount");
        let Some(wired) = wired else {
            return Err(lost(io::Error::other("it is created, and has no process")));
        };
        if let Err(failure) = wired {
            // A process that could not be set up takes its network along: then that is the reason, which the shim tells
            // when it is to start it.
            if pid.is_some_and(|pid| std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok()) {
                return Err(internal(failure));
            }
            live.command(&Command::Start).await.ok();
            let reason = tokio::time::timeout(REASON_PATIENCE, next(&mut live)).await;
            return Err(match reason {
                Ok(Ok(Event::StartFailed { code, message })) => {
                    refused(own, begin, (code, message))
                }
                _ => internal(failure),
            });
        }
        for name in self.container.endpoints.keys() {
            self.network_event("connect", name);
        }
        failpoint::hit("start.network");
        for wish in std::mem::take(&mut self.attaches) {
            connect(&run_dir, wish).await;
        }
        live.command(&Command::Start).await.map_err(lost)?;
        loop {
            match next(&mut live).await.map_err(lost)? {
                Event::Started { pid, warnings, user } => {
                    self.warn(&warnings);
                    self.running(live, pid, user);
                    failpoint::hit("start.running");
                    return Ok(());
                }
                Event::StartFailed { code, message } => {
                    return Err(refused(own, begin, (code, message)));
                }
                _ => {}
            }
        }
    }

    fn running(&mut self, live: Live, pid: i32, user: Option<User>) {
        self.remember("start", None);
        let state = &mut self.container.state;
        state.phase = Phase::Running;
        state.pid = Some(pid);
        state.user = user;
        state.exit_code = 0;
        state.error.clear();
        state.oom_killed = false;
        state.started_at = Some(self.shared.now());
        state.finished_at = None;
        self.live = Some(live);
        self.start_health();
        self.save_or_warn();
        self.publish_as("start", &[]);
    }

    /// Until they are mounted, nobody may exchange its volumes.
    fn hold_volumes(&self) -> Result<Vec<ferry_volume::Hold>, Failure> {
        let volumes = self.container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume);
        let names = volumes.filter_map(|mount| mount.name.as_deref());
        names.map(|name| Ok(self.shared.volumes.share(name)?)).collect()
    }

    async fn mount_volumes(&self) -> Result<(), Failure> {
        if !self.has_volumes() {
            return Ok(());
        }
        let work = (Arc::clone(&self.shared), self.container.clone());
        crate::blocking(move || mounted::hold_all(&work.0, &work.1, &work.1.id)).await
    }

    async fn unmount_volumes(&self) {
        if !self.has_volumes() {
            return;
        }
        let work = (Arc::clone(&self.shared), self.container.clone());
        let done = crate::blocking(move || {
            mounted::release_all(&work.0, &work.1, &work.1.id);
            Ok(())
        });
        done.await.ok();
    }

    fn has_volumes(&self) -> bool {
        self.container.mounts.iter().any(|mount| mount.kind == MountKind::Volume)
    }

    /// Docker tells of a volume when a container begins and ends to have it.
    fn volume_events(&self, action: &str) {
        for mount in self.container.mounts.iter().filter(|mount| mount.kind == MountKind::Volume) {
            let Some(name) = &mount.name else { continue };
            let mut attributes = vec![
                ("container", self.container.id.clone()),
                ("driver", mount.driver.clone().unwrap_or_default()),
            ];
            if action == "mount" {
                attributes.push(("destination", mount.destination.clone()));
                attributes.push(("propagation", mount.propagation.clone()));
                attributes.push(("read/write", mount.rw.to_string()));
            }
            self.shared.events.plain(Subject::Volume, action, name, &attributes, self.shared.now());
        }
    }

    pub(super) fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            tracing::warn!(id = %self.container.id, "{warning}");
        }
    }

    pub(super) async fn attach(&mut self, wish: AttachWish) {
        if self.live.is_some() {
            let run_dir = self.shared.dirs.run(&self.container.id);
            connect(&run_dir, wish).await;
        } else {
            // Who has left meanwhile waits for nothing.
            self.attaches.retain(|other| !other.reply.is_closed());
            self.attaches.push(wish);
        }
    }

    pub(super) async fn on_shim(&mut self, event: ShimEvent) -> Next {
        match event {
            ShimEvent::ExecExited { id, exit_code } => {
                if let Some(exec) = self.shared.execs.ended(&id, exit_code) {
                    self.event(
                        "exec_die",
                        &[("execID", exec.id), ("exitCode", exit_code.to_string())],
                    );
                }
                Next::Continue
            }
            ShimEvent::Exited { exit_code, oom_killed, finished_at } => {
                self.ended(exit_code, oom_killed, Timestamp::from_nanos(finished_at)).await
            }
            ShimEvent::Lost => {
                let run_dir = self.shared.dirs.run(&self.container.id);
                match ExitRecord::read(&run_dir) {
                    Ok(Some(record)) => {
                        let at = Timestamp::from_nanos(record.finished_at);
                        self.ended(record.exit_code, record.oom_killed, at).await
                    }
                    _ => {
                        // Somebody killed the shim: without it nobody would ever know how the container ends.
                        tracing::error!(id = %self.container.id, "the container's shim is gone; ending the container");
                        self.shared.kill_leftovers(&self.container).await;
                        self.ended(137, false, self.shared.now()).await
                    }
                }
            }
        }
    }

    async fn ended(&mut self, exit_code: i32, oom_killed: bool, at: Timestamp) -> Next {
        self.live = None;
        self.close_health();
        failpoint::hit("stop.exited");
        self.detach_network().await;
        failpoint::hit("stop.network");
        self.volume_events("unmount");
        self.unmount_volumes().await;
        let record = ExitRecord::read(&self.shared.dirs.run(&self.container.id));
        let peak = record.ok().flatten().map_or(0, |record| record.memory_peak);
        let started = self.container.state.started_at.unwrap_or(at);
        let state = &mut self.container.state;
        state.phase = Phase::Exited;
        state.pid = None;
        state.exit_code = exit_code;
        state.oom_killed = oom_killed;
        state.memory_peak = peak;
        state.finished_at = Some(at);
        self.exits += 1;
        self.last_exit = exit_code;
        self.shared.execs.container_ended(&self.container.id);
        if oom_killed {
            self.event("oom", &[]);
        }
        let ran = at.since(started);
        let comes_back = self.plan_restart(ran);
        let goes_away =
            self.container.spec.host.auto_remove && !comes_back && !self.restart_is_wanted();
        // What nobody will read is not written; should the daemon die now, the shim has left word of the end.
        let is_removed = self.stopping.as_ref().is_some_and(Stopping::wants_removal);
        if !goes_away && !is_removed {
            self.save_or_warn();
            failpoint::hit("stop.record");
            self.discard_run_dir();
        }
        // As with Docker whoever asked for the end hears of it before everybody else does.
        for _ in 0..self.stopping.as_ref().map_or(0, Stopping::stops) {
            self.publish_as("stop", &[]);
        }
        self.publish_as(
            "die",
            &[("exitCode", exit_code.to_string()), ("execDuration", ran.as_secs().to_string())],
        );
        if self.stopped().await == Next::End {
            return Next::End;
        }
        if goes_away && self.live.is_none() { self.remove_quietly().await } else { Next::Continue }
    }

    /// `restart` of a container with `--rm` must not remove it in between.
    fn restart_is_wanted(&self) -> bool {
        self.stopping.as_ref().is_some_and(Stopping::wants_start)
    }

    pub(super) fn discard_run_dir(&self) {
        let run_dir = self.shared.dirs.run(&self.container.id);
        if let Err(error) = std::fs::remove_dir_all(&run_dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %run_dir.display(), %error, "cannot remove a run directory");
        }
    }

    pub(super) async fn send_signal(&mut self, signal: i32) -> Result<(), Failure> {
        let Some(live) = &mut self.live else { return Ok(()) };
        live.command(&Command::Kill { signal }).await.map_err(|error| {
            let words =
                format!("cannot send signal {signal} to container {}: {error}", self.container.id);
            Failure::new(ErrorKind::Internal, words)
        })
    }

    pub(super) async fn resize(&mut self, height: u32, width: u32) -> Result<(), Failure> {
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        if self.live.is_none() {
            let words = format!("container {} is not running", self.container.id);
            return Err(Failure::new(ErrorKind::Conflict, words));
        }
        let command = Command::Resize { exec: None, rows: size(height), cols: size(width) };
        let run_dir = self.shared.dirs.run(&self.container.id);
        let resized = async {
            let (mut live, _) = Live::connect(&run_dir, false).await?;
            live.command(&command).await?;
            live.finish().await
        };
        resized.await.map_err(|error: io::Error| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot resize the terminal of container {}: {error}", self.container.id),
            )
        })?;
        self.event("resize", &[("height", height.to_string()), ("width", width.to_string())]);
        Ok(())
    }

    pub(super) async fn freezer(&mut self, freeze: bool) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let container = self.container.clone();
        crate::blocking(move || {
            let cgroup = shared.cgroup(&container)?;
            if freeze {
                cgroup.freeze()?
            } else {
                cgroup.thaw()?
            }
            Ok(())
        })
        .await
    }
}

/// A connection to a shim as its container's owner, and what it says of the container: that it is created, or why not.
async fn created(run_dir: &Path) -> io::Result<(Live, Event)> {
    let (mut live, _) = Live::connect(run_dir, true).await?;
    failpoint::hit("start.asked");
    loop {
        let event = next(&mut live).await?;
        if matches!(event, Event::Created { .. } | Event::StartFailed { .. }) {
            return Ok((live, event));
        }
    }
}

async fn next(live: &mut Live) -> io::Result<Event> {
    tokio::time::timeout(PATIENCE, live.receive()).await?
}

async fn connect(run_dir: &Path, wish: AttachWish) {
    match live::stream(run_dir, &Request::Attach(wish.streams)).await {
        // The one who wished may be gone.
        Ok((stream, Event::Attached)) => {
            drop(wish.reply.send(Attached { stream, moment: None }));
        }
        Ok((stream, Event::AttachedAt { moment })) => {
            let moment = Some(Timestamp::from_nanos(moment));
            drop(wish.reply.send(Attached { stream, moment }));
        }
        Ok((_, other)) => tracing::warn!(?other, "the shim did not attach a client"),
        Err(error) => tracing::warn!(%error, "cannot attach a client"),
    }
}

/// Docker's words, which scripts look for, around the runtime's. Another runtime says itself which of its commands failed.
fn refused(own: bool, command: &str, (code, message): (i32, String)) -> (i32, Failure) {
    if let Some(words) = about_users(&message) {
        return (code, Failure::new(ErrorKind::InvalidArgument, words));
    }
    let by = if own { "runc create failed: " } else { "" };
    let task = match command {
        "start" => "failed to start task for container",
        _ => "failed to create task for container: failed to create shim task",
    };
    let words = format!("{task}: OCI runtime {command} failed: {by}{message}");
    // dockerd's statuses: a missing or unusable program is the request's fault.
    let kind =
        if matches!(code, 126 | 127) { ErrorKind::InvalidArgument } else { ErrorKind::Internal };
    (code, Failure::new(kind, words))
}

/// dockerd looks users and groups up itself, so no runtime is in its words.
pub(crate) fn about_users(message: &str) -> Option<&str> {
    const WORDS: [&str; 3] =
        ["unable to find user ", "unable to find group ", "uids and gids must be"];
    let reason = message.rsplit_once("container init: ").map_or(message, |(_, reason)| reason);
    let reason = reason.rsplit_once("container process: ").map_or(reason, |(_, reason)| reason);
    let known = WORDS.iter().any(|words| reason.starts_with(words));
    (known && !reason.contains("open /")).then_some(reason)
}

//! The one task that owns a container: it alone changes the record and speaks to the shim.
//!
//! Commands come one after the other; what takes long (`stop` waiting for a process to end, the delay before a restart) is a
//! deadline in the loop and not a wait inside a command, so that `kill` always gets through.

mod health;
mod live;
mod network;
mod pod;
mod remove;
mod restart;
mod start;
mod stop;
mod update;
mod wiring;

use std::sync::Arc;

use ferry_errkind::Failure;
use ferry_model::{
    container::{Container, Deed, Phase, UpdateContainer},
    network::{EndpointRequest, PortsChange},
};
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot, watch},
    time::Instant,
};

use crate::{
    Shared,
    records::Care,
    registry::{Handle, Snapshot},
};

pub(crate) use live::{AttachWish, Attached, Live, ShimEvent, stream};
pub(crate) use start::about_users;
pub(crate) use stop::StopWish;

/// Commands that wait for a container's task; more than this many at once make the next caller wait.
const QUEUE: usize = 64;

/// So much of what was done to a container is kept in its record.
const MOST_DEEDS: usize = 32;

/// Where the answer to a command goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// Everything that can be asked of a container.
#[derive(Debug)]
pub(crate) enum Command {
    /// Answers false when it ran already.
    Start {
        /// Nobody finds it until it is revealed.
        aside: bool,
        reply: Reply<bool>,
    },
    /// Makes what was started aside known; ports of `from` move.
    Reveal {
        from: Option<Arc<Container>>,
        reply: Reply<()>,
    },
    /// Makes what runs unknown; answers its process.
    Withdraw {
        reply: Reply<i32>,
    },
    /// Answers false when it did not run.
    Stop {
        wish: StopWish,
        reply: Reply<bool>,
    },
    /// Stops it if it runs, and starts it.
    Restart {
        wish: StopWish,
        reply: Reply<()>,
    },
    Kill {
        signal: i32,
        reply: Reply<()>,
    },
    Pause {
        reply: Reply<()>,
    },
    Unpause {
        reply: Reply<()>,
    },
    Rename {
        name: String,
        reply: Reply<()>,
    },
    Connect {
        network: String,
        request: Box<EndpointRequest>,
        reply: Reply<()>,
    },
    Disconnect {
        network: String,
        reply: Reply<()>,
    },
    Update {
        update: Box<UpdateContainer>,
        reply: Reply<()>,
    },
    Ports {
        change: Box<PortsChange>,
        reply: Reply<()>,
    },
    Remove {
        force: bool,
        volumes: bool,
        reply: Reply<()>,
    },
    Resize {
        height: u32,
        width: u32,
        reply: Reply<()>,
    },
    /// A pod's network goes, before its sandbox does.
    ReleaseNetwork {
        reply: Reply<()>,
    },
    /// Whether its plugins say that it is on its network still. Answers false where there are none to ask.
    CheckNetwork {
        reply: Reply<bool>,
    },
    /// Answers at once; the stream comes when the container runs.
    Attach {
        wish: AttachWish,
    },
    /// The engine comes up: finish what the one before did not finish inside of a container that goes on.
    Mend {
        /// So many do it at a time.
        slots: Arc<Semaphore>,
        done: oneshot::Sender<()>,
    },
    /// The engine comes up: do what the restart policy says.
    Boot,
    /// The engine goes down: let go of everything; the container goes on.
    Release {
        reply: oneshot::Sender<()>,
    },
}

/// A container's task.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) container: Container,
    pub(super) live: Option<Live>,
    pub(super) stopping: Option<stop::Stopping>,
    pub(super) restart_at: Option<Instant>,
    pub(super) backoff: restart::Backoff,
    pub(super) monitor: health::Monitor,
    pub(super) attaches: Vec<AttachWish>,
    pub(super) exits: u64,
    pub(super) last_exit: i32,
    pub(super) failed_start: Option<Arc<str>>,
    files: Arc<Mutex<()>>,
    publish: watch::Sender<Snapshot>,
}

/// Whether the task goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Continue,
    End,
}

impl Actor {
    /// Starts the task of a container and makes it known. `live` is there when a shim of an earlier engine was found.
    pub(crate) fn spawn(shared: &Arc<Shared>, container: Container, live: Option<Live>) -> Handle {
        let snapshot = Snapshot {
            container: Arc::new(container.clone()),
            exits: 0,
            last_exit: container.state.exit_code,
            failed_start: None,
        };
        let (publish, receiver) = watch::channel(snapshot);
        let (sender, commands) = mpsc::channel(QUEUE);
        let files = Arc::default();
        let handle = Handle {
            id: container.id.as_str().into(),
            snapshot: receiver,
            commands: sender,
            files: Arc::clone(&files),
        };
        let actor = Actor {
            shared: Arc::clone(shared),
            last_exit: container.state.exit_code,
            container,
            live,
            stopping: None,
            restart_at: None,
            backoff: restart::Backoff::default(),
            monitor: health::Monitor::Closed,
            attaches: Vec::new(),
            exits: 0,
            failed_start: None,
            files,
            publish,
        };
        shared.containers.insert(handle.clone());
        tokio::spawn(actor.run(commands));
        handle
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.resume_health();
        loop {
            let deadline = self.next_deadline();
            let next = tokio::select! {
                biased;
                event = live::next_event(&mut self.live) => self.on_shim(event).await,
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => Next::End,
                },
                result = self.monitor.result() => self.on_probe(result).await,
                () = sleep_until(deadline) => self.on_deadline().await,
            };
            if next == Next::End {
                return;
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let stop = self.stopping.as_ref().and_then(stop::Stopping::deadline);
        stop.into_iter().chain(self.restart_at).chain(self.monitor.deadline()).min()
    }

    async fn on_command(&mut self, command: Command) -> Next {
        match command {
            Command::Start { aside, reply } => {
                if self.live.is_none() {
                    self.shared.networks.set_aside(&self.container.id, aside);
                }
                let started = self.start_by_hand().await;
                let next = self.remove_if_useless().await;
                answer(reply, started);
                return next;
            }
            Command::Reveal { from, reply } => {
                let revealed = self.reveal(from).await;
                answer(reply, revealed);
            }
            Command::Withdraw { reply } => {
                let withdrawn = self.withdraw().await;
                answer(reply, withdrawn);
            }
            Command::Stop { wish, reply } => {
                return self.stop(wish, stop::Waiter::Stop(reply)).await;
            }
            Command::Restart { wish, reply } => return self.restart(wish, reply).await,
            Command::Kill { signal, reply } => {
                let killed = self.kill(signal).await;
                answer(reply, killed);
            }
            Command::Pause { reply } => answer(reply, self.pause().await),
            Command::Ports { change, reply } => answer(reply, self.change_ports(*change).await),
            Command::Unpause { reply } => answer(reply, self.unpause().await),
            Command::Rename { name, reply } => answer(reply, self.rename(&name)),
            Command::Update { update, reply } => answer(reply, self.update(&update).await),
            Command::Resize { height, width, reply } => {
                answer(reply, self.resize(height, width).await);
            }
            Command::Connect { network, request, reply } => {
                let connected = self.connect(network, *request).await;
                answer(reply, connected);
            }
            Command::Disconnect { network, reply } => {
                let disconnected = self.disconnect(network).await;
                answer(reply, disconnected);
            }
            Command::Attach { wish } => self.attach(wish).await,
            Command::Remove { force, volumes, reply } => {
                return self.remove(force, volumes, reply).await;
            }
            Command::ReleaseNetwork { reply } => {
                let released = self.detach_cni().await;
                answer(reply, released);
            }
            Command::CheckNetwork { reply } => answer(reply, self.check_cni().await),
            Command::Mend { slots, done } => {
                // Nobody closes it.
                let _slot = slots.acquire().await.ok();
                self.mend().await;
                done.send(()).ok();
            }
            Command::Boot => {
                self.boot().await;
                if self.live.is_none() {
                    self.detach_cni_or_warn().await;
                }
                if self.is_stillborn_sandbox() {
                    return self.remove_quietly().await;
                }
            }
            Command::Release { reply } => {
                reply.send(()).ok();
                return Next::End;
            }
        }
        Next::Continue
    }

    async fn on_deadline(&mut self) -> Next {
        let now = Instant::now();
        if self.stopping.as_ref().and_then(stop::Stopping::deadline).is_some_and(|at| at <= now) {
            self.stop_deadline().await;
        }
        if self.monitor.deadline().is_some_and(|at| at <= now) {
            self.probe();
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            return self.restart_now().await;
        }
        Next::Continue
    }

    fn rename(&mut self, name: &str) -> Result<(), Failure> {
        let old = self.container.name.clone();
        if old == name {
            return Err(Failure::new(
                ferry_errkind::ErrorKind::InvalidArgument,
                "Renaming a container with the same name as its current name",
            ));
        }
        self.shared
            .containers
            .reserve_name(name, &self.container.id)
            .map_err(|failure| failure.context("Error when allocating new name"))?;
        self.container.name = name.to_owned();
        crate::net::renamed(&self.shared, &mut self.container);
        if let Err(error) = self.save() {
            self.container.name = old;
            crate::net::renamed(&self.shared, &mut self.container);
            self.shared.containers.release_name(name, &self.container.id);
            return Err(error);
        }
        self.shared.containers.release_name(&old, &self.container.id);
        self.publish();
        self.event("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    /// Shows the record, as it is now, to everyone.
    pub(super) fn publish(&self) {
        self.publish.send_replace(Snapshot {
            container: Arc::new(self.container.clone()),
            exits: self.exits,
            last_exit: self.last_exit,
            failed_start: self.failed_start.clone(),
        });
        self.shared.containers.changed();
    }

    /// As [`Actor::publish`], with the event of it: whoever is told finds the record so.
    pub(super) fn publish_as(&self, action: &str, more: &[(&str, String)]) {
        let now = self.shared.now();
        self.shared.events.container_of(&self.container, action, more, now, || self.publish());
    }

    /// Writes the record.
    pub(super) fn save(&self) -> Result<(), Failure> {
        save(&self.shared, &self.container)
    }

    /// As [`Actor::save`] where a failure cannot be told to anyone and the next save mends it.
    pub(super) fn save_or_warn(&self) {
        if let Err(error) = self.save() {
            tracing::warn!(id = %self.container.id, %error, "container record is stale");
        }
    }

    pub(super) fn event(&self, action: &str, more: &[(&str, String)]) {
        self.shared.events.container(&self.container, action, more, self.shared.now());
    }

    /// Keeps in the record what is done to the container now, so that another daemon knows, too. Whoever calls saves.
    pub(super) fn remember(&mut self, action: &str, signal: Option<i32>) {
        let deeds = &mut self.container.state.deeds;
        if action == "start" {
            deeds.clear();
        }
        if deeds.len() == MOST_DEEDS {
            // The first is the start.
            deeds.remove(1);
        }
        deeds.push(Deed { action: action.to_owned(), signal });
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.container.state.phase = phase;
    }
}

/// Writes the record of a container that runs, or is about to.
fn save(shared: &Shared, container: &Container) -> Result<(), Failure> {
    let care = if shared.is_passing(container) { Care::Passing } else { Care::Ordered };
    shared.dirs.save(container, care)
}

/// The one who asked may be gone: then nobody needs the answer.
pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, Failure>) {
    reply.send(result).ok();
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

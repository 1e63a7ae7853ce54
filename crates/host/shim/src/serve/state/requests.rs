//! What clients ask of a shim, and what they are told.

use std::os::fd::AsFd;

use ferry_cgroup::Cgroup;
use ferry_runtime::Running;
use ferry_sys::pidfd;
use rustix::event::PollFlags;

use super::{Made, Phase, Shim};
use crate::{
    log::Stream,
    serve::{
        client::{Client, Role},
        external::Refusal,
        output::frame_head,
    },
    wire::{self, Command, Event, Request},
};

impl Shim {
    pub(in crate::serve) fn serve_client(&mut self, index: usize, flags: PollFlags) {
        let Some(mut client) = self.clients[index].take() else { return };
        if flags.contains(PollFlags::OUT) {
            client.flush();
        }
        if flags.contains(PollFlags::IN) {
            client.fill();
        }
        if flags.intersects(PollFlags::HUP | PollFlags::ERR) && !flags.contains(PollFlags::IN) {
            client.dead = true;
        }
        self.hear(&mut client);
        self.clients[index] = Some(client);
    }

    /// Acts on what a client said.
    fn hear(&mut self, client: &mut Client) {
        if client.role == Role::New {
            match client.frame::<Request>() {
                Some(request) => self.greet(client, request),
                None if client.half_closed => client.dead = true,
                None => return,
            }
        }
        match client.role.clone() {
            Role::New => {}
            Role::Control { .. } => {
                while let Some(command) = client.frame::<Command>() {
                    self.obey(client, command);
                }
                client.dead |= client.half_closed;
            }
            Role::Stream { exec, stdin, .. } => self.take_input(client, exec, stdin),
        }
    }

    fn greet(&mut self, client: &mut Client, request: Request) {
        match request {
            Request::Control { version: _, owner } => {
                client.role = Role::Control { owner };
                self.owned |= owner;
                client.tell(&Event::State {
                    pid: (self.pid != 0).then_some(self.pid),
                    started: matches!(self.phase, Phase::Running(_)),
                    user: match &self.phase {
                        Phase::Running(running) => running.user.clone(),
                        _ => None,
                    },
                    execs: self.execs.iter().flatten().map(|exec| exec.id.clone()).collect(),
                });
                for (id, exit_code) in &self.exec_exits {
                    client.tell(&Event::ExecExited { id: id.clone(), exit_code: *exit_code });
                }
                match &self.phase {
                    Phase::Created(created) if owner => {
                        let warnings = match created {
                            Made::Own(created) => created.warnings().to_vec(),
                            Made::External(_) => Vec::new(),
                        };
                        client.tell(&Event::Created { pid: self.pid, warnings });
                    }
                    Phase::Failed { code, message } if owner => {
                        client.tell(&Event::StartFailed { code: *code, message: message.clone() });
                        client.closing = true;
                        self.phase = Phase::Ended;
                    }
                    _ => {}
                }
            }
            Request::Attach(wire::Attach { stdin, stdout, stderr, dated }) => {
                client.role = Role::Stream { exec: None, stdin, stdout, stderr };
                if dated {
                    client.tell(&Event::AttachedAt { moment: super::now() });
                    self.tell_unfinished(client, stdout, stderr);
                } else {
                    client.tell(&Event::Attached);
                }
            }
            Request::Exec(exec) => self.start_exec(client, *exec),
        }
    }

    /// Lines that have begun: others have their beginnings already, and the log has none of them.
    fn tell_unfinished(&self, client: &mut Client, stdout: bool, stderr: bool) {
        let Some(log) = &self.log else { return };
        for (wanted, stream) in [(stdout, Stream::Stdout), (stderr, Stream::Stderr)] {
            let bytes = log.unfinished(stream);
            if !wanted || bytes.is_empty() {
                continue;
            }
            match self.streams.is_terminal() {
                true => client.send(&[], bytes),
                false => client.send(&frame_head(stream == Stream::Stderr, bytes.len()), bytes),
            }
        }
    }

    fn obey(&mut self, client: &mut Client, command: Command) {
        match command {
            Command::Start => self.start(client),
            Command::Kill { signal } => {
                let target = match &self.phase {
                    Phase::Running(running) => running.pidfd.as_fd(),
                    Phase::Created(made) => made.pidfd(),
                    Phase::Failed { .. } | Phase::Ended => return,
                };
                // It may have ended a moment ago. A runtime that does not obey must not keep a container alive.
                let told = self.external.as_ref().is_some_and(|other| other.kill(signal).is_ok());
                if !told {
                    pidfd::send_signal(target, signal).ok();
                }
            }
            Command::ReopenLog => {
                let error = match &mut self.log {
                    Some(log) => log.reopen().err().map(|error| error.to_string()),
                    None => None,
                };
                client.tell(&Event::LogReopened { error });
            }
            Command::Resize { exec: None, rows, cols } => self.streams.resize(rows, cols),
            Command::Resize { exec: Some(id), rows, cols } => {
                if let Some(exec) = self.execs.iter().flatten().find(|exec| exec.id == id) {
                    exec.streams.resize(rows, cols);
                }
            }
        }
    }

    fn start(&mut self, asker: &mut Client) {
        let created = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Created(created) => created,
            other => {
                self.phase = other;
                return;
            }
        };
        match self.begin(created) {
            Ok(mut running) => {
                self.mounts = running.mounts.take();
                if let Some(master) = running.master.take() {
                    self.streams.set_terminal(master);
                }
                if self.external.is_none() {
                    ferry_runtime::run_poststart(&self.bundle(), running.pid);
                }
                let (warnings, user) = (running.warnings.clone(), running.user.clone());
                self.tell_all(asker, &Event::Started { pid: running.pid, warnings, user });
                self.phase = Phase::Running(running);
                // As long as the holder is there, the group is.
                self.counted = self.cgroup.as_ref().and_then(Cgroup::watch_end);
                self.holder = None;
            }
            Err((code, message)) => {
                self.finish(code, false);
                self.tell_all(asker, &Event::StartFailed { code, message });
                asker.closing = true;
            }
        }
    }

    fn begin(&self, made: Made) -> Result<Running, Refusal> {
        match (made, &self.external) {
            (Made::Own(created), _) => {
                created.start().map_err(|error| (i32::from(error.exit_code()), error.to_string()))
            }
            (Made::External(waiting), Some(external)) => match external.start() {
                Ok(()) => Ok(waiting.started()),
                Err(refusal) => {
                    self.abandon(Made::External(waiting));
                    Err(refusal)
                }
            },
            (Made::External(_), None) => Err((128, "the container has no runtime".to_owned())),
        }
    }

    /// Ends a container that was never started.
    pub(super) fn abandon(&self, made: Made) {
        match made {
            Made::Own(created) => created.kill(),
            Made::External(waiting) => {
                if let Some(external) = &self.external {
                    external.delete();
                }
                pidfd::send_signal(waiting.pidfd.as_fd(), 9).ok();
                pidfd::wait(waiting.pidfd.as_fd()).ok();
            }
        }
    }

    fn tell_all(&mut self, asker: &mut Client, event: &Event) {
        asker.tell(event);
        self.tell_controls(event);
    }

    pub(in crate::serve) fn tell_controls(&mut self, event: &Event) {
        for client in self.clients.iter_mut().flatten() {
            if matches!(client.role, Role::Control { .. }) {
                client.tell(event);
            }
        }
    }

    /// Whoever launched a container that is not started yet is gone: nobody will ever start it.
    pub(super) fn owner_left(&mut self) {
        if let Phase::Created(_) = &self.phase
            && let Phase::Created(made) = std::mem::replace(&mut self.phase, Phase::Ended)
        {
            self.abandon(made);
            self.finish(137, false);
        }
    }
}

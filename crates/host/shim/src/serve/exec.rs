//! Further processes in the container.

use std::os::fd::AsFd;

use ferry_runtime::{ExecRequest, Running};
use ferry_sys::pidfd;

use super::{
    client::{Client, Role},
    output::Streams,
    state::Shim,
};
use crate::wire::{self, Event};

/// Most execs at once; each costs a process and some descriptors.
const MAX_EXECS: usize = 1024;

/// A further process.
pub(super) struct Exec {
    pub(super) id: String,
    pub(super) running: Running,
    pub(super) streams: Streams,
    tied: bool,
}

impl Shim {
    pub(super) fn start_exec(&mut self, client: &mut Client, exec: wire::Exec) {
        let attach = exec.attach;
        let detached = exec.detached;
        match self.exec(exec) {
            Ok(index) => {
                let pid = self.execs[index].as_ref().map_or(0, |exec| exec.running.pid);
                client.tell(&Event::ExecStarted { pid });
                client.role = Role::Stream {
                    exec: Some(index),
                    stdin: attach.stdin,
                    stdout: attach.stdout,
                    stderr: attach.stderr,
                };
                if detached {
                    client.closing = true;
                }
            }
            Err((code, message)) => {
                client.tell(&Event::ExecFailed { code, message });
                client.role = Role::Control { owner: false };
                client.closing = true;
            }
        }
    }

    fn exec(&mut self, exec: wire::Exec) -> Result<usize, (i32, String)> {
        let Some((target, target_pid)) = self.target() else {
            return Err((125, "the container is not running".to_owned()));
        };
        if self.execs.iter().flatten().count() >= MAX_EXECS {
            return Err((125, format!("more than {MAX_EXECS} execs at once in one container")));
        }
        let size = exec.size.unwrap_or((0, 0));
        let (mut streams, stdio) = Streams::make(exec.tty, exec.attach.stdin, size)
            .map_err(|error| (125, format!("cannot make pipes: {error}")))?;
        let mut running = match &self.external {
            Some(external) => external.exec(target_pid, &exec.process, exec.tty, stdio)?,
            None => {
                let request = ExecRequest {
                    target,
                    target_pid,
                    spec: &self.launch.spec,
                    process: &exec.process,
                    filter: self.filter.as_deref().filter(|_| exec.filtered),
                    cgroup: self.cgroup.as_ref(),
                    preserve_fds: 0,
                };
                ferry_runtime::exec(&request, stdio)
                    .map_err(|error| (i32::from(error.exit_code()), ferry_errkind::chain(&error)))?
            }
        };
        if let Some(master) = running.master.take() {
            streams.set_terminal(master);
            if self.external.is_some() {
                streams.resize(size.0, size.1);
            }
        }
        let new = Exec { id: exec.id, running, streams, tied: exec.tied };
        let index = self.free_place();
        self.execs[index] = Some(new);
        Ok(index)
    }

    /// A place is not used again while somebody may still be attached to an earlier exec there.
    fn free_place(&mut self) -> usize {
        let attached = |index: usize| {
            let mut roles = self.clients.iter().flatten().map(|client| &client.role);
            roles.any(|role| matches!(role, Role::Stream { exec: Some(own), .. } if *own == index))
        };
        let free =
            (0..self.execs.len()).find(|&index| self.execs[index].is_none() && !attached(index));
        free.unwrap_or_else(|| {
            self.execs.push(None);
            self.execs.len() - 1
        })
    }

    /// A client is gone: what was run for it alone is of no use any more.
    pub(super) fn reader_left(&self, index: usize) {
        if let Some(Some(exec)) = self.execs.get(index)
            && exec.tied
        {
            pidfd::send_signal(exec.running.pidfd.as_fd(), 9).ok();
        }
    }

    pub(super) fn exec_ended(&mut self, index: usize) {
        let Some(Some(exec)) = self.execs.get(index) else { return };
        if let Ok(Some(ended)) = pidfd::try_wait(exec.running.pidfd.as_fd()) {
            self.close_exec(index, ended.code());
        }
    }

    /// It was killed with the container.
    pub(super) fn exec_over(&mut self, index: usize) {
        let Some(Some(exec)) = self.execs.get(index) else { return };
        let code = pidfd::wait(exec.running.pidfd.as_fd()).map_or(137, pidfd::Ended::code);
        self.close_exec(index, code);
    }

    /// Its exit code is told before its streams close, so that whoever sees the end of the streams finds the code.
    fn close_exec(&mut self, index: usize, exit_code: i32) {
        self.drain(Some(index));
        let Some(exec) = self.execs[index].take() else { return };
        self.remember_exec(exec.id.clone(), exit_code);
        self.tell_controls(&Event::ExecExited { id: exec.id, exit_code });
        for client in self.clients.iter_mut().flatten() {
            if matches!(client.role, Role::Stream { exec: Some(own), .. } if own == index) {
                client.closing = true;
            }
        }
    }
}

//! A process's standard streams, from the shim's side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_runtime::{Stdio, StdioRequest};
use rustix::{
    event::PollFlags,
    fs::OFlags,
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};

use super::{
    Source,
    client::{Client, Role},
    state::{self, Shim},
};
use crate::log::Stream;

/// Bytes read at once.
const READ: usize = 256 * 1024;

/// Room in a pipe; the kernel lets an unprivileged user have so much (`/proc/sys/fs/pipe-max-size`).
const PIPE: usize = 1024 * 1024;

/// Standard streams of the container's process or of an exec.
#[derive(Debug, Default)]
pub(super) struct Streams {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    is_terminal: bool,
    /// Input that the process did not take yet.
    input: Vec<u8>,
    /// Close its input when it has taken everything.
    input_over: bool,
}

impl Streams {
    /// Our ends and the process's.
    pub(super) fn make(
        terminal: bool,
        open_stdin: bool,
        size: (u16, u16),
    ) -> Result<(Streams, StdioRequest), Errno> {
        if terminal {
            let streams = Streams { is_terminal: true, ..Streams::default() };
            return Ok((streams, StdioRequest::Terminal { rows: size.0, cols: size.1 }));
        }
        let (stdout, child_stdout) = output_pipe()?;
        let (stderr, child_stderr) = output_pipe()?;
        let (stdin, child_stdin) = if open_stdin {
            let (child, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            nonblocking(&ours)?;
            (Some(ours), child)
        } else {
            (
                None,
                rustix::fs::open(
                    "/dev/null",
                    OFlags::RDONLY | OFlags::CLOEXEC,
                    rustix::fs::Mode::empty(),
                )?,
            )
        };
        let streams =
            Streams { stdin, stdout: Some(stdout), stderr: Some(stderr), ..Streams::default() };
        let stdio = Stdio { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr };
        Ok((streams, StdioRequest::Files(stdio)))
    }

    /// The terminal is there: it is input and output at once.
    pub(super) fn set_terminal(&mut self, master: OwnedFd) {
        nonblocking(&master).ok();
        self.stdout = rustix::io::fcntl_dupfd_cloexec(&master, 3).ok();
        self.stdin = rustix::io::fcntl_dupfd_cloexec(&master, 3).ok();
        self.terminal = Some(master);
        self.is_terminal = true;
    }

    pub(super) fn resize(&self, rows: u16, cols: u16) {
        if let Some(terminal) = &self.terminal {
            state::set_size(terminal.as_fd(), rows, cols);
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    pub(super) fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    pub(super) fn close_input(&mut self) {
        self.input_over = true;
        if self.input.is_empty() {
            self.stdin = None;
        }
    }

    pub(super) fn each_source<'s>(
        &'s self,
        exec: Option<usize>,
        add: &mut impl FnMut(Source, BorrowedFd<'s>, PollFlags),
        behind: impl Fn(bool) -> bool,
    ) {
        for (stderr, fd) in [(false, &self.stdout), (true, &self.stderr)] {
            if let Some(fd) = fd
                && !behind(stderr)
            {
                add(Source::Output { exec, stderr }, fd.as_fd(), PollFlags::IN);
            }
        }
        if let Some(stdin) = &self.stdin
            && self.has_input()
        {
            add(Source::Input { exec }, stdin.as_fd(), PollFlags::OUT);
        }
    }

    /// Gives the process what it has not taken yet.
    fn push(&mut self) {
        let Some(stdin) = &self.stdin else {
            self.input.clear();
            return;
        };
        while !self.input.is_empty() {
            match rustix::io::write(stdin, &self.input) {
                Ok(count) => drop(self.input.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // It does not read any more.
                    self.input.clear();
                    self.stdin = None;
                    return;
                }
            }
        }
        if self.input_over {
            self.stdin = None;
        }
    }
}

fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    nonblocking(&read)?;
    // Fewer switches between writer and shim; where it is not allowed, the default serves.
    fcntl_setpipe_size(&read, PIPE).ok();
    Ok((read, write))
}

fn nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)
}

/// Whether there may be more, after so many bytes.
#[derive(Debug, PartialEq, Eq)]
enum Pumped {
    More(usize),
    Empty,
}

impl Shim {
    pub(super) fn pump_output(&mut self, exec: Option<usize>, stderr: bool) {
        self.pump(exec, stderr);
    }

    /// Passes on everything that is in the pipes now. What goes on writing, because it was left behind in the background, could keep
    /// us here for ever: there is no more in a pipe than fits.
    pub(super) fn drain(&mut self, exec: Option<usize>) {
        for stderr in [false, true] {
            let mut left = PIPE;
            while let Pumped::More(count) = self.pump(exec, stderr) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
        }
    }

    fn pump(&mut self, exec: Option<usize>, stderr: bool) -> Pumped {
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.is_empty() {
            buffer = vec![0; READ];
        }
        let result = match self.output(exec, stderr) {
            Some(fd) => rustix::io::read(fd, &mut buffer[..]),
            None => Err(Errno::AGAIN),
        };
        let pumped = match result {
            Ok(count) if count > 0 => {
                self.pass_on(exec, stderr, &buffer[..count]);
                Pumped::More(count)
            }
            Err(Errno::INTR) => Pumped::More(0),
            Err(Errno::AGAIN) => Pumped::Empty,
            // The end; a terminal without processes says EIO.
            Ok(_) | Err(_) => {
                self.close_output(exec, stderr);
                Pumped::Empty
            }
        };
        self.buffer = buffer;
        pumped
    }

    fn output(&self, exec: Option<usize>, stderr: bool) -> Option<&OwnedFd> {
        let streams = match exec {
            None => &self.streams,
            Some(index) => &self.execs.get(index)?.as_ref()?.streams,
        };
        if stderr { streams.stderr.as_ref() } else { streams.stdout.as_ref() }
    }

    fn close_output(&mut self, exec: Option<usize>, stderr: bool) {
        let Some(streams) = self.streams_of(exec) else { return };
        if stderr {
            streams.stderr = None;
        } else {
            streams.stdout = None;
        }
    }

    pub(super) fn streams_of(&mut self, exec: Option<usize>) -> Option<&mut Streams> {
        match exec {
            None => Some(&mut self.streams),
            Some(index) => self.execs.get_mut(index)?.as_mut().map(|exec| &mut exec.streams),
        }
    }

    fn pass_on(&mut self, exec: Option<usize>, stderr: bool, bytes: &[u8]) {
        let terminal = self.streams_of(exec).is_some_and(|streams| streams.is_terminal());
        for client in self.clients.iter_mut().flatten() {
            let wants = matches!(client.role, Role::Stream { exec: own, stdout, stderr: own_stderr, .. }
                if own == exec && if stderr { own_stderr } else { stdout });
            if wants && terminal {
                client.send(&[], bytes);
            } else if wants {
                client.send(&frame_head(stderr, bytes.len()), bytes);
            }
        }
        if exec.is_none()
            && let Some(log) = &mut self.log
        {
            let stream = if stderr { Stream::Stderr } else { Stream::Stdout };
            if let Err(error) = log.write(stream, bytes, state::now()) {
                // A full disk must not stop the container: the log ends here, and says so where the daemon's log is.
                state::complain(&format!("{}: log ends: {error}", self.launch.id));
                self.log = None;
            }
        }
    }

    pub(super) fn pump_input(&mut self, exec: Option<usize>) {
        if let Some(streams) = self.streams_of(exec) {
            streams.push();
        }
    }

    /// Hands what a client sent to the process.
    pub(super) fn take_input(&mut self, client: &mut Client, exec: Option<usize>, stdin: bool) {
        let once = self.launch.stdin_once || exec.is_some();
        let bytes = std::mem::take(&mut client.incoming);
        let Some(streams) = self.streams_of(exec) else { return };
        if stdin {
            streams.input.extend_from_slice(&bytes);
            streams.push();
            // The end of a terminal's input is a character, not the end of a connection.
            if client.half_closed && once && !streams.is_terminal {
                streams.close_input();
            }
        }
    }
}

/// Docker's multiplexed stream: stream number, three zeros, length (big endian).
pub(super) fn frame_head(stderr: bool, length: usize) -> [u8; 8] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [if stderr { 2 } else { 1 }, 0, 0, 0, a, b, c, d]
}

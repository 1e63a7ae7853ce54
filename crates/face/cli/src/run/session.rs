//! A container's streams and ours: one thread for each direction, because both may block for as long as they like, each on its own.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ferry_client::{Hijacked, Stream};
use ferry_docker_api::stream::{Demultiplexer, StreamKind};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::keys::Watcher;
use crate::framework::{CliError, RawMode, write_fd};

/// As much as the kernel holds for a socket by default, so that one call empties it.
const OUTPUT_BUFFER: usize = 256 << 10;
const INPUT_BUFFER: usize = 64 << 10;
/// How long the daemon may take to hang up after the detach keys.
const PARTING: Duration = Duration::from_secs(1);

/// Which streams are ours, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wiring {
    /// Send standard input.
    pub(crate) stdin: bool,
    /// Show standard output.
    pub(crate) stdout: bool,
    /// Show standard error.
    pub(crate) stderr: bool,
    /// The container has a terminal: output is not in frames, and input is typed.
    pub(crate) tty: bool,
    /// Keys that detach; empty for docker's default.
    pub(crate) detach_keys: String,
    /// Signals are forwarded. Then docker catches that of a closed pipe, too, and says what happened instead of dying of it.
    pub(crate) proxied: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The container closed its output; or none was wanted, and input is at its end.
    Streams,
    /// The user typed the detach keys.
    Detached,
}

/// A session in progress. Dropping it gives the terminal back.
#[derive(Debug)]
pub(crate) struct Session {
    raw: Option<RawMode>,
    output: Option<oneshot::Receiver<Result<(), CliError>>>,
    input: Option<oneshot::Receiver<()>>,
    /// The detach keys were typed. Set before the daemon can know of it, so that it is true when the daemon hangs up for them.
    detached: Arc<AtomicBool>,
}

impl Session {
    /// Connects the container with our descriptors. Must be called within the runtime.
    pub(crate) fn start(hijacked: Hijacked, wiring: &Wiring) -> Result<Self, CliError> {
        let broken =
            |error: io::Error| CliError::new(format!("cannot take over the connection: {error}"));
        let early = hijacked.early;
        let socket = Arc::new(blocking(hijacked.stream).map_err(broken)?);
        let raw =
            (wiring.stdin && wiring.tty).then(|| RawMode::enter(rustix::stdio::stdin())).flatten();
        let mut session = Session { raw, output: None, input: None, detached: Arc::default() };
        if wiring.stdout || wiring.stderr {
            let (done, receiver) = oneshot::channel();
            let (socket, wiring) = (Arc::clone(&socket), wiring.clone());
            let work = move || {
                let result = Output::new(&wiring).run(&socket, &early);
                // Nobody is interested any more when we detached.
                drop(done.send(result));
            };
            thread::Builder::new().name("output".to_owned()).spawn(work).map_err(broken)?;
            session.output = Some(receiver);
        }
        let (done, receiver) = oneshot::channel();
        if wiring.stdin {
            let keys = wiring.tty.then(|| Watcher::new(&wiring.detach_keys));
            let detached = Arc::clone(&session.detached);
            let work = move || {
                copy_input(&socket, keys, &detached);
                let _ = done.send(());
            };
            thread::Builder::new().name("input".to_owned()).spawn(work).map_err(broken)?;
            session.input = Some(receiver);
        } else {
            // The container must not wait for input that never comes. That it has left already does not matter.
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Write);
            drop(done);
        }
        Ok(session)
    }

    /// Waits for the end. Gives the terminal back.
    pub(crate) async fn ended(&mut self) -> Result<Ended, CliError> {
        let result = self.wait().await;
        self.raw = None;
        result?;
        let detached = self.detached.load(Ordering::Acquire);
        Ok(if detached { Ended::Detached } else { Ended::Streams })
    }

    /// Gives the terminal back without waiting.
    pub(crate) fn leave(&mut self) {
        self.raw = None;
    }

    async fn wait(&mut self) -> Result<(), CliError> {
        let shows = self.output.is_some();
        let output = async {
            match &mut self.output {
                Some(output) => output.await.unwrap_or(Ok(())),
                None => std::future::pending().await,
            }
        };
        tokio::pin!(output);
        if let Some(input) = &mut self.input {
            tokio::select! {
                result = &mut output => return result,
                // A sender that is gone has nothing more to send.
                _ = input => self.input = None,
            }
            if self.detached.load(Ordering::Acquire) {
                // The daemon must have seen the keys before we leave: it hangs up then.
                drop(tokio::time::timeout(PARTING, output).await);
                return Ok(());
            }
        }
        if shows { output.await } else { Ok(()) }
    }
}

/// The connection as a descriptor that blocks. TLS stays with the runtime, behind a pair of sockets.
fn blocking(stream: Stream) -> io::Result<OwnedFd> {
    match stream {
        Stream::Unix(stream) => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            Ok(stream.into())
        }
        Stream::Tcp(stream) => {
            let stream = stream.into_std()?;
            stream.set_nonblocking(false)?;
            Ok(stream.into())
        }
        Stream::Tls(mut stream) => {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
            theirs.set_nonblocking(true)?;
            let mut theirs = tokio::net::UnixStream::from_std(theirs)?;
            tokio::spawn(async move {
                // It ends with either side; what was lost shows as the end of the output.
                drop(tokio::io::copy_bidirectional(&mut stream, &mut theirs).await);
            });
            Ok(ours.into())
        }
    }
}

/// Takes output apart and writes it where it belongs.
struct Output {
    stdout: bool,
    stderr: bool,
    frames: Option<Demultiplexer>,
    proxied: bool,
    told: Vec<u8>,
}

impl Output {
    fn new(wiring: &Wiring) -> Self {
        let frames = (!wiring.tty).then(Demultiplexer::default);
        Output {
            stdout: wiring.stdout,
            stderr: wiring.stderr,
            frames,
            proxied: wiring.proxied,
            told: Vec::new(),
        }
    }

    fn run(mut self, socket: &OwnedFd, early: &[u8]) -> Result<(), CliError> {
        self.write(early)?;
        let mut buffer = vec![0; OUTPUT_BUFFER];
        loop {
            match rustix::io::read(socket, &mut buffer) {
                Ok(0) => break,
                Ok(len) => self.write(&buffer[..len])?,
                Err(Errno::INTR) => {}
                // The daemon is gone; the exit code will tell, or cannot.
                Err(_) => break,
            }
        }
        if self.told.is_empty() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&self.told);
        Err(CliError::new(format!("error from daemon in stream: {}", told.trim_end())))
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), CliError> {
        let (stdout, stderr) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        let proxied = self.proxied;
        let put = |fd: BorrowedFd<'_>, name: &str, piece: &[u8]| {
            write_fd(fd, piece).map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe if proxied => {
                    CliError::new(format!("write /dev/{name}: broken pipe"))
                }
                _ => error.into(),
            })
        };
        let Some(frames) = &mut self.frames else { return put(stdout, "stdout", bytes) };
        loop {
            let next = frames.next(&mut bytes).map_err(|error| CliError::new(error.to_string()))?;
            match next {
                None => return Ok(()),
                Some((StreamKind::Stdin | StreamKind::Stdout, piece)) if self.stdout => {
                    put(stdout, "stdout", piece)?;
                }
                Some((StreamKind::Stderr, piece)) if self.stderr => {
                    put(stderr, "stderr", piece)?;
                }
                Some((StreamKind::SystemError, piece)) => self.told.extend_from_slice(piece),
                Some(_) => {}
            }
        }
    }
}

/// Sends standard input until its end, until the container does not take any more, or until the detach keys were typed.
fn copy_input(socket: &OwnedFd, mut keys: Option<Watcher>, detached: &AtomicBool) {
    let mut buffer = vec![0; INPUT_BUFFER];
    loop {
        match rustix::io::read(rustix::stdio::stdin(), &mut buffer) {
            Ok(0) => break,
            Ok(len) => {
                let leaves = keys.as_mut().is_some_and(|keys| keys.typed(&buffer[..len]));
                detached.store(leaves, Ordering::Release);
                if send(socket, &buffer[..len]).is_err() {
                    break;
                }
                if leaves {
                    return;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                use rustix::event::{PollFd, PollFlags, poll};
                let stdin = rustix::stdio::stdin();
                let _ = poll(&mut [PollFd::new(&stdin, PollFlags::IN)], None);
            }
            Err(_) => break,
        }
    }
    // The end of our input is the end of the container's.
    let _ = rustix::net::shutdown(socket.as_fd(), rustix::net::Shutdown::Write);
}

/// Sends all; a connection that was closed is an error, not a signal.
fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<()> {
    write_fd(socket.as_fd(), bytes)
}

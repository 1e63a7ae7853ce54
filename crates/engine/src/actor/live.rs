//! The connection to the shim of a container that is there.

use std::os::fd::AsRawFd;
use std::{io, path::Path, time::Duration};

use ferry_oci::runtime::User;
use ferry_shim::wire::{self, Attach, Command, Event, Request};
use ferry_stdx::time::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::oneshot,
};

/// A shim does at once what it is told.
const FINISH_PATIENCE: Duration = Duration::from_secs(5);

/// A wish to be connected with a container's streams, perhaps before it runs.
#[derive(Debug)]
pub(crate) struct AttachWish {
    pub(crate) streams: Attach,
    pub(crate) reply: oneshot::Sender<Attached>,
}

/// Somebody is connected with a container's streams.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) stream: UnixStream,
    /// What the log has until then is not in the stream, where the shim can say that.
    pub(crate) moment: Option<Timestamp>,
}

/// A control connection.
#[derive(Debug)]
pub(crate) struct Live {
    stream: UnixStream,
    buffer: Vec<u8>,
}

/// News from the shim that concerns the container's task.
#[derive(Debug)]
pub(crate) enum ShimEvent {
    Exited {
        exit_code: i32,
        oom_killed: bool,
        finished_at: i64,
    },
    ExecExited {
        id: String,
        exit_code: i32,
    },
    /// The shim is gone without a word.
    Lost,
}

/// How a shim stands when one connects to it.
#[derive(Debug)]
pub(crate) struct ShimState {
    pub(crate) pid: Option<i32>,
    pub(crate) started: bool,
    /// Who its program was started as.
    pub(crate) user: Option<User>,
    /// Execs that run.
    pub(crate) execs: Vec<String>,
}

impl Live {
    /// Connects to the shim in `run_dir`. `owner` says that a container that is not started yet is ours to start.
    pub(crate) async fn connect(run_dir: &Path, owner: bool) -> io::Result<(Live, ShimState)> {
        let stream = dial(run_dir).await?;
        let mut live = Live { stream, buffer: Vec::new() };
        live.send(&Request::Control { version: wire::VERSION, owner }).await?;
        match live.receive().await? {
            Event::State { pid, started, user, execs } => {
                Ok((live, ShimState { pid, started, user, execs }))
            }
            other => Err(io::Error::other(format!("the shim said {other:?} first"))),
        }
    }

    pub(crate) async fn command(&mut self, command: &Command) -> io::Result<()> {
        self.send(command).await
    }

    /// Says nothing more, and waits until the shim has done everything: then it closes, too.
    pub(crate) async fn finish(mut self) -> io::Result<()> {
        self.stream.shutdown().await?;
        let end = async { while self.receive().await.is_ok() {} };
        tokio::time::timeout(FINISH_PATIENCE, end).await?;
        Ok(())
    }

    /// The next event. Safe to drop before it is there.
    pub(crate) async fn receive(&mut self) -> io::Result<Event> {
        loop {
            if let Some((event, used)) = wire::decode(&self.buffer)? {
                self.buffer.drain(..used);
                return Ok(event);
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn send<T: serde::Serialize>(&mut self, value: &T) -> io::Result<()> {
        self.stream.write_all(&wire::encode(value)?).await
    }
}

/// The next event that the task must know of; never, when there is no shim.
pub(super) async fn next_event(live: &mut Option<Live>) -> ShimEvent {
    let Some(live) = live else { return std::future::pending().await };
    loop {
        match live.receive().await {
            Ok(Event::Exited { exit_code, oom_killed, finished_at }) => {
                return ShimEvent::Exited { exit_code, oom_killed, finished_at };
            }
            Ok(Event::ExecExited { id, exit_code }) => {
                return ShimEvent::ExecExited { id, exit_code };
            }
            Ok(_) => {}
            Err(_) => return ShimEvent::Lost,
        }
    }
}

/// Connects to a shim. A socket's path has at most 107 bytes, an exec root may have more: the directory is named by its
/// descriptor.
async fn dial(run_dir: &Path) -> io::Result<UnixStream> {
    let directory = std::fs::File::open(run_dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/shim.sock", directory.as_raw_fd())).await
}

/// A new connection to a shim that carries streams: the first frame is sent, the answer read.
pub(crate) async fn stream(run_dir: &Path, request: &Request) -> io::Result<(UnixStream, Event)> {
    let mut stream = dial(run_dir).await?;
    stream.write_all(&wire::encode(request)?).await?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let size = u32::from_le_bytes(length) as usize;
    if size > wire::MAX_FRAME {
        return Err(io::Error::other("the shim's answer is too large"));
    }
    let mut frame = length.to_vec();
    frame.resize(4 + size, 0);
    stream.read_exact(&mut frame[4..]).await?;
    match wire::decode(&frame)? {
        Some((event, _)) => Ok((stream, event)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

//! `logs`: what a container wrote.

use bytes::Bytes;
use ferry_errkind::{ErrorKind, Failure};
use ferry_logs::{Follow, Framing, OpenLog, ReadOptions};
use ferry_stdx::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{Engine, registry::Snapshot};

/// Pieces between the reader and a slow client.
const BACKLOG: usize = 8;

/// Which lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogsRequest {
    /// Go on until the container ends.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// The time before each line.
    pub timestamps: bool,
    /// Attributes before each line.
    pub details: bool,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only so many of the last.
    pub tail: Option<u64>,
}

/// A log being read.
#[derive(Debug)]
pub struct LogStream {
    /// The pieces are raw, else multiplexed.
    pub tty: bool,
    /// The pieces. Dropping this ends the reading.
    pub chunks: mpsc::Receiver<Result<Bytes, Failure>>,
}

/// Reads a container's log.
///
/// # Errors
/// There is no such container, or its log driver cannot be read.
pub async fn logs(engine: &Engine, name: &str, request: LogsRequest) -> Result<LogStream, Failure> {
    let shared = &engine.shared;
    let handle = shared.containers.find(name)?;
    let container = handle.container();
    let settings = shared.log_settings(&container.spec.host.log);
    if !ferry_logs::is_readable(&settings.driver, &settings.options) {
        let words = "configured logging driver does not support reading";
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let tty = container.spec.tty;
    let options = ReadOptions {
        stdout: request.stdout,
        stderr: request.stderr,
        since: request.since,
        until: request.until,
        tail: request.tail,
        timestamps: request.timestamps,
        details: request.details,
        framing: if tty { Framing::Raw } else { Framing::Multiplexed },
    };
    let path = shared.dirs.log(&container.id);
    let (sender, chunks) = mpsc::channel(BACKLOG);
    let follow = if request.follow && is_up(&handle.snapshot.borrow()) {
        Some(follow(handle.snapshot, sender.clone())?)
    } else {
        None
    };
    let (opened, open) = oneshot::channel();
    std::thread::Builder::new()
        .name("logs".to_owned())
        .spawn(move || {
            let log = match OpenLog::open(&path, follow) {
                Ok(log) => log,
                Err(error) => return drop(opened.send(Err(error))),
            };
            drop(opened.send(Ok(())));
            let mut sink = |piece: Vec<u8>| sender.blocking_send(Ok(Bytes::from(piece))).is_ok();
            if let Err(error) = log.read(&options, &mut sink) {
                // The client may be gone.
                sender.blocking_send(Err(error.into())).ok();
            }
        })
        .map_err(|error| {
            Failure::new(ErrorKind::Internal, format!("cannot start a log reader: {error}"))
        })?;
    // Whoever has the answer may remove the container: the files must be open by then.
    let open = open.await;
    shared.containers.find(&container.id)?;
    match open {
        Ok(open) => open?,
        Err(_) => return Err(Failure::new(ErrorKind::Internal, "the log reader ended")),
    }
    Ok(LogStream { tty, chunks })
}

fn is_up(snapshot: &Snapshot) -> bool {
    let phase = snapshot.container.state.phase;
    phase.is_running() || phase == ferry_model::container::Phase::Restarting
}

/// Ends the reading when the container has ended or the client is gone: by closing a pipe, which wakes the reader.
fn follow(
    mut snapshots: watch::Receiver<Snapshot>,
    client: mpsc::Sender<Result<Bytes, Failure>>,
) -> Result<Follow, Failure> {
    let (until_closed, keep_open) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| {
            Failure::new(ErrorKind::Internal, format!("cannot make a pipe: {errno}"))
        })?;
    tokio::spawn(async move {
        tokio::select! {
            // An error: the container was removed.
            _ = snapshots.wait_for(|snapshot| !is_up(snapshot)) => {}
            () = client.closed() => {}
        }
        drop(keep_open);
    });
    Ok(Follow { until_closed })
}

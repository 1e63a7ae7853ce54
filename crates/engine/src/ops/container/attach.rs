//! `attach`: a client on a container's streams.

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Phase;
use ferry_shim::wire::Attach;
use tokio::{net::UnixStream, sync::oneshot};

use std::time::Duration;

use super::{LogStream, LogsRequest, logs};
use crate::{
    Engine,
    actor::{AttachWish, Attached, Command},
};

/// A container that has ended meanwhile attaches nobody until it starts again.
const ATTACH_PATIENCE: Duration = Duration::from_secs(10);

/// What a client wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// What was written so far.
    pub logs: bool,
    /// What is written from now on, and input.
    pub stream: bool,
    /// Input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Keys that detach; empty is the default. Only terminals have them; the face acts on them.
    pub detach_keys: String,
}

/// A client's place.
#[derive(Debug)]
pub struct Attachment {
    /// The streams are raw, else multiplexed.
    pub tty: bool,
    /// Input is taken.
    pub stdin: bool,
    /// As asked.
    pub detach_keys: String,
    /// What was written so far, when asked for.
    pub logs: Option<LogStream>,
    /// The streams, when there are any.
    pub pending: PendingStream,
}

/// A stream that is there when the container runs.
#[derive(Debug)]
pub struct PendingStream(Pending);

#[derive(Debug)]
enum Pending {
    Nothing,
    Waiting(oneshot::Receiver<Attached>),
    There(UnixStream),
}

impl PendingStream {
    /// Waits for the container's start if need be. `None` when it never starts, or no stream was wanted.
    pub async fn connect(self) -> Option<UnixStream> {
        match self.0 {
            Pending::Nothing => None,
            Pending::Waiting(attached) => attached.await.ok().map(|attached| attached.stream),
            Pending::There(stream) => Some(stream),
        }
    }
}

/// Takes a place on a container's streams.
///
/// # Errors
/// There is no such container, or it is paused.
pub async fn attach(
    engine: &Engine,
    name: &str,
    request: AttachRequest,
) -> Result<Attachment, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let container = handle.container();
    if container.state.phase == Phase::Paused {
        let words = format!("container {name} is paused, unpause the container before attach");
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    if container.state.phase == Phase::Restarting {
        let words = format!("container {name} is restarting, wait until the container is running");
        return Err(Failure::new(ErrorKind::Conflict, words));
    }
    let stdin = request.stdin && container.spec.open_stdin;
    let now = engine.shared.now();
    engine.shared.events.container(&container, "attach", &[], now);
    // What is written when it runs comes by the stream: a slow reader of the log must not come upon it, too.
    let mut until = (container.state.phase != Phase::Running).then_some(now);
    let mut pending = Pending::Nothing;
    if request.stream {
        let (reply, attached) = oneshot::channel();
        let dated = request.logs;
        let streams = Attach { stdin, stdout: request.stdout, stderr: request.stderr, dated };
        handle.send(Command::Attach { wish: AttachWish { streams, reply } }).await?;
        pending = Pending::Waiting(attached);
        // One that runs is there at once, and says which of the log's records are before it.
        if let Pending::Waiting(attached) = &mut pending
            && request.logs
            && until.is_none()
            && let Ok(Ok(there)) = tokio::time::timeout(ATTACH_PATIENCE, attached).await
        {
            until = there.moment;
            pending = Pending::There(there.stream);
        }
    }
    let AttachRequest { stdout, stderr, .. } = request;
    let wanted = LogsRequest { stdout, stderr, until, ..LogsRequest::default() };
    let logs = if request.logs { Some(logs(engine, name, wanted).await?) } else { None };
    let pending = PendingStream(pending);
    let detach_keys = request.detach_keys;
    Ok(Attachment { tty: container.spec.tty, stdin, detach_keys, logs, pending })
}

//! `attach`: a client on a container's streams.

use ferry_errkind::{ErrorKind, Failure};
use ferry_model::container::Phase;
use ferry_shim::wire::Attach;
use tokio::{net::UnixStream, sync::oneshot};

use super::{LogStream, LogsRequest, logs};
use crate::{
    Engine,
    actor::{AttachWish, Command},
};

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
pub struct PendingStream(Option<oneshot::Receiver<UnixStream>>);

impl PendingStream {
    /// Waits for the container's start if need be. `None` when it never starts, or no stream was wanted.
    pub async fn connect(self) -> Option<UnixStream> {
        self.0?.await.ok()
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
    let pending = if request.stream {
        let (reply, stream) = oneshot::channel();
        let streams = Attach { stdin, stdout: request.stdout, stderr: request.stderr };
        handle.send(Command::Attach { wish: AttachWish { streams, reply } }).await?;
        Some(stream)
    } else {
        None
    };
    // What is written when it runs comes by the stream: a slow reader of the log must not come upon it, too.
    let until = (container.state.phase != Phase::Running).then_some(now);
    let AttachRequest { stdout, stderr, .. } = request;
    let wanted = LogsRequest { stdout, stderr, until, ..LogsRequest::default() };
    let logs = if request.logs { Some(logs(engine, name, wanted).await?) } else { None };
    let pending = PendingStream(pending);
    let detach_keys = request.detach_keys;
    Ok(Attachment { tty: container.spec.tty, stdin, detach_keys, logs, pending })
}

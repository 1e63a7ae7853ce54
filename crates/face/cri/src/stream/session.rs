//! A program's streams, from and to a client: exec and attach.

use bytes::{Bytes, BytesMut};
use ferry_engine::{
    Engine,
    ops::{
        container::{self, AttachRequest},
        exec::{self, StartExec},
        pod,
    },
};
use ferry_errkind::{ErrorKind, Failure};
use ferry_model::exec::ExecSpec;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf, unix::OwnedWriteHalf},
    sync::mpsc,
};

use super::{Input, Output, Ticket};
use crate::api;

/// Bytes that are passed on at once.
const CHUNK: usize = 32 * 1024;

/// Which streams a client has, from a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    pub(crate) tty: bool,
}

impl Wanted {
    /// `None`: the ticket is for ports.
    pub(crate) fn of(ticket: &Ticket) -> Option<Wanted> {
        match ticket {
            Ticket::Exec(api::ExecRequest { tty, stdin, stdout, stderr, .. })
            | Ticket::Attach(api::AttachRequest { tty, stdin, stdout, stderr, .. }) => {
                // A terminal has one output.
                let stderr = *stderr && !tty;
                Some(Wanted { stdin: *stdin, stdout: *stdout, stderr, tty: *tty })
            }
            Ticket::Forward(_) => None,
        }
    }
}

/// What runs behind a session.
enum Target {
    Exec(String),
    Container(String),
}

/// Runs a session to its end. The last output says how it went.
pub(crate) async fn run(
    engine: Engine,
    ticket: Ticket,
    inputs: mpsc::Receiver<Input>,
    outputs: mpsc::Sender<Output>,
) {
    let done = match open(&engine, &ticket).await {
        Ok((stream, target, tty)) => {
            let (reader, writer) = stream.into_split();
            let feeding = tokio::spawn(feed(engine.clone(), inputs, writer, target.id()));
            let carried = carry(reader, tty, &outputs).await;
            let done = match (&target, carried) {
                (Target::Exec(id), true) => end_of(exec::wait(&engine, id).await),
                // Its client is gone, or it was attached to.
                (Target::Exec(_), false) | (Target::Container(_), _) => success(),
            };
            feeding.abort();
            done
        }
        Err(failure) => failed(&failure),
    };
    outputs.send(Output::Done(done)).await.ok();
}

impl Target {
    fn id(&self) -> Target {
        match self {
            Target::Exec(id) => Target::Exec(id.clone()),
            Target::Container(id) => Target::Container(id.clone()),
        }
    }
}

async fn open(engine: &Engine, ticket: &Ticket) -> Result<(UnixStream, Target, bool), Failure> {
    match ticket {
        Ticket::Exec(request) => {
            let it = pod::find(engine, &request.container_id)?;
            let spec = ExecSpec {
                cmd: request.cmd.clone(),
                tty: request.tty,
                attach_stdin: request.stdin,
                attach_stdout: request.stdout,
                attach_stderr: request.stderr,
                ..ExecSpec::default()
            };
            let id = exec::create(engine, &it.id, spec).await?;
            let how = StartExec { tty: request.tty, ..StartExec::default() };
            let stream = exec::start(engine, &id, how).await?;
            let stream = stream.ok_or_else(|| gone("the exec has no stream"))?;
            Ok((stream, Target::Exec(id), request.tty))
        }
        Ticket::Attach(request) => {
            let it = pod::find(engine, &request.container_id)?;
            if !it.state.phase.is_running() {
                return Err(gone("the container is not running"));
            }
            let wish = AttachRequest {
                stream: true,
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                ..AttachRequest::default()
            };
            let place = container::attach(engine, &it.id, wish).await?;
            let stream = place.pending.connect().await;
            let stream = stream.ok_or_else(|| gone("the container has ended"))?;
            Ok((stream, Target::Container(it.id.clone()), place.tty))
        }
        Ticket::Forward(_) => Err(gone("ports have no session")),
    }
}

fn gone(words: &str) -> Failure {
    Failure::new(ErrorKind::Conflict, words)
}

/// Passes a client's input on.
async fn feed(
    engine: Engine,
    mut inputs: mpsc::Receiver<Input>,
    mut writer: OwnedWriteHalf,
    target: Target,
) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Stdin(bytes) if bytes.is_empty() => drop(writer.shutdown().await),
            Input::Stdin(bytes) => {
                // A program that reads no more is no reason to stop its output.
                writer.write_all(&bytes).await.ok();
            }
            Input::Resize(width, height) => {
                let (width, height) = (width.into(), height.into());
                let resized = match &target {
                    Target::Exec(id) => exec::resize(&engine, id, height, width).await,
                    Target::Container(id) => container::resize(&engine, id, height, width).await,
                };
                if let Err(failure) = resized {
                    tracing::debug!(%failure, "a terminal keeps its size");
                }
            }
        }
    }
    // The client is gone: nobody will write any more.
    writer.shutdown().await.ok();
}

/// Passes output on until there is no more (true), or nobody wants it (false).
async fn carry(mut reader: OwnedReadHalf, tty: bool, outputs: &mpsc::Sender<Output>) -> bool {
    let mut head = [0; 8];
    loop {
        let (is_stderr, mut left) = if tty {
            (false, usize::MAX)
        } else {
            let read = tokio::select! {
                read = reader.read_exact(&mut head) => read,
                () = outputs.closed() => return false,
            };
            if read.is_err() {
                return true;
            }
            let [kind, _, _, _, a, b, c, d] = head;
            (kind == 2, u32::from_be_bytes([a, b, c, d]) as usize)
        };
        while left > 0 {
            let mut chunk = BytesMut::zeroed(left.min(CHUNK));
            let read = tokio::select! {
                read = reader.read(&mut chunk) => read,
                () = outputs.closed() => return false,
            };
            let count = match read {
                Ok(0) | Err(_) => return true,
                Ok(count) => count,
            };
            chunk.truncate(count);
            left = left.saturating_sub(if tty { 0 } else { count });
            let bytes: Bytes = chunk.freeze();
            let output = if is_stderr { Output::Stderr(bytes) } else { Output::Stdout(bytes) };
            if outputs.send(output).await.is_err() {
                return false;
            }
        }
    }
}

fn success() -> Value {
    json!({ "metadata": {}, "status": "Success" })
}

fn end_of(code: Result<i32, Failure>) -> Value {
    match code {
        Ok(0) => success(),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Err(failure) => failed(&failure),
    }
}

/// The status of what did not come about.
pub(crate) fn failed(failure: &Failure) -> Value {
    json!({
        "metadata": {},
        "status": "Failure",
        "message": format!("Internal error occurred: error executing command: {}", failure.message()),
        "reason": "InternalError",
        "details": { "causes": [{ "message": failure.message() }] },
        "code": 500,
    })
}

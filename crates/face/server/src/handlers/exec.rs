//! `/containers/{id}/exec` and `/exec`.

use bytes::{Bytes, BytesMut};
use ferry_docker_api::{
    ExecConfig, ExecCreated, ExecStartConfig,
    stream::{self, StreamKind},
};
use ferry_engine::{
    Engine,
    ops::exec::{self as ops, StartExec},
};
use ferry_errkind::{ErrorKind, Failure};
use http::StatusCode;

use super::container::terminal_size;
use crate::{
    convert,
    detach::DetachKeys,
    hijack::{self, Input},
    reply::{self, Reply},
    request::Request,
};

pub(crate) async fn create(mut request: Request) -> Result<Reply, Failure> {
    let config: ExecConfig = request.json().await?;
    let spec = convert::exec::spec(config)?;
    DetachKeys::parse(&spec.detach_keys)?;
    let id = ops::create(&request.engine, request.name(), spec).await?;
    reply::created(&ExecCreated { id })
}

/// Detached, it answers when the process runs. Attached, the connection becomes its streams. A program that cannot be started is
/// told there, too, as dockerd does: clients take the exit code (126, 127) from inspect, and would not look after an error.
pub(crate) async fn start(mut request: Request) -> Result<Reply, Failure> {
    let ExecStartConfig { detach, tty, console_size } = request.json().await?;
    let id = request.name().to_owned();
    let spec = ops::inspect(&request.engine, &id).await?.spec;
    let console_size = console_size.filter(|_| spec.tty).map(|[height, width]| (height, width));
    let input = match (spec.attach_stdin, spec.tty) {
        (false, _) => Input::None,
        (true, false) => Input::Stdin,
        (true, true) => Input::Terminal(DetachKeys::parse(&spec.detach_keys)?),
    };
    let how = StartExec { detach, tty, console_size };
    let started = ops::start(&request.engine, &id, how).await;
    let conflicts = |failure: &Failure| failure.kind() == ErrorKind::Conflict;
    let again = started.as_ref().is_err_and(conflicts) && was_started(&request.engine, &id).await;
    let started = match started {
        Ok(None) => return Ok(reply::status(StatusCode::OK)),
        Ok(Some(stream)) => Ok(stream),
        // Docker Compose starts each a second time, and would take an error for one.
        Err(failure) if detach || (conflicts(&failure) && !again) => return Err(failure),
        Err(failure) => Err(told_in_stream(&failure, spec.tty)),
    };
    let (reply, client) = hijack::hijack(request, !spec.tty);
    tokio::spawn(async move {
        let Some(mut client) = client.ready().await else { return };
        match started {
            Ok(stream) => {
                client.pump(stream, input).await;
            }
            Err(words) => {
                client.send(words).await;
                client.close().await;
            }
        }
    });
    Ok(reply)
}

async fn was_started(engine: &Engine, id: &str) -> bool {
    let found = ops::inspect(engine, id).await;
    found.is_ok_and(|exec| exec.running || exec.exit_code.is_some())
}

/// A failure as a line of the process's output.
fn told_in_stream(failure: &Failure, tty: bool) -> Bytes {
    let words = format!("{failure}\r\n");
    if tty {
        return Bytes::from(words);
    }
    // No failure has 4 GiB of words.
    let len = u32::try_from(words.len()).unwrap_or(u32::MAX);
    let mut frame = BytesMut::from(&stream::encode_header(StreamKind::Stdout, len)[..]);
    frame.extend_from_slice(words.as_bytes());
    frame.freeze()
}

pub(crate) async fn resize(request: Request) -> Result<Reply, Failure> {
    let (height, width) = terminal_size(&request.query)?;
    ops::resize(&request.engine, request.name(), height, width).await?;
    Ok(reply::status(StatusCode::CREATED))
}

pub(crate) async fn inspect(request: Request) -> Result<Reply, Failure> {
    let exec = ops::inspect(&request.engine, request.name()).await?;
    reply::json(&convert::exec::inspect(exec))
}

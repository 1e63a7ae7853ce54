//! The verbs that a container's own task carries out: here is only the way there.

use ferry_errkind::{ErrorKind, Failure};
use tokio::sync::oneshot;

use crate::{
    Engine,
    actor::{Command, Reply, StopWish},
    registry::no_such,
    signal,
};

/// How to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopRequest {
    /// Seconds until SIGKILL; negative waits for ever; `None` is the container's own time.
    pub timeout: Option<i64>,
    /// Signal by name or number; `None` is the container's own.
    pub signal: Option<String>,
}

/// How to remove.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RemoveRequest {
    /// Kill it if it runs.
    pub force: bool,
    /// Remove its anonymous volumes, too.
    pub volumes: bool,
    /// Remove a link instead of a container: Docker's legacy, refused.
    pub link: bool,
}

/// Starts a container. False when it ran already.
///
/// # Errors
/// No such container; or why it did not start, in Docker's words.
pub async fn start(engine: &Engine, name: &str) -> Result<bool, Failure> {
    ask(engine, name, |reply| Command::Start { aside: false, reply }).await
}

/// Stops a container and waits for its end. False when it did not run.
///
/// # Errors
/// No such container or signal.
pub async fn stop(engine: &Engine, name: &str, request: StopRequest) -> Result<bool, Failure> {
    engine.shared.containers.find(name)?;
    let wish = wish(request)
        .map_err(|failure| failure.context(format_args!("cannot stop container: {name}")))?;
    ask(engine, name, |reply| Command::Stop { wish, reply }).await
}

/// Stops a container if it runs, and starts it.
///
/// # Errors
/// As for [`stop`] and [`start`].
pub async fn restart(engine: &Engine, name: &str, request: StopRequest) -> Result<(), Failure> {
    engine.shared.containers.find(name)?;
    let wish = wish(request)
        .map_err(|failure| failure.context(format_args!("Cannot restart container {name}")))?;
    ask(engine, name, |reply| Command::Restart { wish, reply }).await
}

/// Sends a signal to a container's process, SIGKILL when none is named.
///
/// # Errors
/// No such container or signal, or it does not run.
pub async fn kill(engine: &Engine, name: &str, signal: Option<&str>) -> Result<(), Failure> {
    let signal = match signal {
        None | Some("") => signal::KILL,
        Some(text) => signal::parse(text)?,
    };
    ask(engine, name, |reply| Command::Kill { signal, reply }).await
}

/// Freezes a container's processes.
///
/// # Errors
/// It does not run, or is frozen already.
pub async fn pause(engine: &Engine, name: &str) -> Result<(), Failure> {
    ask(engine, name, |reply| Command::Pause { reply }).await
}

/// Lets a container's processes go on.
///
/// # Errors
/// It is not paused.
pub async fn unpause(engine: &Engine, name: &str) -> Result<(), Failure> {
    ask(engine, name, |reply| Command::Unpause { reply }).await
}

/// Gives a container another name.
///
/// # Errors
/// The name is taken or not allowed.
pub async fn rename(engine: &Engine, name: &str, new: &str) -> Result<(), Failure> {
    let handle = engine.shared.containers.find(name)?;
    if new.is_empty() {
        let words = "Neither old nor new names may be empty";
        return Err(Failure::new(ErrorKind::InvalidArgument, words));
    }
    // Docker has put its slash before the name by then.
    let new = ferry_container::check_name(&format!("/{}", new.trim_start_matches('/')))
        .map_err(|error| Failure::from(error).context("Error when allocating new name"))?
        .to_owned();
    let (reply, answer) = oneshot::channel();
    handle.send(Command::Rename { name: new, reply }).await?;
    received(name, answer.await)
}

/// Removes a container and its files.
///
/// # Errors
/// It runs and `force` is off, or something of it could not be removed.
pub async fn remove(engine: &Engine, name: &str, request: RemoveRequest) -> Result<(), Failure> {
    if request.link {
        let words =
            "removing links is not supported: links are a legacy of Docker's default bridge";
        return Err(Failure::new(ErrorKind::NotImplemented, words));
    }
    let RemoveRequest { force, volumes, link: _ } = request;
    ask(engine, name, |reply| Command::Remove { force, volumes, reply }).await
}

/// Changes the size of a container's terminal.
///
/// # Errors
/// It does not run.
pub async fn resize(engine: &Engine, name: &str, height: u32, width: u32) -> Result<(), Failure> {
    ask(engine, name, |reply| Command::Resize { height, width, reply }).await
}

pub(crate) async fn ask<T>(
    engine: &Engine,
    name: &str,
    command: impl FnOnce(Reply<T>) -> Command,
) -> Result<T, Failure> {
    let handle = engine.shared.containers.find(name)?;
    let (reply, answer) = oneshot::channel();
    handle.send(command(reply)).await.map_err(|_| no_such(name))?;
    received(name, answer.await)
}

/// A task that ended without an answer has removed its container on the way.
fn received<T>(
    name: &str,
    answer: Result<Result<T, Failure>, oneshot::error::RecvError>,
) -> Result<T, Failure> {
    answer.unwrap_or_else(|_| Err(no_such(name)))
}

fn wish(request: StopRequest) -> Result<StopWish, Failure> {
    let signal = request.signal.filter(|text| !text.is_empty());
    let signal = signal.map(|text| signal::parse(&text)).transpose()?;
    Ok(StopWish { timeout: request.timeout, signal })
}

//! One probe of a container's health: an exec with a time limit whose output is kept in part.

use std::{sync::Arc, time::Duration};

use ferry_container::HEALTH_OUTPUT;
use ferry_model::{container::HealthResult, exec::ExecSpec};
use tokio::{io::AsyncReadExt, net::UnixStream, sync::oneshot, time::timeout};

use crate::{
    Shared,
    ops::exec::{self, StartExec},
};

/// How long a probe may take to be started; this does not count as its own time.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long a killed probe may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// A probe that runs. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Probe {
    result: oneshot::Receiver<HealthResult>,
    /// Closed by being dropped.
    _cancel: oneshot::Sender<()>,
}

impl Probe {
    /// Starts to probe.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        container: &str,
        command: Vec<String>,
        limit: Duration,
    ) -> Probe {
        let (sender, result) = oneshot::channel();
        let (cancel, cancelled) = oneshot::channel();
        let (shared, container) = (Arc::clone(shared), container.to_owned());
        tokio::spawn(async move {
            if let Some(result) = probe(&shared, &container, command, limit, cancelled).await {
                sender.send(result).ok();
            }
        });
        Probe { result, _cancel: cancel }
    }

    /// What it said. Safe to drop before it is there.
    pub(crate) async fn result(&mut self) -> Option<HealthResult> {
        (&mut self.result).await.ok()
    }
}

/// How the time with a running probe ended.
enum End {
    Done,
    TimedOut,
    Cancelled,
}

async fn probe(
    shared: &Shared,
    container: &str,
    command: Vec<String>,
    limit: Duration,
    mut cancelled: oneshot::Receiver<()>,
) -> Option<HealthResult> {
    let start = shared.now();
    let result =
        |exit_code, output| Some(HealthResult { start, end: shared.now(), exit_code, output });
    let spec =
        ExecSpec { cmd: command, attach_stdout: true, attach_stderr: true, ..ExecSpec::default() };
    let id = match exec::note(shared, container, spec) {
        Ok(id) => id,
        Err(failure) => return result(-1, failure.message().to_owned()),
    };
    let noted = Noted { shared, id };
    let started = tokio::select! {
        _ = &mut cancelled => return None,
        started = timeout(START_PATIENCE, exec::launch(shared, &noted.id, StartExec::default(), true)) => started,
    };
    let mut stream = match started {
        Ok(Ok(stream)) => stream,
        Ok(Err(failure)) => return result(-1, failure.message().to_owned()),
        Err(_) => {
            let words = format!("timed out starting health check for container {container}");
            return result(-1, words);
        }
    };
    let mut output = Output::default();
    let end = tokio::select! {
        _ = &mut cancelled => End::Cancelled,
        ended = timeout(limit, output.read(&mut stream)) => match ended {
            Ok(()) => End::Done,
            Err(_) => End::TimedOut,
        },
    };
    // Its end is kept in the exec's record, from where the container's task tells everyone; closing the stream kills what
    // still runs.
    drop(stream);
    let code = timeout(KILL_PATIENCE, shared.execs.end_of(&noted.id)).await.ok().flatten();
    match end {
        End::Done => match code {
            Some(code) => result(code, output.text()),
            None => result(-1, format!("healthcheck for container {container} has no exit code")),
        },
        End::TimedOut => {
            let nanos = i64::try_from(limit.as_nanos()).unwrap_or(i64::MAX);
            let limit = ferry_stdx::duration::format_go(nanos);
            let words = match output.text() {
                text if text.is_empty() => format!("Health check exceeded timeout ({limit})"),
                text => format!("Health check exceeded timeout ({limit}): {text}"),
            };
            result(-1, words)
        }
        End::Cancelled => None,
    }
}

/// An exec that nobody will ask for when it is over: probes by the thousand must not push out those of users.
struct Noted<'a> {
    shared: &'a Shared,
    id: String,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.shared.execs.forget(&self.id);
    }
}

/// The beginning of what a probe printed, both streams in the order in which they came.
#[derive(Debug, Default)]
struct Output {
    kept: Vec<u8>,
    truncated: bool,
}

impl Output {
    /// Reads Docker's frames to the end.
    async fn read(&mut self, stream: &mut UnixStream) {
        let mut head = [0; 8];
        let mut chunk = [0; 4096];
        while stream.read_exact(&mut head).await.is_ok() {
            let [.., a, b, c, d] = head;
            let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
            while left > 0 {
                let most = left.min(chunk.len());
                match stream.read(&mut chunk[..most]).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        self.keep(&chunk[..count]);
                        left -= count;
                    }
                }
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = (HEALTH_OUTPUT - self.kept.len()).min(bytes.len());
        self.kept.extend_from_slice(&bytes[..room]);
        self.truncated |= room < bytes.len();
    }

    fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.kept).into_owned();
        if self.truncated {
            text.push_str("...");
        }
        text
    }
}

//! A further process that is waited for: what it printed and how it ended. For probes of those who keep the time themselves.

use std::time::Duration;

use ferry_errkind::Failure;
use ferry_model::exec::ExecSpec;
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};

use super::exec::{self, StartExec};
use crate::{Engine, Shared};

/// How long a killed process may take to be gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finished {
    /// The beginning of its standard output.
    pub stdout: Vec<u8>,
    /// The beginning of its standard error.
    pub stderr: Vec<u8>,
    /// Its exit code; `None`: it took too long and was killed.
    pub exit_code: Option<i32>,
}

/// Runs `command` in a running container to its end, at most for `limit`, and keeps `most` bytes of each stream.
///
/// # Errors
/// The container does not run, or the program cannot be run.
pub async fn run(
    engine: &Engine,
    name: &str,
    command: Vec<String>,
    limit: Option<Duration>,
    most: usize,
) -> Result<Finished, Failure> {
    let shared = &engine.shared;
    let spec =
        ExecSpec { cmd: command, attach_stdout: true, attach_stderr: true, ..ExecSpec::default() };
    let noted = Noted { shared, id: exec::note(shared, name, spec)? };
    let mut finished = Finished::default();
    let mut stream = exec::launch(shared, &noted.id, StartExec::default(), true).await?;
    let reading = read(&mut stream, &mut finished, most);
    let in_time = match limit {
        Some(limit) => timeout(limit, reading).await.is_ok(),
        None => {
            reading.await;
            true
        }
    };
    // Closing the stream kills what still runs.
    drop(stream);
    let code = timeout(KILL_PATIENCE, shared.execs.end_of(&noted.id)).await.ok().flatten();
    finished.exit_code = if in_time { Some(code.unwrap_or(137)) } else { None };
    Ok(finished)
}

/// Probes by the thousand must not push out the execs of users.
struct Noted<'a> {
    shared: &'a Shared,
    id: String,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        self.shared.execs.forget(&self.id);
    }
}

/// Reads Docker's frames to the end.
async fn read(stream: &mut UnixStream, finished: &mut Finished, most: usize) {
    let mut head = [0; 8];
    let mut chunk = vec![0; 16 * 1024];
    while stream.read_exact(&mut head).await.is_ok() {
        let [kind, _, _, _, a, b, c, d] = head;
        let mut left = u32::from_be_bytes([a, b, c, d]) as usize;
        let kept = if kind == 2 { &mut finished.stderr } else { &mut finished.stdout };
        while left > 0 {
            let want = left.min(chunk.len());
            match stream.read(&mut chunk[..want]).await {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    let room = most.saturating_sub(kept.len()).min(count);
                    kept.extend_from_slice(&chunk[..room]);
                    left -= count;
                }
            }
        }
    }
}

//! Starts our daemon where none runs: `ferry run` works on a machine where nothing was set up.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::{fs::OpenOptionsExt, net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::CliError;

/// How long a daemon may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(4);
/// Where the log goes; the second where the first cannot be written.
const LOGS: [&str; 2] = ["/var/log/ferry/daemon.log", "/run/ferry/daemon.log"];
/// How much of the log's end is shown when the daemon did not start.
const LOG_TAIL: u64 = 4096;
const LOG_LINES: usize = 8;

/// The hidden command that becomes the daemon.
pub(super) const COMMAND: &str = "become-daemon";

/// Starts the daemon and connects to it; `why` is what connecting failed with so far. `None` where starting would not help.
pub(super) fn daemon(socket: &Path, why: &io::Error) -> Result<Option<UnixStream>, CliError> {
    if !matches!(why.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
        return Ok(None);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(CliError::new(format!(
            "Cannot connect to the Ferry daemon at unix://{}. Is the ferry daemon running?",
            socket.display()
        ))
        .with_hint("starting the daemon needs root: sudo ferry daemon"));
    }
    let failed = |what: String, error: io::Error| CliError::new(format!("{what}: {error}"));
    let directory = socket.parent().unwrap_or(Path::new("/run/ferry"));
    fs::create_dir_all(directory)
        .map_err(|error| failed(format!("cannot create \"{}\"", directory.display()), error))?;
    let lock_path = directory.join("start.lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&lock_path)
        .map_err(|error| failed(format!("cannot open \"{}\"", lock_path.display()), error))?;
    // Held until we return: who comes second finds the daemon running.
    lock.lock()
        .map_err(|error| failed(format!("cannot lock \"{}\"", lock_path.display()), error))?;
    if let Ok(stream) = UnixStream::connect(socket) {
        return Ok(Some(stream));
    }
    let (log, log_path) = open_log()
        .map_err(|error| failed(format!("cannot write the daemon's log \"{}\"", LOGS[1]), error))?;
    let start = log.metadata().map_or(0, |metadata| metadata.len());
    let mut child =
        spawn(log).map_err(|error| failed("cannot start the daemon".to_owned(), error))?;
    wait_for(socket, &mut child, &log_path, start).map(Some)
}

fn spawn(log: File) -> io::Result<Child> {
    Command::new("/proc/self/exe")
        .arg0("ferry")
        .arg(COMMAND)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// What the hidden command does: leaves the terminal's session, so that the daemon outlives it, and becomes the daemon.
pub(super) fn become_daemon() -> CliError {
    // It fails only for the leader of a group, which a fresh child is not.
    let _ = rustix::process::setsid();
    let error = Command::new("/proc/self/exe").arg0("ferry").arg("daemon").exec();
    CliError::new(format!("cannot become the daemon: {error}"))
}

fn open_log() -> io::Result<(File, PathBuf)> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in LOGS.map(Path::new) {
        if let Some(directory) = path.parent() {
            // What it fails with, opening fails with, too.
            drop(fs::create_dir_all(directory));
        }
        match OpenOptions::new().create(true).append(true).mode(0o640).open(path) {
            Ok(log) => return Ok((log, path.to_owned())),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn wait_for(
    socket: &Path,
    child: &mut Child,
    log: &Path,
    start: u64,
) -> Result<UnixStream, CliError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            return Ok(stream);
        }
        let ended = child.try_wait().ok().flatten();
        if let Some(status) = ended {
            return Err(CliError::new(format!(
                "the daemon that was started here ended at once ({status}){}",
                tail(log, start)
            ))
            .with_hint(format!("its log is \"{}\"", log.display())));
        }
        if Instant::now() >= deadline {
            return Err(CliError::new(format!(
                "the daemon that was started here (process {}) did not answer on {} within {} seconds{}",
                child.id(),
                socket.display(),
                PATIENCE.as_secs(),
                tail(log, start)
            ))
            .with_hint(format!("its log is \"{}\"", log.display())));
        }
        std::thread::sleep(POLL);
    }
}

/// The last lines of what was logged from `start` on, each on a line of its own.
fn tail(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(LOG_TAIL))))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if last.is_empty() { String::new() } else { format!(":\n  {}", last.join("\n  ")) }
}

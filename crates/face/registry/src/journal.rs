//! The audit log (every change, before it is answered) and the log of requests: a JSON object a line.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    time::SystemTime,
};

use ferry_stdx::time::Timestamp;
use serde_json::Value;

/// Lines that are written at once: nobody is told of a change that is not in it.
#[derive(Debug)]
pub(crate) struct Audit(Mutex<File>);

impl Audit {
    pub(crate) fn open(path: &Path) -> io::Result<Audit> {
        Ok(Audit(Mutex::new(append(path)?)))
    }

    /// Writes a line. A disk that fails is in the other log; the change is made already.
    pub(crate) fn record(&self, entry: Value) {
        let line = line(entry);
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!("cannot write the audit log: {error}: {}", line.trim_end());
        }
    }
}

/// Lines that are written by a thread of their own, so that no request waits for them.
#[derive(Debug)]
pub(crate) struct Requests(mpsc::SyncSender<Value>);

/// Further lines are lost while so many wait: the disk does not keep up.
const WAITING: usize = 4096;

impl Requests {
    pub(crate) fn open(path: &Path) -> io::Result<Requests> {
        let mut file = append(path)?;
        let (sender, lines) = mpsc::sync_channel(WAITING);
        std::thread::Builder::new().name("requests".to_owned()).spawn(move || {
            while let Ok(entry) = lines.recv() {
                if let Err(error) = file.write_all(line(entry).as_bytes()) {
                    tracing::error!("cannot write the log of requests: {error}");
                }
            }
        })?;
        Ok(Requests(sender))
    }

    pub(crate) fn record(&self, entry: Value) {
        // Full: see `WAITING`.
        drop(self.0.try_send(entry));
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn line(mut entry: Value) -> String {
    entry["time"] = Timestamp::from_system(SystemTime::now()).format_rfc3339_nano().into();
    format!("{entry}\n")
}

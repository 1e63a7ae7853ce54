//! Where a container's output is kept: a file of ours, somebody else's log, or both.

mod json;
mod remote;
pub mod rotate;
mod syslog;

use std::io;

use crate::{cri_log::CriLog, launch::LogSpec};
use json::JsonLog;
use remote::Remote;

/// Docker's longest record (moby `daemon/logger/copier.go`).
const MAX_RECORD: usize = 16 * 1024;

/// Which stream a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// All places that one container's output goes to.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<JsonLog>,
    remote: Option<Remote>,
    /// Of a Kubernetes pod's container.
    cri: Option<CriLog>,
}

impl Log {
    /// Opens what the specification names; `None` when that is nothing.
    pub(crate) fn open(spec: &LogSpec) -> Result<Option<Log>, String> {
        let file = |settings: &crate::launch::LogFile| {
            JsonLog::open(settings.clone())
                .map_err(|error| format!("cannot open log {}: {error}", settings.path.display()))
        };
        Ok(match spec {
            LogSpec::None => None,
            LogSpec::JsonFile(settings) => {
                Some(Log { file: Some(file(settings)?), remote: None, cri: None })
            }
            LogSpec::Cri(path) => {
                let opened = CriLog::open(path.clone());
                let cri = opened
                    .map_err(|error| format!("cannot open log {}: {error}", path.display()))?;
                Some(Log { file: None, remote: None, cri: Some(cri) })
            }
            LogSpec::Remote { to, cache } => {
                let remote = Some(Remote::open(to)?);
                Some(Log { file: cache.as_ref().map(file).transpose()?, remote, cri: None })
            }
        })
    }

    /// Adds what was read from a stream at one moment.
    ///
    /// # Errors
    /// The file cannot be written. A remote log that cannot be reached loses lines, as Docker's do.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) -> io::Result<()> {
        if let Some(remote) = &mut self.remote {
            remote.write(stream, bytes, now);
        }
        if let Some(cri) = &mut self.cri {
            cri.write(stream, bytes, now)?;
        }
        match &mut self.file {
            Some(file) => file.write(stream, bytes, now),
            None => Ok(()),
        }
    }

    /// The beginning of a line that is not in the file yet.
    pub(crate) fn unfinished(&self, stream: Stream) -> &[u8] {
        self.file.as_ref().map_or(&[], |file| file.unfinished(stream))
    }

    /// Writes lines that never ended. The streams are over.
    pub(crate) fn finish(&mut self, now: i64) -> io::Result<()> {
        if let Some(remote) = &mut self.remote {
            remote.finish(now);
        }
        if let Some(cri) = &mut self.cri {
            cri.finish(now)?;
        }
        match &mut self.file {
            Some(file) => file.finish(now),
            None => Ok(()),
        }
    }

    /// Goes on in a new file of the same name, for those who renamed the old one.
    ///
    /// # Errors
    /// The file cannot be opened, or it is a log that rotates by itself.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        match &mut self.cri {
            Some(cri) => cri.reopen(),
            None => Err(io::Error::other("this log's files are rotated by itself")),
        }
    }
}

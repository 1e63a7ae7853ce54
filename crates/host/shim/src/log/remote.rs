//! Logs that somebody else keeps: lines, and a socket that they go to.

use std::os::unix::net::UnixDatagram;

use super::{MAX_RECORD, Stream, syslog::Syslog};
use crate::launch::{JournaldLog, RemoteLog};

/// Where systemd's journal takes records.
const PRIORITIES: [&str; 2] = ["6", "3"];

/// Splits output into lines and sends them.
#[derive(Debug)]
pub(super) struct Remote {
    pending: [Vec<u8>; 2],
    /// Whether the last record of a stream was the beginning of a line that goes on.
    torn: [bool; 2],
    to: Target,
}

#[derive(Debug)]
enum Target {
    Syslog(Syslog),
    Journald { socket: UnixDatagram, fields: Vec<u8> },
}

impl Remote {
    pub(super) fn open(spec: &RemoteLog) -> Result<Remote, String> {
        let to = match spec {
            RemoteLog::Syslog(spec) => Target::Syslog(Syslog::open(spec.clone())?),
            RemoteLog::Journald(spec) => journald(spec)?,
        };
        Ok(Remote { pending: [Vec::new(), Vec::new()], torn: [false; 2], to })
    }

    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            self.hold(stream, &rest[..at], now);
            self.end_line(stream, now);
            rest = &rest[at + 1..];
        }
        self.hold(stream, rest, now);
    }

    pub(super) fn finish(&mut self, now: i64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if !self.pending[stream as usize].is_empty() {
                self.end_line(stream, now);
            }
        }
    }

    /// Keeps the beginning of a line; what fills a record is sent.
    fn hold(&mut self, stream: Stream, bytes: &[u8], now: i64) {
        let index = stream as usize;
        self.pending[index].extend_from_slice(bytes);
        while self.pending[index].len() > MAX_RECORD {
            let record: Vec<u8> = self.pending[index].drain(..MAX_RECORD).collect();
            self.torn[index] = true;
            self.to.send(stream, &record, true, now);
        }
    }

    fn end_line(&mut self, stream: Stream, now: i64) {
        let index = stream as usize;
        let line = std::mem::take(&mut self.pending[index]);
        let torn = std::mem::take(&mut self.torn[index]);
        // As Docker: an empty line is not worth a message.
        if !line.is_empty() || torn {
            self.to.send(stream, &line, torn, now);
        }
    }
}

impl Target {
    fn send(&mut self, stream: Stream, line: &[u8], partial: bool, now: i64) {
        match self {
            Target::Syslog(syslog) => syslog.send(stream, line, now),
            Target::Journald { socket, fields } => {
                let mut record = b"MESSAGE\n".to_vec();
                record.extend_from_slice(&(line.len() as u64).to_le_bytes());
                record.extend_from_slice(line);
                record.push(b'\n');
                record.extend_from_slice(
                    format!("PRIORITY={}\n", PRIORITIES[stream as usize]).as_bytes(),
                );
                if partial {
                    record.extend_from_slice(b"CONTAINER_PARTIAL_MESSAGE=true\n");
                }
                record.extend_from_slice(fields);
                // A journal that restarts loses lines.
                drop(socket.send(&record));
            }
        }
    }
}

fn journald(spec: &JournaldLog) -> Result<Target, String> {
    let failed = |_| "journald is not enabled on this host".to_owned();
    let socket = UnixDatagram::unbound().map_err(failed)?;
    socket.connect(&spec.socket).map_err(failed)?;
    let mut fields = Vec::new();
    for (name, value) in &spec.fields {
        fields.extend_from_slice(name.as_bytes());
        fields.push(b'\n');
        fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
        fields.extend_from_slice(value.as_bytes());
        fields.push(b'\n');
    }
    if spec.non_blocking {
        socket.set_nonblocking(true).map_err(failed)?;
    }
    Ok(Target::Journald { socket, fields })
}

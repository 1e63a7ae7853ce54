//! A container's log in the format of Kubernetes' runtime interface: `2006-01-02T15:04:05.999999999Z stdout F text`.
//!
//! `F` ends a line, `P` is a part of one: lines longer than 16 KiB come in parts, as in containerd. Kubelet rotates: it renames
//! the file and asks for a new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use ferry_stdx::time::Timestamp;

use crate::log::Stream;

/// containerd's longest part of a line.
const MAX_RECORD: usize = 16 * 1024;

/// Encoded bytes are written out when there are so many of them.
const BATCH: usize = 256 * 1024;

/// Writes one container's log.
#[derive(Debug)]
pub(crate) struct CriLog {
    path: PathBuf,
    file: File,
    batch: Vec<u8>,
    pending: [Vec<u8>; 2],
    last_time: i64,
}

impl CriLog {
    /// Opens the log for appending.
    pub(crate) fn open(path: PathBuf) -> io::Result<CriLog> {
        let file = open_file(&path)?;
        Ok(CriLog {
            path,
            file,
            batch: Vec::new(),
            pending: [Vec::new(), Vec::new()],
            last_time: 0,
        })
    }

    /// Goes on in a new file of the same name.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file = open_file(&self.path)?;
        Ok(())
    }

    /// Adds what was read from a stream at one moment. Incomplete lines wait for their end.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8], now: i64) -> io::Result<()> {
        // A clock that steps back must not make records go backwards.
        self.last_time = self.last_time.max(now);
        let index = stream as usize;
        let mut whole = std::mem::take(&mut self.pending[index]);
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(at);
            rest = &after[1..];
            if whole.is_empty() {
                self.line(stream, line)?;
            } else {
                whole.extend_from_slice(line);
                self.line(stream, &whole)?;
                whole.clear();
            }
        }
        whole.extend_from_slice(rest);
        while whole.len() > MAX_RECORD {
            let record: Vec<u8> = whole.drain(..MAX_RECORD).collect();
            self.record(stream, b'P', &record)?;
        }
        self.pending[index] = whole;
        self.flush()
    }

    /// Writes lines that never ended, as parts: whoever reads them must not add an end that nobody wrote. The streams are over.
    pub(crate) fn finish(&mut self, now: i64) -> io::Result<()> {
        self.last_time = self.last_time.max(now);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let pending = std::mem::take(&mut self.pending[stream as usize]);
            // Longer ones have been written already.
            if !pending.is_empty() {
                self.record(stream, b'P', &pending)?;
            }
        }
        self.flush()
    }

    fn line(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        let mut rest = line;
        while rest.len() > MAX_RECORD {
            let (record, after) = rest.split_at(MAX_RECORD);
            self.record(stream, b'P', record)?;
            rest = after;
        }
        self.record(stream, b'F', rest)
    }

    fn record(&mut self, stream: Stream, tag: u8, text: &[u8]) -> io::Result<()> {
        let name = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let time = Timestamp::from_nanos(self.last_time).format_rfc3339_nano();
        self.batch.extend_from_slice(format!("{time} {name} {} ", char::from(tag)).as_bytes());
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(&self.batch);
        self.batch.clear();
        // A burst's buffer is not kept: shims are many and mostly idle.
        self.batch.shrink_to(4096);
        written
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_parts_and_a_new_file() {
        let dir = std::env::temp_dir().join(format!("ferry-cri-log-{}", std::process::id()));
        fs::remove_dir_all(&dir).ok();
        let path = dir.join("web/0.log");
        let mut log = CriLog::open(path.clone()).unwrap();
        log.write(Stream::Stdout, b"one\ntw", 1_000_000_000).unwrap();
        log.write(Stream::Stderr, b"err\n", 2_000_000_000).unwrap();
        log.write(Stream::Stdout, b"o\n\n", 1_500_000_000).unwrap();
        fs::rename(&path, dir.join("old")).unwrap();
        log.reopen().unwrap();
        let long = [vec![b'a'; MAX_RECORD + 1], b"\nrest".to_vec()].concat();
        log.write(Stream::Stdout, &long, 3_000_000_000).unwrap();
        log.finish(4_000_000_000).unwrap();
        assert_eq!(
            fs::read_to_string(dir.join("old")).unwrap(),
            "1970-01-01T00:00:01Z stdout F one\n1970-01-01T00:00:02Z stderr F err\n\
             1970-01-01T00:00:02Z stdout F two\n1970-01-01T00:00:02Z stdout F \n"
        );
        let text = fs::read_to_string(&path).unwrap();
        let records: Vec<&str> = text.lines().collect();
        assert_eq!(records.len(), 3);
        assert!(records[0].starts_with("1970-01-01T00:00:03Z stdout P aaa"));
        assert_eq!(records[1], "1970-01-01T00:00:03Z stdout F a");
        assert_eq!(records[2], "1970-01-01T00:00:04Z stdout P rest");
        fs::remove_dir_all(dir).unwrap();
    }
}

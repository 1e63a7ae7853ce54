//! Records of builds on disk: two files of each, in `<data root>/build-history`.
//!
//! `<id>.json` is the record without its output, replaced by a rename when a build has ended; `<id>.log` is the output, to whose end is
//! written. Neither is synced: what a power cut leaves of them is read as far as it reads. A build that was at work has no file yet.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use ferry_oci::Digest;
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BuildRecord, Ending, OUTPUT, Output, PIECES, REMEMBERED, Shelf, open};
use crate::ops::build::Log;

/// Longest record, in bytes.
const MAX_RECORD: u64 = 16 << 20;
/// Longest output that is read back: what the beginning and the end of a build may be, and the heads of their pieces.
const MAX_LOG: u64 = 4 * OUTPUT as u64 + 2 * PIECES as u64 * 256;

/// What stands before each piece of output.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    vertex: Digest,
    at: Timestamp,
    stderr: bool,
    length: usize,
}

/// All records in a directory, oldest first, and no more of them than are remembered.
pub(super) fn load(root: &Path) -> VecDeque<Shelf> {
    let mut all: Vec<BuildRecord> = Vec::new();
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            continue;
        }
        match read(&path) {
            Some(record) => all.push(record),
            None => remove(&path),
        }
    }
    all.sort_by(|one, other| (one.started, &one.id).cmp(&(other.started, &other.id)));
    let mut over = all.iter().filter(|record| record.goes()).count().saturating_sub(REMEMBERED);
    all.retain(|record| {
        let goes = over > 0 && record.goes();
        if goes {
            over -= 1;
            forget(root, &record.id);
        }
        !goes
    });
    all.into_iter().map(|record| Arc::new(Mutex::new(record))).collect()
}

fn read(path: &Path) -> Option<BuildRecord> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(MAX_RECORD).read_to_end(&mut text).ok()?;
    let record: BuildRecord = serde_json::from_slice(&text).ok()?;
    let own = path.file_stem().is_some_and(|stem| stem == record.id.as_str());
    (own && record.ending != Ending::Running).then_some(record)
}

/// Writes a record that has ended; its output is on disk then and not in memory any more.
pub(super) fn save(root: &Path, shelf: &Shelf) -> io::Result<()> {
    let (record, logs) = {
        let mut record = open(shelf);
        let logs = std::mem::take(&mut record.logs);
        record.cut |= logs.cut;
        (record.clone(), logs)
    };
    std::fs::create_dir_all(root)?;
    let log = file(root, &record.id, "log");
    let mut out = BufWriter::new(File::options().create(true).append(true).open(&log)?);
    for piece in logs.head.iter().chain(&logs.tail) {
        let Log { vertex, at, stderr, bytes } = piece;
        let head = Head { vertex: vertex.clone(), at: *at, stderr: *stderr, length: bytes.len() };
        serde_json::to_writer(&mut out, &head)?;
        out.write_all(b"\n")?;
        out.write_all(bytes)?;
    }
    out.flush()?;
    let own = file(root, &record.id, "new");
    std::fs::write(&own, serde_json::to_vec(&record)?)?;
    std::fs::rename(&own, file(root, &record.id, "json"))
}

/// The output of a build; as much of it as reads.
pub(super) fn output(root: &Path, id: &str) -> Output {
    let mut output = Output::default();
    if let Ok(log) = File::open(file(root, id, "log")) {
        let mut input = BufReader::new(log.take(MAX_LOG));
        while let Some(piece) = piece(&mut input) {
            output.head.push(piece);
        }
    }
    output
}

fn piece(input: &mut impl BufRead) -> Option<Log> {
    let mut line = Vec::new();
    input.read_until(b'\n', &mut line).ok()?;
    let Head { vertex, at, stderr, length } = serde_json::from_slice(&line).ok()?;
    let mut bytes = Vec::new();
    let read = input.take(length as u64).read_to_end(&mut bytes).ok()?;
    (read == length).then(|| Log { vertex, at, stderr, bytes: Bytes::from(bytes) })
}

/// Removes a build's files.
pub(super) fn forget(root: &Path, id: &str) {
    for kind in ["json", "log"] {
        remove(&file(root, id, kind));
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "the record of a build stays");
        }
        _ => {}
    }
}

fn file(root: &Path, id: &str, kind: &str) -> PathBuf {
    root.join(format!("{id}.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::build::{Vertex, VertexKind};

    fn record(id: &str, started: i64) -> BuildRecord {
        let vertex = Vertex::new(id, VertexKind::Layer, "[1/1] RUN x");
        BuildRecord {
            started: Timestamp::from_seconds(started),
            ending: Ending::Done,
            vertices: vec![vertex],
            ..BuildRecord::new(id)
        }
    }

    fn log(text: &'static [u8]) -> Log {
        let (vertex, at) = (Digest::sha256_of(b"x"), Timestamp::from_seconds(1));
        Log { vertex, at, stderr: true, bytes: Bytes::from_static(text) }
    }

    #[test]
    fn what_was_saved_is_there_afterwards() {
        let root = std::env::temp_dir().join(format!("ferry-history-{}", std::process::id()));
        let shelf: Shelf = Arc::new(Mutex::new(record("b", 2)));
        open(&shelf).logs.push(log(b"one\n{\"not\": 1}\n"));
        save(&root, &shelf).unwrap();
        assert!(open(&shelf).logs.head.is_empty());
        // What is told after the end comes to what is there.
        open(&shelf).logs.push(log(b"two"));
        open(&shelf).image = Some("sha256:1".to_owned());
        save(&root, &shelf).unwrap();
        save(&root, &Arc::new(Mutex::new(record("a", 1)))).unwrap();
        std::fs::write(root.join("torn.json"), "{").unwrap();
        let all = load(&root);
        let ids: Vec<String> = all.iter().map(|shelf| open(shelf).id.clone()).collect();
        assert_eq!(ids, ["a", "b"]);
        let second = open(&all[1]).clone();
        assert_eq!(second.image.as_deref(), Some("sha256:1"));
        assert_eq!(second.vertices, record("b", 2).vertices);
        assert_eq!(output(&root, "b").head, [log(b"one\n{\"not\": 1}\n"), log(b"two")]);
        assert!(!root.join("torn.json").exists());
        // A torn end costs only itself.
        let file = File::options().write(true).open(root.join("b.log")).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        assert_eq!(output(&root, "b").head, [log(b"one\n{\"not\": 1}\n")]);
        forget(&root, "b");
        assert_eq!(load(&root).len(), 1);
        std::fs::remove_dir_all(root).unwrap();
    }
}

//! The builds that were: their steps, what those wrote, and where they failed, for whoever asks afterwards.
//!
//! Fifty builds are remembered, and of each the first and the last of what its steps wrote. Those that have ended are on disk
//! ([`disk`]), where the next daemon finds them, and in memory without their output.

mod disk;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_errkind::{ErrorKind, Failure};
use ferry_stdx::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BuildError, BuildProgress, BuildRequest, Excerpt, Log, Vertex, Warning};
use crate::Engine;

/// Builds that are remembered, as BuildKit does.
const REMEMBERED: usize = 50;
/// Bytes of output that are kept of a build's beginning, and as many of its end.
const OUTPUT: usize = 512 << 10;
/// Pieces of output, for those that write single characters.
const PIECES: usize = 20_000;

/// How a build came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It is at work.
    Running,
    /// There is an image, or there are files.
    Done,
    /// It failed.
    Failed(BuildError),
    /// Nobody wanted it any more.
    Cancelled,
}

/// A build as it is remembered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Its id.
    pub id: String,
    /// What its client calls it; empty where that has no name for it.
    #[serde(default)]
    pub reference: String,
    /// What a face remembers of it, in its own words.
    #[serde(default)]
    pub about: Vec<u8>,
    /// It stays, however many come after it.
    #[serde(default)]
    pub pinned: bool,
    /// What the image is called.
    pub tags: Vec<String>,
    /// The Dockerfile's name.
    pub dockerfile: String,
    /// The stage that was asked for.
    pub target: String,
    /// When it began.
    pub started: Timestamp,
    /// When the last of it was done.
    pub ended: Option<Timestamp>,
    /// How it came out.
    pub ending: Ending,
    /// The image's id.
    pub image: Option<String>,
    /// Its steps, in the order in which they became known.
    pub vertices: Vec<Vertex>,
    /// What could be better.
    pub warnings: Vec<Warning>,
    /// What its steps wrote.
    #[serde(skip)]
    pub logs: Output,
    /// Whether something of that is missing.
    pub cut: bool,
}

/// Output, of which the middle goes when it is too much.
#[derive(Debug, Clone, Default)]
pub struct Output {
    /// The beginning.
    pub head: Vec<Log>,
    /// The end.
    pub tail: VecDeque<Log>,
    /// Whether something between them is missing.
    cut: bool,
    head_size: usize,
    tail_size: usize,
}

impl Output {
    fn push(&mut self, log: Log) {
        if self.head_size < OUTPUT && self.head.len() < PIECES {
            self.head_size += log.bytes.len();
            self.head.push(log);
            return;
        }
        self.tail_size += log.bytes.len();
        self.tail.push_back(log);
        while (self.tail_size > OUTPUT || self.tail.len() > PIECES) && self.tail.len() > 1 {
            let gone = self.tail.pop_front();
            self.tail_size -= gone.map_or(0, |log| log.bytes.len());
            self.cut = true;
        }
    }
}

impl BuildRecord {
    fn note(&mut self, event: &BuildProgress) {
        match event {
            BuildProgress::Vertex(vertex) => {
                self.ended = self.ended.map(|ended| vertex.completed.unwrap_or(ended).max(ended));
                match self.vertices.iter_mut().find(|known| known.digest == vertex.digest) {
                    Some(known) => *known = vertex.clone(),
                    None => self.vertices.push(vertex.clone()),
                }
            }
            BuildProgress::Log(log) => self.logs.push(log.clone()),
            BuildProgress::Warning(warning) => self.warnings.push(warning.clone()),
            BuildProgress::Image(id) => self.image = Some(id.clone()),
            BuildProgress::Status(_) => {}
        }
    }
}

/// A record that is being written.
pub(super) type Shelf = Arc<Mutex<BuildRecord>>;

/// All records, oldest first.
#[derive(Debug)]
pub(crate) struct Histories {
    root: PathBuf,
    /// `None` until somebody asks: a daemon that builds nothing reads nothing.
    all: Mutex<Option<VecDeque<Shelf>>>,
    /// One record is written at a time.
    saving: Mutex<()>,
}

impl Histories {
    /// Those in a directory of the data root.
    pub(crate) fn at(root: PathBuf) -> Histories {
        Histories { root, all: Mutex::default(), saving: Mutex::default() }
    }

    fn with<T>(&self, look: impl FnOnce(&mut VecDeque<Shelf>) -> T) -> T {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        look(all.get_or_insert_with(|| disk::load(&self.root)))
    }

    /// Remembers a build that begins; answers the one that is not remembered any more for it.
    fn begin(&self, record: BuildRecord) -> (Shelf, Option<Shelf>) {
        let shelf = Arc::new(Mutex::new(record));
        let gone = self.with(|all| {
            // Those at work stay; there are never that many.
            let goes = |shelf: &Shelf| open(shelf).goes();
            let over = all.iter().filter(|shelf| !open(shelf).pinned).count() >= REMEMBERED;
            let oldest = all.iter().position(goes).filter(|_| over);
            let gone = oldest.and_then(|oldest| all.remove(oldest));
            all.push_back(Arc::clone(&shelf));
            gone
        });
        (shelf, gone)
    }

    /// The last build that a client calls so.
    fn called(&self, reference: &str) -> Option<Shelf> {
        let is_it = |shelf: &&Shelf| open(shelf).reference == reference;
        self.with(|all| all.iter().rev().find(is_it).cloned()).filter(|_| !reference.is_empty())
    }

    /// Writes the record of a build that has ended, or removes what was written where it is not remembered any more.
    fn save(&self, shelf: &Shelf) {
        let _turn = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.with(|all| all.iter().any(|other| Arc::ptr_eq(other, shelf)));
        if !known {
            let id = open(shelf).id.clone();
            return disk::forget(&self.root, &id);
        }
        if open(shelf).ending == Ending::Running {
            return;
        }
        if let Err(error) = disk::save(&self.root, shelf) {
            tracing::warn!(%error, "the record of a build is not kept");
        }
    }
}

fn open(shelf: &Shelf) -> MutexGuard<'_, BuildRecord> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a build's record. A build that is dropped on its way was cancelled.
#[derive(Debug)]
pub(super) struct Recorder {
    shelf: Shelf,
    engine: Engine,
}

impl Recorder {
    pub(super) fn begin(engine: &Engine, id: &str, request: &BuildRequest) -> Recorder {
        let record = BuildRecord {
            reference: request.reference.clone(),
            tags: request.tags.iter().filter(|tag| !tag.is_empty()).cloned().collect(),
            dockerfile: request.dockerfile.clone(),
            target: request.target.clone(),
            started: engine.shared.now(),
            ..BuildRecord::new(id)
        };
        let (shelf, gone) = engine.shared.histories.begin(record);
        if let Some(gone) = gone {
            save(engine, &gone);
        }
        Recorder { shelf, engine: engine.clone() }
    }

    /// Where what is told goes, too.
    pub(super) fn shelf(&self) -> Shelf {
        Arc::clone(&self.shelf)
    }

    /// How it came out.
    pub(super) fn end<T>(&self, outcome: &Result<T, BuildError>) {
        let ending = match outcome {
            Ok(_) => Ending::Done,
            Err(error) => Ending::Failed(error.clone()),
        };
        self.close(ending);
    }

    fn close(&self, ending: Ending) {
        let mut record = open(&self.shelf);
        if record.ending == Ending::Running {
            record.ending = ending;
            record.ended = Some(self.engine.shared.now());
            drop(record);
            save(&self.engine, &self.shelf);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close(Ending::Cancelled);
    }
}

/// Takes down what a build tells.
pub(super) fn note(shelf: &Shelf, event: &BuildProgress) {
    open(shelf).note(event);
}

/// Writes a record beside whatever else is done.
pub(super) fn save(engine: &Engine, shelf: &Shelf) {
    // Without a runtime the daemon is going, and nobody would wait.
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let (shared, shelf) = (Arc::clone(&engine.shared), Arc::clone(shelf));
    runtime.spawn_blocking(move || shared.histories.save(&shelf));
}

/// All builds that are remembered, newest first, without what their steps wrote.
pub fn histories(engine: &Engine) -> Vec<BuildRecord> {
    let all: Vec<Shelf> = engine.shared.histories.with(|all| all.iter().rev().cloned().collect());
    all.iter().map(|shelf| open(shelf).shallow()).collect()
}

/// One of them in full.
///
/// # Errors
/// It is not remembered.
pub async fn history(engine: &Engine, id: &str) -> Result<BuildRecord, Failure> {
    let (shared, id) = (Arc::clone(&engine.shared), id.to_owned());
    crate::blocking(move || {
        let histories = &shared.histories;
        let words = || Failure::new(ErrorKind::NotFound, format!("no build record for {id}"));
        // Not while its output is on its way from memory to disk.
        let _turn = histories.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let found = histories.with(|all| all.iter().find(|shelf| open(shelf).id == id).cloned());
        let mut record = open(&found.ok_or_else(words)?).clone();
        record.cut |= record.logs.cut;
        if record.ending != Ending::Running {
            let written = disk::output(&histories.root, &id);
            let fresh = std::mem::replace(&mut record.logs, written);
            record.logs.head.extend(fresh.head.into_iter().chain(fresh.tail));
        }
        Ok(record)
    })
    .await
}

/// The last build that a client calls so, without what its steps wrote.
pub fn called(engine: &Engine, reference: &str) -> Option<BuildRecord> {
    engine.shared.histories.called(reference).map(|shelf| open(&shelf).shallow())
}

/// Lets a face remember something of a build, by the name that its client has for it. One that is pinned stays.
pub fn annotate(engine: &Engine, reference: &str, about: Vec<u8>, pinned: bool) {
    let Some(shelf) = engine.shared.histories.called(reference) else { return };
    let mut record = open(&shelf);
    (record.about, record.pinned) = (about, pinned);
    drop(record);
    save(engine, &shelf);
}

/// Forgets a build that has ended, by the name that its client has for it.
///
/// # Errors
/// When the engine is going away.
pub async fn forget(engine: &Engine, reference: &str) -> Result<(), Failure> {
    let (shared, reference) = (Arc::clone(&engine.shared), reference.to_owned());
    crate::blocking(move || {
        let histories = &shared.histories;
        let Some(gone) = histories.called(&reference) else { return Ok(()) };
        histories.with(|all| all.retain(|shelf| !Arc::ptr_eq(shelf, &gone)));
        histories.save(&gone);
        Ok(())
    })
    .await
}

impl BuildRecord {
    /// One that has not begun.
    fn new(id: &str) -> BuildRecord {
        BuildRecord {
            id: id.to_owned(),
            reference: String::new(),
            about: Vec::new(),
            pinned: false,
            tags: Vec::new(),
            dockerfile: String::new(),
            target: String::new(),
            started: Timestamp::default(),
            ended: None,
            ending: Ending::Running,
            image: None,
            vertices: Vec::new(),
            warnings: Vec::new(),
            logs: Output::default(),
            cut: false,
        }
    }

    /// Whether it may go for a newer one.
    fn goes(&self) -> bool {
        self.ending != Ending::Running && !self.pinned
    }

    /// Everything but the output.
    fn shallow(&self) -> BuildRecord {
        BuildRecord {
            id: self.id.clone(),
            reference: self.reference.clone(),
            about: self.about.clone(),
            pinned: self.pinned,
            tags: self.tags.clone(),
            dockerfile: self.dockerfile.clone(),
            target: self.target.clone(),
            started: self.started,
            ended: self.ended,
            ending: self.ending.clone(),
            image: self.image.clone(),
            vertices: self.vertices.clone(),
            warnings: self.warnings.clone(),
            logs: Output::default(),
            cut: self.cut || self.logs.cut,
        }
    }

    /// The lines of the Dockerfile at which it failed.
    pub fn excerpt(&self) -> Option<&Excerpt> {
        match &self.ending {
            Ending::Failed(error) => error.excerpt.as_deref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ferry_oci::Digest;

    use super::*;

    #[test]
    fn the_oldest_goes_unless_it_is_pinned() {
        let histories = Histories::at(PathBuf::from("/nowhere"));
        let begin = |number: usize| {
            let (ending, pinned) = (Ending::Done, number == 0);
            let record = BuildRecord { ending, pinned, ..BuildRecord::new(&number.to_string()) };
            histories.begin(record).1.map(|gone| open(&gone).id.clone())
        };
        let gone: Vec<String> = (0..REMEMBERED + 3).filter_map(begin).collect();
        assert_eq!(gone, ["1", "2"]);
        let left = histories.with(|all| all.iter().map(|one| open(one).id.clone()).next());
        assert_eq!(left.as_deref(), Some("0"));
    }

    #[test]
    fn the_middle_of_too_much_output_goes() {
        let mut output = Output::default();
        let vertex = Digest::sha256_of(b"x");
        let at = Timestamp::from_system(std::time::UNIX_EPOCH);
        for _ in 0..4096 {
            let bytes = Bytes::from(vec![b'x'; 1024]);
            output.push(Log { vertex: vertex.clone(), at, stderr: false, bytes });
        }
        assert!(output.cut && output.head_size <= OUTPUT + 1024 && output.tail_size <= OUTPUT);
        assert_eq!(output.head.len() + output.tail.len(), 1024);
    }
}

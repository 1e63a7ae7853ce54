//! What a build has said so far, for every client that wants to see it from its beginning.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ferry_stdx::time::Timestamp;
use tokio::sync::watch;

use crate::proto::moby::buildkit::v1::{StatusResponse, Vertex, VertexLog};

/// BuildKit's: what one vertex may write.
const MAX_LOG: usize = 2 << 20;
/// Messages that are kept of one build; a build that says more goes on unheard.
const MAX_MESSAGES: usize = 200_000;

/// The messages of a build.
#[derive(Debug)]
pub(crate) struct StatusLog {
    said: Mutex<Said>,
    /// How many messages there are, and whether these are all.
    length: watch::Sender<(usize, bool)>,
}

#[derive(Debug, Default)]
struct Said {
    messages: Vec<Arc<StatusResponse>>,
    written: BTreeMap<String, usize>,
    vertices: BTreeMap<String, Vertex>,
    warnings: usize,
}

/// What `history ls` counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) total: usize,
    pub(crate) completed: usize,
    pub(crate) cached: usize,
    pub(crate) warnings: usize,
}

impl StatusLog {
    pub(crate) fn new() -> StatusLog {
        StatusLog { said: Mutex::default(), length: watch::Sender::new((0, false)) }
    }

    /// Adds a message.
    pub(crate) fn say(&self, mut message: StatusResponse) {
        let mut said = self.lock();
        if said.messages.len() >= MAX_MESSAGES {
            return;
        }
        message.logs = message.logs.into_iter().filter_map(|log| said.clip(log)).collect();
        for vertex in &message.vertexes {
            said.vertices.insert(vertex.digest.clone(), vertex.clone());
        }
        said.warnings += message.warnings.len();
        said.messages.push(Arc::new(message));
        let length = said.messages.len();
        drop(said);
        self.length.send_modify(|known| known.0 = known.0.max(length));
    }

    /// A vertex as it is now.
    pub(crate) fn vertex(&self, vertex: Vertex) {
        self.say(StatusResponse { vertexes: vec![vertex], ..StatusResponse::default() });
    }

    /// There will be no more. What was begun has ended, then.
    pub(crate) fn close(&self, error: Option<&str>, now: Timestamp) {
        let open: Vec<Vertex> = self
            .lock()
            .vertices
            .values()
            .filter(|vertex| vertex.started.is_some() && vertex.completed.is_none())
            .cloned()
            .collect();
        for vertex in open {
            let error = error.map(|_| "context canceled".to_owned()).unwrap_or_default();
            self.vertex(Vertex { completed: Some(stamp(now)), error, ..vertex });
        }
        self.length.send_modify(|known| known.1 = true);
    }

    /// The message with a number, once it is there; `None` after the last.
    pub(crate) async fn next(&self, number: usize) -> Option<Arc<StatusResponse>> {
        let mut length = self.length.subscribe();
        let known = length.wait_for(|(length, closed)| *length > number || *closed).await.ok()?.0;
        if known <= number {
            return None;
        }
        self.lock().messages.get(number).cloned()
    }

    pub(crate) fn counts(&self) -> Counts {
        let said = self.lock();
        let counted =
            || said.vertices.values().filter(|vertex| !vertex.name.starts_with("[internal]"));
        Counts {
            total: counted().count(),
            completed: counted().filter(|vertex| vertex.completed.is_some()).count(),
            cached: counted().filter(|vertex| vertex.cached).count(),
            warnings: said.warnings,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Said {
    /// Cuts off what is over the limit, and says so once.
    fn clip(&mut self, mut log: VertexLog) -> Option<VertexLog> {
        let written = self.written.entry(log.vertex.clone()).or_default();
        if *written > MAX_LOG {
            return None;
        }
        let room = MAX_LOG - *written;
        *written += log.msg.len();
        if log.msg.len() > room {
            log.msg.truncate(room);
            let words = format!("\n[output clipped, log limit {}MiB reached]\n", MAX_LOG >> 20);
            log.msg.extend_from_slice(words.as_bytes());
            *written = MAX_LOG + 1;
        }
        Some(log)
    }
}

/// A time as protocol buffers have it.
pub(crate) fn stamp(time: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(time.subsec_nanos()).unwrap_or_default();
    prost_types::Timestamp { seconds: time.seconds(), nanos }
}

//! One layer: fetched, checked and unpacked in one pass, resumed where it was interrupted.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_layers::{IngestError, LayerStore};
use ferry_oci::{Descriptor, Digest};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use tokio::sync::mpsc;

use crate::{
    client::Shared,
    error::LayerError,
    flight::Flight,
    http::{Answer, Fault},
    partial::Partial,
    progress::LayerVoice,
    resolve::body_error,
    source::{Source, SourceError},
    stream::{DEPTH, Piece, Stream},
};

/// Attempts after the first.
const RETRIES: u32 = 5;
/// An attempt that brought as much does not count: large layers over bad lines.
const PROGRESS: u64 = 1 << 20;

/// A layer to fetch.
pub(crate) struct Job<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) sources: &'a [Source],
    /// The first source that is worth trying.
    pub(crate) from: usize,
    pub(crate) blob: &'a Descriptor,
    pub(crate) diff_id: &'a Digest,
    pub(crate) layers: &'a Arc<LayerStore>,
    pub(crate) ingest_dir: &'a Path,
    pub(crate) voice: LayerVoice<'a>,
}

/// What became of one pass.
enum Pass {
    Done,
    /// The content was wrong, but not necessarily the registry's: a mirror or an old file had a part in it.
    Doubtful(LayerError),
    Failed(LayerError),
}

impl Job<'_> {
    /// Has the layer in the store when it returns without an error.
    pub(crate) async fn run(self) -> Result<(), LayerError> {
        let lock = self.shared.flights.of(&self.blob.digest);
        let flight = match Arc::clone(&lock).try_lock_owned() {
            Ok(flight) => flight,
            Err(_) => {
                self.voice.say("Waiting");
                lock.clone().lock_owned().await
            }
        };
        if self.layers.contains(self.diff_id) {
            self.voice.say("Already exists");
            return Ok(());
        }
        let permits = &self.shared.permits;
        let permit = match permits.try_acquire() {
            Ok(permit) => Ok(permit),
            Err(_) => {
                self.voice.say("Waiting");
                permits.acquire().await
            }
        };
        // The semaphore is never closed.
        let _permit = permit.map_err(|_| LayerError::Abandoned(self.blob.digest.clone()))?;
        let mut pass = self.pass(self.from, flight).await;
        if let Pass::Doubtful(error) = pass {
            tracing::warn!(digest = %self.blob.digest, %error, "fetching a layer again from its registry");
            let own = self.sources.iter().position(|source| !source.mirror);
            let flight = lock.lock_owned().await;
            pass = self.pass(own.unwrap_or(self.from), flight).await;
        }
        match pass {
            Pass::Done => {
                self.voice.say("Pull complete");
                Ok(())
            }
            Pass::Doubtful(error) | Pass::Failed(error) => Err(error),
        }
    }

    /// One pass of the stream through the unpacker, however many requests it takes. The flight goes with the unpacker,
    /// which may outlive this future for a moment.
    async fn pass(&self, from: usize, flight: Flight) -> Pass {
        let (sender, pieces) = mpsc::channel(DEPTH);
        let Descriptor { digest, size, .. } = self.blob;
        let partial = {
            let (directory, digest, size) = (PathBuf::from(self.ingest_dir), digest.clone(), *size);
            tokio::task::spawn_blocking(move || Partial::open(&directory, &digest, size)).await
        };
        let Ok(partial) = partial else {
            return Pass::Failed(LayerError::Abandoned(digest.clone()));
        };
        let resumed = partial.left();
        let wrong = Arc::new(AtomicBool::new(false));
        let stream = Stream::new(pieces, partial, digest.clone(), *size, Arc::clone(&wrong));
        let unpacker = {
            let (layers, diff_id) = (Arc::clone(self.layers), self.diff_id.clone());
            tokio::task::spawn_blocking(move || unpack(&layers, &diff_id, stream, flight))
        };
        let mut download = Download::new(self, sender, from, resumed);
        let downloaded = download.run().await;
        let mirrored = download.mirrored;
        // Without an end, the unpacker sees an interruption.
        drop(download);
        let unpacked = unpacker.await;
        if let Err(error) = downloaded {
            return Pass::Failed(error);
        }
        match unpacked {
            Ok(Ok(())) => Pass::Done,
            Ok(Err(error)) => {
                let content = error.kind() == ErrorKind::InvalidArgument;
                let error = self.ingest_error(error, wrong.load(Ordering::Acquire));
                if content && (resumed > 0 || mirrored) {
                    Pass::Doubtful(error)
                } else {
                    Pass::Failed(error)
                }
            }
            Err(_) => Pass::Failed(LayerError::Abandoned(digest.clone())),
        }
    }

    fn ingest_error(&self, error: IngestError, wrong: bool) -> LayerError {
        let digest = self.blob.digest.clone();
        match error {
            _ if wrong => LayerError::Digest(digest),
            IngestError::Mismatch { expected, actual } => {
                LayerError::DiffId { digest, expected: expected.into(), actual: actual.into() }
            }
            source => LayerError::Ingest { digest, source: Box::new(source) },
        }
    }
}

/// The blocking side of a pass.
fn unpack(
    layers: &LayerStore,
    diff_id: &Digest,
    mut stream: Stream,
    flight: Flight,
) -> Result<(), IngestError> {
    let result = layers.ingest(&mut stream, Some(diff_id));
    match &result {
        Ok(_) => stream.partial().remove(),
        // An interruption leaves the file for the next attempt; wrong content must not come back.
        Err(error) if error.kind() == ErrorKind::InvalidArgument => stream.partial().remove(),
        Err(_) => {}
    }
    drop(flight);
    result.map(|_| ())
}

/// The network side of a pass.
struct Download<'a> {
    job: &'a Job<'a>,
    sender: mpsc::Sender<Piece>,
    /// The source in use.
    at: usize,
    /// Bytes that the unpacker has or will have.
    offset: u64,
    /// Whether a mirror gave any of them.
    mirrored: bool,
    /// Whether to ask for the rest only. Not of a server that made nonsense of it.
    ranges: bool,
}

/// What is left of the patience with a source.
struct Budget {
    retries: u32,
    /// Where the layer was when it was last renewed.
    mark: u64,
}

/// Why a request ended before the layer did.
enum Stop {
    /// The unpacker takes no more, and will say why.
    Unwanted,
    Source(SourceError),
    /// More bytes than the layer has, or not those that were asked for.
    Wrong,
}

impl<'a> Download<'a> {
    fn new(job: &'a Job<'a>, sender: mpsc::Sender<Piece>, at: usize, offset: u64) -> Download<'a> {
        Download { job, sender, at, offset, mirrored: false, ranges: true }
    }

    async fn run(&mut self) -> Result<(), LayerError> {
        let Job { blob, voice, .. } = self.job;
        let mut budget = Budget { retries: 0, mark: self.offset };
        while self.offset < blob.size {
            match self.request().await {
                Ok(()) => {}
                Err(Stop::Unwanted) => return Ok(()),
                Err(stop) => self.recover(stop, &mut budget).await?,
            }
        }
        voice.say("Verifying Checksum");
        // Fails only when the unpacker is gone, and then it says why.
        drop(self.sender.send(Piece::End).await);
        voice.say("Download complete");
        voice.at("Extracting", blob.size, blob.size);
        Ok(())
    }

    /// Makes the next request worth a try: another way, another source, or later. An error when there is none.
    async fn recover(&mut self, stop: Stop, budget: &mut Budget) -> Result<(), LayerError> {
        let Job { blob, sources, voice, shared, .. } = self.job;
        let refused = matches!(&stop, Stop::Source(error)
            if error.refusal().is_some_and(|refusal| refusal.status == 416));
        if self.ranged() && (refused || matches!(stop, Stop::Wrong)) {
            self.ranges = false;
            return Ok(());
        }
        let unreachable = matches!(&stop, Stop::Source(error) if error.is_unreachable());
        let replaceable = sources.get(self.at).is_some_and(|source| source.mirror);
        if self.at + 1 < sources.len() && (replaceable || unreachable) {
            tracing::debug!(digest = %blob.digest, "trying the next source of a layer");
            self.at += 1;
            self.ranges = true;
            return Ok(());
        }
        let Stop::Source(error) = stop else { return Err(LayerError::Digest(blob.digest.clone())) };
        if self.offset - budget.mark >= PROGRESS {
            *budget = Budget { retries: 0, mark: self.offset };
        }
        if budget.retries == RETRIES || !error.is_passing() {
            return Err(LayerError::Download { attempts: budget.retries + 1, source: error });
        }
        let asked = error.refusal().and_then(|refusal| refusal.retry_after);
        let tuning = &shared.tuning;
        let pause = pause(tuning.pause, budget.retries, asked, tuning.longest_pause);
        tracing::info!(digest = %blob.digest, %error, ?pause, "a layer is fetched again later");
        voice.count_down(pause).await;
        budget.retries += 1;
        Ok(())
    }

    /// Whether the next request asks for the rest only.
    fn ranged(&self) -> bool {
        self.offset > 0 && self.ranges
    }

    /// One request and as much of its answer as comes.
    async fn request(&mut self) -> Result<(), Stop> {
        let Job { blob, sources, shared, voice, .. } = self.job;
        let Some(source) = sources.get(self.at) else { return Err(Stop::Wrong) };
        let mut headers = HeaderMap::new();
        if self.ranged()
            && let Ok(range) = HeaderValue::try_from(format!("bytes={}-", self.offset))
        {
            headers.insert(RANGE, range);
        }
        let path = format!("blobs/{}", blob.digest);
        let mut answer = source.get(shared, &path, &headers).await.map_err(Stop::Source)?;
        let mut skip = self.skip(&answer)?;
        loop {
            let next = answer.body.next().await;
            let broken = |fault| Stop::Source(body_error(&answer.origin, &path, fault));
            let Some(mut piece) = next.map_err(broken)? else {
                if self.offset >= blob.size {
                    return Ok(());
                }
                return Err(broken(Fault::Broken("unexpected EOF".to_owned())));
            };
            if skip > 0 {
                let length = piece.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                drop(piece.split_to(length));
                skip -= length as u64;
            }
            if piece.is_empty() {
                continue;
            }
            if piece.len() as u64 > blob.size - self.offset {
                return Err(Stop::Wrong);
            }
            self.offset += piece.len() as u64;
            self.mirrored |= source.mirror;
            if self.sender.send(Piece::Data(piece)).await.is_err() {
                return Err(Stop::Unwanted);
            }
            voice.passing("Downloading", self.offset, blob.size);
        }
    }

    /// Bytes at the start of an answer that are here already: a server that knows no ranges sends all of them again.
    fn skip(&self, answer: &Answer) -> Result<u64, Stop> {
        if answer.status != StatusCode::PARTIAL_CONTENT {
            return Ok(self.offset);
        }
        let range = answer.header(CONTENT_RANGE).and_then(|range| range.strip_prefix("bytes "));
        let start = range
            .and_then(|range| range.split('-').next())
            .and_then(|start| start.parse::<u64>().ok());
        match start {
            Some(start) if start <= self.offset => Ok(self.offset - start),
            _ => Err(Stop::Wrong),
        }
    }
}

/// Twice as long each time, unless the registry knows better.
fn pause(first: Duration, retries: u32, asked: Option<Duration>, most: Duration) -> Duration {
    let own = first.saturating_mul(2_u32.saturating_pow(retries));
    asked.unwrap_or(own).min(most)
}

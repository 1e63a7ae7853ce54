//! Bytes on their way to a registry: a small blob in one request, a layer as a stream that can be taken up again.

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use ferry_archive::compress::{Compression, Encoder};
use ferry_layers::LayerStore;
use ferry_oci::{Descriptor, Digest, Hasher};
use http::{
    HeaderValue, Method,
    header::{CONTENT_TYPE, LOCATION, RANGE},
};
use tokio::{sync::mpsc, time::Duration};

use super::{
    PushError,
    blob::{Job, descriptor},
};
use crate::{
    client::Shared,
    http::{Answer, Call, Cut, Flow, Location},
    source::Source,
};

/// Bytes of a layer in one piece.
const PIECE: usize = 128 << 10;
/// Pieces that may wait for the network.
const DEPTH: usize = 8;
/// How often progress is told.
const BEAT: Duration = Duration::from_millis(100);
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Sends blobs to one repository.
pub(crate) struct Upload<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) source: &'a Source,
}

/// What came of compressing a layer.
struct Made {
    digest: Digest,
    size: u64,
}

impl Upload<'_> {
    /// Sends a blob that is in memory.
    pub(crate) async fn whole(&self, bytes: Bytes, digest: &Digest) -> Result<(), PushError> {
        let place = self.begin().await?;
        self.finish(&place, digest, bytes).await
    }

    /// Sends a blob that comes piece by piece, once.
    pub(crate) async fn flow(&self, flow: Flow, digest: &Digest) -> Result<(), PushError> {
        let place = self.begin().await?;
        let place = self.stream(&place, flow).await?;
        self.finish(&place, digest, Bytes::new()).await
    }

    /// Sends a layer, and goes on with `under_way` if the registry still knows it.
    pub(super) async fn layer(
        &self,
        job: &Job<'_>,
        under_way: &mut Option<Location>,
    ) -> Result<Descriptor, PushError> {
        let (place, offset) = match under_way.take() {
            Some(place) => match self.left(&place).await {
                Some(offset) => (place, offset),
                None => (self.begin().await?, 0),
            },
            None => (self.begin().await?, 0),
        };
        *under_way = Some(place.clone());
        let diff_id = job.layer.diff_id.clone();
        let total = job.layers.get(&diff_id).map_or(0, |layer| layer.tar_size);
        let done = Arc::new(AtomicU64::new(0));
        let (sender, flow) = mpsc::channel(DEPTH);
        let maker = {
            let (layers, diff_id) = (Arc::clone(job.layers), diff_id.clone());
            let done = Arc::clone(&done);
            let compression = job.packing.compression.unwrap_or(Compression::Gzip(None));
            tokio::task::spawn_blocking(move || {
                make((&layers, compression), &diff_id, offset, &sender, &done)
            })
        };
        let sent = self.stream(&place, flow);
        let sent = async {
            let mut sent = std::pin::pin!(sent);
            loop {
                match tokio::time::timeout(BEAT, sent.as_mut()).await {
                    Ok(sent) => return sent,
                    Err(_) => job.voice.at("Pushing", done.load(Ordering::Relaxed), total),
                }
            }
        };
        let sent = sent.await;
        let made = maker.await.map_err(|_| PushError::Abandoned(diff_id.clone()))?;
        let (place, made) = match (sent, made) {
            // A layer that does not read is the reason for everything else.
            (_, Err(Some(error))) => return Err(error),
            (Err(error), _) => return Err(error),
            (Ok(_), Err(None)) => return Err(PushError::Abandoned(diff_id)),
            (Ok(place), Ok(made)) => (place, made),
        };
        if made.size < offset {
            return Err(PushError::Unsteady(diff_id));
        }
        *under_way = Some(place.clone());
        job.voice.at("Pushing", total, total);
        self.finish(&place, &made.digest, Bytes::new()).await?;
        Ok(descriptor(job.packing.media_type(), made.digest, made.size))
    }

    /// A place to upload to.
    async fn begin(&self) -> Result<Location, PushError> {
        let location = self.source.location("blobs/uploads/");
        let answer =
            self.source.call(self.shared, Call::new(Method::POST, location.clone())).await?;
        self.place(answer, &location).await
    }

    /// How much of an upload the registry has.
    async fn left(&self, place: &Location) -> Option<u64> {
        let answer = self.source.call(self.shared, Call::get(place.clone())).await.ok()?;
        let range = answer.header(RANGE).map(str::to_owned);
        answer.body.skip().await;
        let range = range?;
        let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
        let last: u64 = last.trim().parse().ok()?;
        // An upload that has nothing is said to have `0-0`, as one with a single byte.
        (first.trim() == "0" && last > 0).then(|| last.checked_add(1))?
    }

    async fn stream(&self, place: &Location, flow: Flow) -> Result<Location, PushError> {
        let mut call = Call::new(Method::PATCH, place.clone());
        call.headers.insert(CONTENT_TYPE, BYTES);
        let answer = self.source.call_flow(self.shared, call, flow).await?;
        self.place(answer, place).await
    }

    async fn finish(
        &self,
        place: &Location,
        digest: &Digest,
        bytes: Bytes,
    ) -> Result<(), PushError> {
        let mut place = place.clone();
        let joint = if place.path.contains('?') { '&' } else { '?' };
        place.path.push_str(&format!("{joint}digest={digest}"));
        let mut call = Call::new(Method::PUT, place);
        call.headers.insert(CONTENT_TYPE, BYTES);
        call.body = bytes;
        let answer = self.source.call(self.shared, call).await?;
        answer.body.skip().await;
        Ok(())
    }

    /// Where the upload goes on. Not to a place without TLS if the registry has it, unless the user allows that.
    async fn place(&self, answer: Answer, from: &Location) -> Result<Location, PushError> {
        let text = answer.header(LOCATION).map(str::to_owned);
        answer.body.skip().await;
        let text = text.ok_or(PushError::NoLocation)?;
        let place = from.join(&text).ok_or_else(|| PushError::Location(text.clone()))?;
        let downgrade = from.origin.https && !place.origin.https;
        if downgrade && !self.shared.http.is_insecure(&place.origin).await {
            return Err(PushError::Location(text));
        }
        Ok(place)
    }
}

/// Compresses a layer and sends what comes after `offset`. `None` as an error is a receiver that has left.
fn make(
    layers: (&LayerStore, Compression),
    diff_id: &Digest,
    offset: u64,
    sender: &mpsc::Sender<Result<Bytes, Cut>>,
    done: &AtomicU64,
) -> Result<Made, Option<PushError>> {
    let made = compress(layers, diff_id, offset, sender, done);
    if let Err(Some(_)) = &made {
        // Without it the request would look whole.
        drop(sender.blocking_send(Err(Cut)));
    }
    made
}

fn compress(
    (layers, compression): (&LayerStore, Compression),
    diff_id: &Digest,
    offset: u64,
    sender: &mpsc::Sender<Result<Bytes, Cut>>,
    done: &AtomicU64,
) -> Result<Made, Option<PushError>> {
    let tar = layers
        .tar(diff_id)
        .map_err(|source| Some(PushError::Open { diff_id: diff_id.clone(), source }))?;
    let tar = std::io::BufReader::with_capacity(PIECE, tar);
    let unread = |source| Some(PushError::Read { diff_id: diff_id.clone(), source });
    let mut packed = Encoder::new(compression, Counted { inner: tar, done }).map_err(unread)?;
    let mut hasher = Hasher::new();
    let mut size = 0_u64;
    loop {
        let mut piece = vec![0; PIECE];
        let filled = fill(&mut packed, &mut piece).map_err(unread)?;
        if filled == 0 {
            return Ok(Made { digest: hasher.finish(), size });
        }
        piece.truncate(filled);
        hasher.update(&piece);
        let skip = usize::try_from(offset.saturating_sub(size)).unwrap_or(usize::MAX).min(filled);
        size += filled as u64;
        let piece = Bytes::from(piece).slice(skip..);
        if !piece.is_empty() && sender.blocking_send(Ok(piece)).is_err() {
            return Err(None);
        }
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Counts what is read of the layer: progress is told in its own size, as Docker does.
struct Counted<'a, R> {
    inner: R,
    done: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

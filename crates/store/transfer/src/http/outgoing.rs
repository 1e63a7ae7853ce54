//! The body of a request: known at once, or coming piece by piece.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::fault::Fault;

/// The pieces of a body, and an error where it cannot go on.
pub(crate) type Flow = mpsc::Receiver<Result<Bytes, Cut>>;

/// Whoever makes the pieces cannot make more: the request must not end as if it were whole.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the content to upload broke off")]
pub(crate) struct Cut;

/// A request's body.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// All of it.
    Whole(Option<Bytes>),
    /// Piece by piece.
    Pieces(Flow, Arc<AtomicU64>),
}

/// Tells whether a body still moves.
#[derive(Debug)]
pub(crate) struct Pulse(Arc<AtomicU64>);

impl Outgoing {
    pub(super) fn whole(bytes: Bytes) -> Outgoing {
        Outgoing::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }

    pub(super) fn flow(flow: Flow) -> (Outgoing, Pulse) {
        let beats = Arc::new(AtomicU64::new(0));
        (Outgoing::Pieces(flow, Arc::clone(&beats)), Pulse(beats))
    }
}

impl Pulse {
    /// Waits for an answer as long as the body moves, and `stall` longer.
    pub(super) async fn watch<F: Future>(
        &self,
        mut exchange: Pin<&mut F>,
        stall: Duration,
    ) -> Result<F::Output, Fault> {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            match tokio::time::timeout(stall, exchange.as_mut()).await {
                Ok(output) => return Ok(output),
                Err(_) if self.0.load(Ordering::Relaxed) != before => {}
                Err(_) => return Err(Fault::Stalled(stall)),
            }
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match self.get_mut() {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Pieces(flow, beats) => flow.poll_recv(context).map(|piece| {
                beats.fetch_add(1, Ordering::Relaxed);
                piece.map(|piece| piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Outgoing::Pieces(..) => SizeHint::default(),
        }
    }
}

//! Bodies of answers: whole, or as they come.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use ferry_errkind::Failure;
use hyper::body::{Frame, SizeHint};
use tokio::sync::mpsc;

/// How an error in the middle of a stream is told to the client; `None` cuts the stream off.
pub(crate) type RenderFailure = fn(&Failure) -> Option<Bytes>;

/// The stream ended early, and the only way to say so is to break the connection.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub(crate) struct BrokenOff(String);

/// Body of an answer.
pub(crate) enum Body {
    /// All there is.
    Full(Option<Bytes>),
    /// The headers go out at once, the content when it is there.
    Later(Pin<Box<dyn Future<Output = Bytes> + Send>>),
    /// Pieces; the sender learns from a closed channel that the client left.
    Pieces(mpsc::Receiver<Bytes>),
    /// Pieces that may end in a failure.
    Fallible(mpsc::Receiver<Result<Bytes, Failure>>, RenderFailure),
}

impl Body {
    /// No content.
    pub(crate) fn empty() -> Self {
        Body::Full(None)
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = self.get_mut();
        let piece = match this {
            Body::Full(content) => content.take(),
            Body::Later(future) => {
                let content = ready!(future.as_mut().poll(context));
                *this = Body::empty();
                Some(content)
            }
            Body::Pieces(receiver) => ready!(receiver.poll_recv(context)),
            Body::Fallible(receiver, render) => match ready!(receiver.poll_recv(context)) {
                Some(Ok(piece)) => Some(piece),
                Some(Err(failure)) => {
                    let rendered = render(&failure);
                    *this = Body::empty();
                    match rendered {
                        Some(words) => Some(words),
                        None => {
                            return Poll::Ready(Some(Err(BrokenOff(failure.message().to_owned()))));
                        }
                    }
                }
                None => None,
            },
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Body::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(content) => {
                SizeHint::with_exact(content.as_ref().map_or(0, |content| content.len() as u64))
            }
            Body::Later(_) | Body::Pieces(_) | Body::Fallible(..) => SizeHint::default(),
        }
    }
}

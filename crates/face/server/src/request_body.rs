//! A request's body: read at once if it is small, else piece by piece by whoever wants it.
//!
//! Many clients send their body after the headers, in a piece of its own. An answer that comes before, as to a request for a container
//! that is not there, closes the connection under their hands, and they report a broken pipe instead of the answer.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use ferry_errkind::{ErrorKind, Failure};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

/// Bodies of this size are heard out before anything is done.
const SMALL: u64 = 64 << 10;

/// A body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// It is here.
    Whole(Option<Bytes>),
    /// It comes.
    Coming(Incoming),
}

impl RequestBody {
    /// Hears it out if it is small and says so.
    ///
    /// # Errors
    /// The client left in the middle of it.
    pub(crate) async fn hear(body: Incoming, headers: &HeaderMap) -> Result<Self, Failure> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok());
        match length.and_then(|text| text.parse::<u64>().ok()) {
            Some(1..=SMALL) => {
                let whole = body.collect().await.map_err(|error| {
                    let words = format!("cannot read the request body: {error}");
                    Failure::new(ErrorKind::InvalidArgument, words)
                })?;
                Ok(RequestBody::Whole(Some(whole.to_bytes())))
            }
            _ => Ok(RequestBody::Coming(body)),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            RequestBody::Whole(bytes) => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            RequestBody::Coming(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Whole(bytes) => bytes.is_none(),
            RequestBody::Coming(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            RequestBody::Coming(body) => body.size_hint(),
        }
    }
}

//! A request's body as a reader.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::body::Body as _;
use tokio::io::{AsyncRead, ReadBuf};

use crate::request_body::RequestBody;

/// Reads a body piece by piece.
#[derive(Debug)]
pub(crate) struct BodyReader {
    body: RequestBody,
    piece: Bytes,
}

impl BodyReader {
    pub(crate) fn new(body: RequestBody) -> Self {
        BodyReader { body, piece: Bytes::new() }
    }
}

impl AsyncRead for BodyReader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.piece.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                // Trailers are of no interest.
                Some(Ok(frame)) => this.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let take = this.piece.len().min(buffer.remaining());
        buffer.put_slice(&this.piece[..take]);
        this.piece.advance(take);
        Poll::Ready(Ok(()))
    }
}

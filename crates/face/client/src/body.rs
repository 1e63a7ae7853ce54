//! Bodies of requests.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

/// Uploads are read in pieces of this size.
const PIECE: usize = 128 << 10;

/// A source of bytes to send.
pub(crate) type Reader = Pin<Box<dyn AsyncRead + Send + Sync>>;

/// The body of a request.
pub(crate) enum Payload {
    /// None.
    Empty,
    /// All there.
    Full(Bytes),
    /// Read while it is sent. With a length, there is a `Content-Length`; otherwise it is sent in chunks.
    Reader { reader: Reader, left: Option<u64>, buffer: BytesMut },
}

impl Payload {
    pub(crate) fn reader(
        reader: impl AsyncRead + Send + Sync + 'static,
        length: Option<u64>,
    ) -> Self {
        Payload::Reader { reader: Box::pin(reader), left: length, buffer: BytesMut::new() }
    }

    /// The same once more, if that can be had.
    pub(crate) fn again(&self) -> Option<Payload> {
        match self {
            Payload::Empty => Some(Payload::Empty),
            Payload::Full(bytes) => Some(Payload::Full(bytes.clone())),
            Payload::Reader { .. } => None,
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Payload::Empty => f.write_str("Empty"),
            Payload::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Payload::Reader { left, .. } => write!(f, "Reader({left:?})"),
        }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        match this {
            Payload::Empty => Poll::Ready(None),
            Payload::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Payload::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Payload::Reader { reader, left, buffer } => {
                let room =
                    left.map_or(PIECE, |left| PIECE.min(usize::try_from(left).unwrap_or(PIECE)));
                if room == 0 {
                    return Poll::Ready(None);
                }
                buffer.resize(room, 0);
                let mut filled = ReadBuf::new(&mut buffer[..room]);
                let read = ready!(reader.as_mut().poll_read(context, &mut filled));
                let len = filled.filled().len();
                if let Err(error) = read {
                    return Poll::Ready(Some(Err(error)));
                }
                if len == 0 {
                    return Poll::Ready(match left {
                        Some(left) if *left > 0 => {
                            Some(Err(std::io::ErrorKind::UnexpectedEof.into()))
                        }
                        _ => None,
                    });
                }
                if let Some(left) = left {
                    *left = left.saturating_sub(len as u64);
                }
                buffer.truncate(len);
                Poll::Ready(Some(Ok(Frame::data(buffer.split().freeze()))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Payload::Empty | Payload::Reader { left: Some(0), .. })
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Payload::Empty => SizeHint::with_exact(0),
            Payload::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Payload::Reader { left: Some(left), .. } => SizeHint::with_exact(*left),
            Payload::Reader { left: None, .. } => SizeHint::default(),
        }
    }
}

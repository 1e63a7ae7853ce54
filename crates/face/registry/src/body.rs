//! Bodies of answers: some text, or a part of a file that is read as the client takes it.

use std::{
    fs::File,
    future::Future,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::direct::{self, Line};

/// Read at once. With what hyper holds back, a client costs two or three of these.
const PIECE: usize = 64 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    Text(Option<Bytes>),
    Part(Part),
    /// Pieces that somebody else sends, and how much of them is still to come.
    Pieces(mpsc::Receiver<io::Result<Bytes>>, u64),
}

/// Some bytes of a file.
#[derive(Debug)]
pub(crate) struct Part {
    file: Arc<File>,
    at: u64,
    left: u64,
    /// Where the connection sends files by itself.
    line: Option<Line>,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Body {
    pub(crate) fn empty() -> Body {
        Body::Text(None)
    }

    /// `length` bytes of a file from `at` on.
    pub(crate) fn part(file: File, at: u64, length: u64) -> Body {
        Body::Part(Part { file: Arc::new(file), at, left: length, line: None, reading: None })
    }

    /// `length` bytes that come piece by piece.
    pub(crate) fn pieces(pieces: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Body {
        Body::Pieces(pieces, length)
    }

    /// Has the connection send what this is of a file by itself, where it is in memory.
    pub(crate) fn sent_by(&mut self, line: &Line) {
        // What is one piece goes with the head of the answer in one call.
        if let Body::Part(part) = self
            && part.left > PIECE as u64
        {
            part.line = Some(line.clone());
        }
    }

    /// How much it is.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Body::Text(text) => text.as_ref().map_or(0, |text| text.len() as u64),
            Body::Part(part) => part.left,
            Body::Pieces(_, left) => *left,
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(text: T) -> Body {
        Body::Text(Some(text.into()))
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.get_mut() {
            Body::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Body::Part(part) => part.poll(context),
            Body::Pieces(pieces, left) => pieces.poll_recv(context).map(|piece| {
                let piece = piece?;
                if let Ok(piece) = &piece {
                    *left = left.saturating_sub(piece.len() as u64);
                }
                Some(piece.map(Frame::data))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length())
    }
}

impl Part {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if let Some(line) = &self.line
            && self.reading.is_none()
        {
            let length = usize::try_from(self.left).unwrap_or(direct::PIECE).min(direct::PIECE);
            // What comes from the disk is read by a thread that may wait, and then it is in our hands.
            let end = self.at + length as u64 - 1;
            if is_cached(&self.file, self.at) && is_cached(&self.file, end) {
                let piece = line.announce(&self.file, self.at, length);
                self.at += length as u64;
                self.left -= length as u64;
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        let length = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let piece = match &mut self.reading {
            Some(reading) => ready!(Pin::new(reading).poll(context)).map_err(io::Error::other)?,
            None => match read_cached(&self.file, self.at, length) {
                Some(piece) => Ok(piece),
                None => {
                    let (file, at) = (Arc::clone(&self.file), self.at);
                    let read = move || read_from_disk(&file, at, length);
                    let reading = self.reading.insert(tokio::task::spawn_blocking(read));
                    ready!(Pin::new(reading).poll(context)).map_err(io::Error::other)?
                }
            },
        };
        self.reading = None;
        let piece = piece?;
        self.at += piece.len() as u64;
        self.left -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

/// Whether the page cache has this byte. `false`, too, when the file system cannot say.
pub(crate) fn is_cached(file: &File, at: u64) -> bool {
    let mut byte = [0];
    let mut slices = [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).is_ok_and(|read| read == 1)
}

/// What the page cache has at once, without waiting for the disk. `None` when it has nothing, or the file system cannot say.
fn read_cached(file: &File, at: u64, length: usize) -> Option<Bytes> {
    let mut buffer = vec![0; length];
    let mut slices = [IoSliceMut::new(&mut buffer)];
    let read = rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT).ok()?;
    buffer.truncate(read);
    (read > 0).then(|| Bytes::from(buffer))
}

fn read_from_disk(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    let mut buffer = vec![0; length];
    file.read_exact_at(&mut buffer, at)?;
    Ok(Bytes::from(buffer))
}

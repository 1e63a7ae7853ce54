//! Streams between the loop and threads that block: a body that is read by blocking code, a tar that blocking code writes.

use std::{
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use ferry_errkind::Failure;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

/// Pieces on their way. With [`PIECE`] it bounds the memory of one stream: 4 MiB.
const BACKLOG: usize = 16;

/// Bytes of a full piece: large enough that waking the other side costs little.
const PIECE: usize = 256 << 10;

/// How much of a body is still read when nobody wants it any more, and for how long.
const MAX_REST: u64 = 256 << 20;
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// What blocking code reads. Ends early with an error when the task that feeds it is gone.
#[derive(Debug)]
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// Where buffers go back: fresh ones of this size would be mapped, cleared and unmapped by the kernel each time.
    used: std::sync::mpsc::Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

/// Reads `body` on the loop for somebody who blocks.
pub(crate) fn reader_of(mut body: impl AsyncRead + Send + Unpin + 'static) -> PieceReader {
    let (sender, pieces) = mpsc::channel(BACKLOG);
    let (used, unused) = std::sync::mpsc::channel::<Vec<u8>>();
    tokio::spawn(async move {
        loop {
            let mut buffer = unused.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            buffer.clear();
            let read = fill(&mut body, &mut buffer).await;
            let last = buffer.len() < PIECE;
            let mut gone = !buffer.is_empty() && sender.send(Ok(buffer)).await.is_err();
            if let Err(error) = read {
                sender.send(Err(error)).await.ok();
                return;
            }
            if last {
                return;
            }
            gone |= sender.is_closed();
            if gone {
                // Nobody reads on: the work is done or has failed. A client that is cut off while it sends never sees why.
                let mut rest = body.take(MAX_REST);
                let mut nowhere = tokio::io::sink();
                let drained = tokio::io::copy(&mut rest, &mut nowhere);
                tokio::time::timeout(REST_PATIENCE, drained).await.ok();
                return;
            }
        }
    });
    PieceReader { pieces, used, current: Vec::new(), at: 0 }
}

/// Reads until the piece is full or the body ends.
async fn fill(body: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> io::Result<()> {
    while buffer.len() < PIECE {
        let room = PIECE - buffer.len();
        let mut room = (&mut *buffer).limit(room);
        if body.read_buf(&mut room).await? == 0 {
            break;
        }
    }
    Ok(())
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.current.len() {
            let Some(next) = self.pieces.blocking_recv() else { return Ok(&[]) };
            let used = std::mem::replace(&mut self.current, next?);
            self.at = 0;
            // Whoever fills them may be done.
            self.used.send(used).ok();
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.current.len());
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        ferry_archive::read_buffered(self, buffer)
    }
}

/// What blocking code writes to; the other end is a body.
#[derive(Debug)]
pub(crate) struct PieceWriter {
    pieces: mpsc::Sender<Result<Bytes, Failure>>,
    buffer: BytesMut,
}

/// A writer for a thread, and what it writes.
pub(crate) fn pipe() -> (PieceWriter, mpsc::Receiver<Result<Bytes, Failure>>) {
    let (sender, pieces) = mpsc::channel(BACKLOG);
    (PieceWriter { pieces: sender, buffer: BytesMut::with_capacity(PIECE) }, pieces)
}

impl PieceWriter {
    /// Ends the stream with a failure: whoever reads must not take it for whole.
    pub(crate) fn fail(self, failure: Failure) {
        // Whoever has left does not need to know.
        self.pieces.blocking_send(Err(failure)).ok();
    }

    fn send(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(PIECE)).freeze();
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the client has left");
        self.pieces.blocking_send(Ok(piece)).map_err(gone)
    }
}

impl Write for PieceWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

//! Streams between the loop and threads that block: a body that is read by blocking code, a tar that blocking code writes.

use std::{
    io::{self, BufRead, Read, Write},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use ferry_errkind::Failure;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::mpsc,
};

/// Pieces on their way. With [`PIECE`] it bounds the memory of one stream: 4 MiB.
const BACKLOG: usize = 64;

/// Bytes of a full piece. Below 128 KiB: what is larger, musl's allocator maps and unmaps each time, and the kernel clears it.
const PIECE: usize = 64 << 10;

/// How much of a body is still read when nobody wants it any more, and for how long.
const MAX_REST: u64 = 256 << 20;
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// What blocking code reads. Ends early with an error when the task that feeds it is gone.
#[derive(Debug)]
pub(crate) struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

/// Reads `body` on the loop for somebody who blocks.
pub(crate) fn reader_of(mut body: impl AsyncRead + Send + Unpin + 'static) -> PieceReader {
    let (sender, pieces) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            let piece = match body.read_buf(&mut buffer).await {
                Ok(0) => return,
                Ok(_) => Ok(buffer.split().freeze()),
                Err(error) => Err(error),
            };
            let last = piece.is_err();
            if last {
                sender.send(piece).await.ok();
                return;
            }
            if sender.send(piece).await.is_err() {
                // Nobody reads on: the work is done or has failed. A client that is cut off while it sends never sees why.
                let mut rest = body.take(MAX_REST);
                let mut nowhere = tokio::io::sink();
                let drained = tokio::io::copy(&mut rest, &mut nowhere);
                tokio::time::timeout(REST_PATIENCE, drained).await.ok();
                return;
            }
        }
    });
    PieceReader { pieces, current: Bytes::new() }
}

impl BufRead for PieceReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => break,
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
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

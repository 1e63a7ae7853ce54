//! From the network to the unpacker: pieces in order, through a bounded channel, checked on the way.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{Buf, Bytes};
use ferry_oci::{Digest, Hasher};
use tokio::sync::mpsc;

use crate::partial::Partial;

/// Pieces that may wait for the unpacker.
pub(crate) const DEPTH: usize = 16;

/// What the network side sends.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes.
    Data(Bytes),
    /// That was all. A channel that closes without is an interruption.
    End,
}

/// The unpacker's side: a blocking reader of the compressed layer. Its end is reached only by a layer of the right size
/// and digest, so an unpacker that reads to the end commits nothing else.
#[derive(Debug)]
pub(crate) struct Stream {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
    partial: Partial,
    hasher: Hasher,
    seen: u64,
    ended: bool,
    digest: Digest,
    size: u64,
    wrong: Arc<AtomicBool>,
}

impl Stream {
    /// A stream that gives first what `partial` holds. `wrong` is set when the whole came and is not what it should be.
    pub(crate) fn new(
        pieces: mpsc::Receiver<Piece>,
        partial: Partial,
        digest: Digest,
        size: u64,
        wrong: Arc<AtomicBool>,
    ) -> Stream {
        Stream {
            pieces,
            current: Bytes::new(),
            partial,
            hasher: Hasher::new(),
            seen: 0,
            ended: false,
            digest,
            size,
            wrong,
        }
    }

    /// The partial file, to remove it.
    pub(crate) fn partial(&mut self) -> &mut Partial {
        &mut self.partial
    }

    fn check(&mut self) -> io::Result<usize> {
        self.ended = true;
        let digest = std::mem::take(&mut self.hasher).finish();
        if digest == self.digest && self.seen == self.size {
            return Ok(0);
        }
        self.wrong.store(true, Ordering::Release);
        Err(io::Error::new(io::ErrorKind::InvalidData, "the digest is wrong"))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.ended {
            return Ok(0);
        }
        if self.partial.left() > 0 {
            let read = self.partial.read(buffer)?;
            self.hasher.update(&buffer[..read]);
            self.seen += read as u64;
            return Ok(read);
        }
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => {
                    self.hasher.update(&data);
                    self.seen += data.len() as u64;
                    self.partial.add(&data);
                    self.current = data;
                }
                Some(Piece::End) => return self.check(),
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}

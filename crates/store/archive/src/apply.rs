//! A compressed layer stream into a layer directory, in one pass on three threads. Start with [`apply`].
//!
//! The calling thread reads and decompresses into large buffers, the next one computes their digest, the last one parses
//! and writes files. Bounded channels of recycled buffers lie between them, so a layer costs at most twice
//! [`BUFFERS`] × [`BUFFER`] of memory. None of the three can be done by two at once; which one is the slowest depends on
//! the compression and on whether the processor has instructions for SHA-256.

use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::{Digest, Hasher};

use crate::compress::{Codec, Decoder, MAGIC_LENGTH, UnsupportedCodec};
use crate::recipe::RecipeWriter;
use crate::unpack::{Options, UnpackError, Unpacked, unpack};

/// Bytes handed over at once: large enough to make the hand-over cheap, small enough to stay in the cache
/// between decompression, digest and write. A multiple of the tar block, so that blocks are not split.
const BUFFER: usize = 256 << 10;
/// Buffers in flight between two threads.
const BUFFERS: usize = 4;

/// What a stream turned out to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// SHA-256 of the uncompressed tar.
    pub diff_id: Digest,
    /// Length of the uncompressed tar.
    pub tar_size: u64,
    /// How the stream was compressed.
    pub codec: Codec,
    /// What is in the tar.
    pub unpacked: Unpacked,
}

/// Unpacks a layer stream (gzip, zstd or plain) into `diff` and records its recipe. Both belong to a layer directory
/// that is not in use yet; after an error its content is good for removal only.
pub fn apply(
    mut stream: impl Read,
    diff: BorrowedFd<'_>,
    options: &Options,
    mut recipe: RecipeWriter,
) -> Result<Applied, ApplyError> {
    let mut start = [0; MAGIC_LENGTH];
    let length = fill(&mut stream, &mut start).map_err(ApplyError::Decompress)?;
    let codec = Codec::detect(&start[..length]).map_err(ApplyError::Codec)?;
    let stream = BufReader::with_capacity(BUFFER, start[..length].chain(stream));
    let decoder = Decoder::new(codec, stream).map_err(ApplyError::Decompress)?;
    let (full, undigested) = sync_channel(BUFFERS);
    let (digested, filled) = sync_channel(BUFFERS);
    let (empty, emptied) = channel();
    let (read, tally, unpacked) = std::thread::scope(|scope| {
        let recipe = &mut recipe;
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let unpacking = thread("unpack").spawn_scoped(scope, move || {
            unpack(&mut Pipe::new(filled, empty), diff, options, Some(recipe))
        });
        let unpacking = unpacking.map_err(ApplyError::Thread)?;
        let digesting =
            thread("digest").spawn_scoped(scope, move || digest(&undigested, &digested));
        let digesting = digesting.map_err(ApplyError::Thread)?;
        let read = pump(decoder, &full, &emptied);
        // Hanging up ends the others, whether they got everything or not.
        drop(full);
        let tally = digesting.join().map_err(|_| ApplyError::Panicked)?;
        let unpacked = unpacking.join().map_err(|_| ApplyError::Panicked)?;
        Ok((read, tally, unpacked))
    })?;
    // Where reading failed, the unpacker saw a stream that is too short, and its error is only a consequence.
    read.map_err(ApplyError::Decompress)?;
    let unpacked = unpacked.map_err(ApplyError::Unpack)?;
    let (tar_size, diff_id) = (tally.size, tally.hasher.finish());
    recipe.finish(tar_size, &diff_id).map_err(ApplyError::Record)?;
    Ok(Applied { diff_id, tar_size, codec, unpacked })
}

/// Length and digest of the uncompressed bytes.
#[derive(Default)]
struct Tally {
    size: u64,
    hasher: Hasher,
}

impl Tally {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.hasher.update(bytes);
    }
}

/// Decompresses until the end, or until the other side hung up.
fn pump(
    mut decoder: impl Read,
    full: &SyncSender<Vec<u8>>,
    emptied: &Receiver<Vec<u8>>,
) -> io::Result<()> {
    loop {
        let mut buffer = emptied.try_recv().unwrap_or_default();
        buffer.resize(BUFFER, 0);
        let filled = fill(&mut decoder, &mut buffer)?;
        buffer.truncate(filled);
        if filled == 0 || full.send(buffer).is_err() {
            return Ok(());
        }
    }
}

/// Takes note of everything that passes.
fn digest(undigested: &Receiver<Vec<u8>>, digested: &SyncSender<Vec<u8>>) -> Tally {
    let mut tally = Tally::default();
    while let Ok(buffer) = undigested.recv() {
        tally.add(&buffer);
        if digested.send(buffer).is_err() {
            break;
        }
    }
    tally
}

/// Reads until the buffer is full or the stream ends.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The unpacker's end of the channel.
struct Pipe {
    filled: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Pipe {
    fn new(filled: Receiver<Vec<u8>>, empty: Sender<Vec<u8>>) -> Self {
        Self { filled, empty, current: Vec::new(), at: 0 }
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::read_buffered(self, buffer)
    }
}

impl BufRead for Pipe {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.current.len() {
            let next = self.filled.recv().unwrap_or_default();
            let used = std::mem::replace(&mut self.current, next);
            self.at = 0;
            // The reader may be gone already; then nobody needs the buffer.
            drop(self.empty.send(used));
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.current.len());
    }
}

/// Why a layer stream cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A compression that we do not read.
    #[error("cannot read the layer")]
    Codec(#[source] UnsupportedCodec),
    /// The source failed, or the compressed data is damaged or cut short.
    #[error("cannot decompress the layer")]
    Decompress(#[source] io::Error),
    /// What came out is not a tar that can be unpacked.
    #[error("cannot unpack the layer")]
    Unpack(#[source] UnpackError),
    /// The recipe could not be completed.
    #[error("cannot record the layer's recipe")]
    Record(#[source] io::Error),
    /// No thread to unpack on.
    #[error("cannot start a thread to unpack on")]
    Thread(#[source] io::Error),
    /// A bug in the unpacker.
    #[error("the unpacker panicked")]
    Panicked,
}

impl Kinded for ApplyError {
    fn kind(&self) -> ErrorKind {
        match self {
            ApplyError::Codec(_) => ErrorKind::InvalidArgument,
            // What a decoder finds wrong is the stream's fault; anything else is the source's.
            ApplyError::Decompress(error) => match error.kind() {
                io::ErrorKind::InvalidData
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::UnexpectedEof => ErrorKind::InvalidArgument,
                _ => ErrorKind::Internal,
            },
            ApplyError::Unpack(error) => error.kind(),
            ApplyError::Record(_) | ApplyError::Thread(_) | ApplyError::Panicked => {
                ErrorKind::Internal
            }
        }
    }
}

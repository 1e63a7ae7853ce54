//! Bytes of a blob on their way, wherever they come from.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use ferry_client::Answer;
use ferry_oci::{Digest, Hasher};
use ferry_transfer::BlobStream;

use super::error::CopyError;

/// Read at once.
const PIECE: usize = 128 << 10;

/// A blob, open.
#[derive(Debug)]
pub(super) enum Stream {
    /// From a registry, which is checked there.
    Remote(BlobStream),
    /// Out of a file.
    Local(Section),
    /// From a daemon.
    Served(Box<Served>),
}

/// A blob that a daemon gives.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) answer: Answer,
    pub(super) hasher: Hasher,
    pub(super) digest: Digest,
}

impl Served {
    async fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        let piece = self.answer.chunk().await?;
        match &piece {
            Some(piece) => self.hasher.update(piece),
            None if std::mem::take(&mut self.hasher).finish() != self.digest => {
                return Err(CopyError::Digest(self.digest.clone()));
            }
            None => {}
        }
        Ok(piece)
    }
}

/// A part of a file that is a blob.
#[derive(Debug)]
pub(super) struct Section {
    file: File,
    path: PathBuf,
    left: u64,
    hasher: Hasher,
    digest: Digest,
}

impl Section {
    /// `size` bytes from `at` on, which must have this digest.
    pub(super) fn open(
        mut file: File,
        path: PathBuf,
        (at, size): (u64, u64),
        digest: Digest,
    ) -> Result<Section, CopyError> {
        file.seek(SeekFrom::Start(at)).map_err(CopyError::file("read", &path))?;
        Ok(Section { file, path, left: size, hasher: Hasher::new(), digest })
    }

    fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        if self.left == 0 {
            let found = std::mem::take(&mut self.hasher).finish();
            return match found == self.digest {
                true => Ok(None),
                false => Err(CopyError::Digest(self.digest.clone())),
            };
        }
        let wanted = usize::try_from(self.left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; wanted];
        self.file.read_exact(&mut piece).map_err(CopyError::file("read", &self.path))?;
        self.left -= wanted as u64;
        self.hasher.update(&piece);
        Ok(Some(piece.into()))
    }
}

impl Stream {
    /// The next piece; `None` at the end, when it is known to be the right one.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, CopyError> {
        match self {
            Stream::Remote(stream) => Ok(stream.next().await?),
            Stream::Local(section) => section.next(),
            Stream::Served(served) => served.next().await,
        }
    }
}

/// A file that has no name and goes with its descriptor.
pub(super) fn nameless() -> Result<File, CopyError> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ferry-cp-{}-{number}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let made = options.read(true).write(true).create_new(true).mode(0o600).open(&path);
    let file = made.map_err(CopyError::file("make", &path))?;
    std::fs::remove_file(&path).map_err(CopyError::file("remove", &path))?;
    Ok(file)
}

/// Writes and counts what goes through, with its digest.
#[derive(Debug)]
pub(super) struct Hashed<W> {
    pub(super) out: W,
    pub(super) hasher: Hasher,
    pub(super) size: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

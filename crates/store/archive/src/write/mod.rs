//! Writes tars: entries to blocks ([`TarWriter`]), and directories to layers ([`write_tree`]).

mod header;

mod walk;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};

use crate::entry::{Entry, Kind, Mtime};
use crate::parse::BLOCK;

pub use self::walk::{
    Keep, Source, TreeOptions, WriteTreeError, write_resource, write_tree, write_tree_in,
};

/// Writes a tar in POSIX form: ustar headers, PAX records only where ustar cannot say it.
#[derive(Debug)]
pub struct TarWriter<W> {
    out: W,
    buffer: Vec<u8>,
    times: Times,
}

/// Which times of modification entries get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Their own.
    #[default]
    Own,
    /// Their own, but none after that second since 1970.
    UpTo(i64),
    /// That second since 1970, all of them.
    At(i64),
}

impl Times {
    /// The time that an entry gets.
    #[must_use]
    pub fn of(self, mtime: Mtime) -> Mtime {
        match self {
            Times::At(seconds) => Mtime { seconds, nanos: 0 },
            Times::UpTo(seconds) => mtime.min(Mtime { seconds, nanos: 0 }),
            Times::Own => mtime,
        }
    }
}

/// What a tree is written to: an archive, or whoever makes one of what is found.
pub trait Sink {
    /// Takes an entry without payload.
    ///
    /// # Errors
    /// It cannot go on.
    fn append(&mut self, entry: &Entry) -> io::Result<()>;

    /// Takes a file, open to be read. Of one that changes (`live`), what is missing is zeros.
    ///
    /// # Errors
    /// It cannot go on, or the file is shorter than its entry says.
    fn append_open(&mut self, entry: &Entry, file: File, live: bool) -> io::Result<()>;
}

impl<W: Write> Sink for TarWriter<W> {
    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        TarWriter::append(self, entry)
    }

    fn append_open(&mut self, entry: &Entry, file: File, live: bool) -> io::Result<()> {
        match live {
            true => self.append_file(entry, file.chain(io::repeat(0))),
            false => self.append_file(entry, file),
        }
    }
}

/// Bytes copied at once.
const COPY: usize = 256 << 10;

impl<W: Write> TarWriter<W> {
    /// Starts an archive.
    pub fn new(out: W) -> Self {
        Self { out, buffer: Vec::new(), times: Times::Own }
    }

    /// Gives entries other times from here on.
    #[must_use]
    pub fn timed(self, times: Times) -> Self {
        Self { times, ..self }
    }

    /// Appends an entry without payload (anything but a file that is not empty).
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        self.append_file(entry, io::empty())
    }

    /// Appends an entry and exactly `entry.size` bytes of its file. A file that has more is cut, as its size was
    /// promised already; one that has fewer is an error of kind `UnexpectedEof`, and the archive is of no use.
    pub fn append_file(&mut self, entry: &Entry, mut payload: impl Read) -> io::Result<()> {
        self.begin(entry)?;
        if entry.kind != Kind::File || entry.size == 0 {
            return Ok(());
        }
        self.copy(&mut payload, entry.size)?;
        self.end(entry.size)
    }

    /// Appends an entry whose payload comes piece by piece: exactly `entry.size` bytes by [`TarWriter::piece`], and then
    /// [`TarWriter::end`].
    pub fn begin(&mut self, entry: &Entry) -> io::Result<()> {
        let mtime = self.times.of(entry.mtime);
        let entry = match mtime == entry.mtime {
            true => Cow::Borrowed(entry),
            false => Cow::Owned(Entry { mtime, ..entry.clone() }),
        };
        self.out.write_all(&header::encode(&entry))
    }

    /// Appends some of a payload.
    pub fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Ends a payload of this size.
    pub fn end(&mut self, size: u64) -> io::Result<()> {
        let over = size % BLOCK as u64;
        if over == 0 {
            return Ok(());
        }
        let padding = BLOCK - usize::try_from(over).unwrap_or_default();
        self.out.write_all(&[0; BLOCK][..padding])
    }

    /// Ends the archive with its two zero blocks and gives the output back.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn copy(&mut self, from: &mut impl Read, length: u64) -> io::Result<()> {
        self.buffer.resize(COPY, 0);
        let mut left = length;
        while left > 0 {
            let wanted = usize::try_from(left).map_or(COPY, |left| left.min(COPY));
            let read = match from.read(&mut self.buffer[..wanted]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.out.write_all(&self.buffer[..read])?;
            left -= read as u64;
        }
        Ok(())
    }
}

//! A tar member by member, for archives that are containers of files (`docker load`) rather than layers.

use std::io::{self, BufRead, BufReader, Read, Seek};

use ferry_errkind::{ErrorKind, Kinded};

use crate::entry::Entry;
use crate::parse::{BLOCK, Limits, ParseError, Parser, Step};

/// Reads a tar from the front. What is not read of a member is skipped.
#[derive(Debug)]
pub struct TarReader<R> {
    tar: R,
    parser: Parser,
    offset: u64,
    /// Payload and padding of the current member that were not read yet.
    payload: u64,
    padding: u64,
}

/// What `Read::read` is of something that hands out what it has (`BufRead`).
///
/// # Errors
/// There is nothing to hand out, for that reason.
pub fn read_buffered(from: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let available = from.fill_buf()?;
    let length = available.len().min(buffer.len());
    buffer[..length].copy_from_slice(&available[..length]);
    from.consume(length);
    Ok(length)
}

/// One member and its payload, as stored: for a sparse file only the data, without the holes.
#[derive(Debug)]
pub struct Member<'a, R> {
    /// What the archive says of it.
    pub entry: Entry,
    /// Where the payload starts in the (uncompressed) archive, for those who come back to it in a file.
    pub offset: u64,
    reader: &'a mut TarReader<R>,
}

impl<R: BufRead> TarReader<R> {
    /// Starts reading.
    pub fn new(tar: R, limits: Limits) -> Self {
        Self { tar, parser: Parser::new(limits), offset: 0, payload: 0, padding: 0 }
    }

    /// The next member; `None` at the end of the archive.
    pub fn next_member(&mut self) -> Result<Option<Member<'_, R>>, ReadTarError> {
        self.skip()?;
        loop {
            let Some(block) = self.block()? else {
                return match self.parser.may_end() {
                    true => Ok(None),
                    false => Err(ReadTarError::Truncated { offset: self.offset }),
                };
            };
            let step = self.parser.block(&block);
            match step.map_err(|source| ReadTarError::Parse { offset: self.offset, source })? {
                Step::More => {}
                Step::End => return Ok(None),
                Step::Entry(entry) => {
                    self.payload = entry.stored;
                    self.padding = entry.stored.next_multiple_of(BLOCK as u64) - entry.stored;
                    return Ok(Some(Member { entry: *entry, offset: self.offset, reader: self }));
                }
            }
        }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ReadTarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.tar.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ReadTarError::Truncated { offset: self.offset }),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReadTarError::Read(error)),
            }
        }
        self.offset += BLOCK as u64;
        Ok(Some(block))
    }

    fn skip(&mut self) -> Result<(), ReadTarError> {
        let mut left = self.payload.saturating_add(self.padding);
        (self.payload, self.padding) = (0, 0);
        while left > 0 {
            let available = self.tar.fill_buf().map_err(ReadTarError::Read)?.len();
            if available == 0 {
                return Err(ReadTarError::Truncated { offset: self.offset });
            }
            let take = usize::try_from(left).map_or(available, |left| left.min(available));
            self.tar.consume(take);
            self.offset += take as u64;
            left -= take as u64;
        }
        Ok(())
    }
}

impl<R: Read + Seek> TarReader<BufReader<R>> {
    /// Passes over what was not read of the current member by seeking, which in a file costs nothing.
    ///
    /// A payload that the archive's end cuts off is not noticed: whoever comes back to it has to look.
    pub fn seek_over(&mut self) -> Result<(), ReadTarError> {
        let left = self.payload.saturating_add(self.padding);
        (self.payload, self.padding) = (0, 0);
        let distance =
            i64::try_from(left).map_err(|_| ReadTarError::Truncated { offset: self.offset })?;
        self.tar.seek_relative(distance).map_err(ReadTarError::Read)?;
        self.offset = self.offset.saturating_add(left);
        Ok(())
    }
}

impl<R: BufRead> Read for Member<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.reader.payload;
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let read = self.reader.tar.read(&mut buffer[..wanted])?;
        if read == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "archive is truncated"));
        }
        self.reader.payload -= read as u64;
        self.reader.offset += read as u64;
        Ok(read)
    }
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadTarError {
    /// The stream failed.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// Not a tar, or one outside the limits.
    #[error("invalid tar header before byte {offset}")]
    Parse {
        /// Where in the archive.
        offset: u64,
        /// What is wrong with it.
        source: ParseError,
    },
    /// The archive ends inside a member.
    #[error("archive is truncated at byte {offset}")]
    Truncated {
        /// Where in the archive.
        offset: u64,
    },
}

impl Kinded for ReadTarError {
    fn kind(&self) -> ErrorKind {
        match self {
            ReadTarError::Read(_) => ErrorKind::Internal,
            ReadTarError::Parse { .. } | ReadTarError::Truncated { .. } => {
                ErrorKind::InvalidArgument
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TarWriter;

    fn tar(members: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = TarWriter::new(Vec::new());
        for (path, text) in members {
            let (path, size) = (path.as_bytes().to_vec(), text.len() as u64);
            tar.append_file(&Entry { path, size, ..Entry::default() }, text.as_bytes()).unwrap();
        }
        tar.finish().unwrap()
    }

    #[test]
    fn members_are_read_or_skipped() {
        let tar = tar(&[("a", "first"), ("b", &"x".repeat(5000)), ("c", "third"), ("d", "")]);
        let mut reader = TarReader::new(&tar[..], Limits::default());
        let mut seen = Vec::new();
        while let Some(mut member) = reader.next_member().unwrap() {
            let at = usize::try_from(member.offset).unwrap();
            let path = String::from_utf8(member.entry.path.clone()).unwrap();
            if path != "b" {
                let mut text = String::new();
                member.read_to_string(&mut text).unwrap();
                assert!(tar[at..].starts_with(text.as_bytes()));
                seen.push((path, text));
            } else {
                // Half read is as good as skipped.
                assert_eq!(member.read(&mut [0; 10]).unwrap(), 10);
            }
        }
        let want = [("a", "first"), ("c", "third"), ("d", "")];
        assert_eq!(seen, want.map(|(path, text)| (path.to_owned(), text.to_owned())));
    }

    #[test]
    fn members_are_passed_over_without_being_read() {
        let tar = tar(&[("a", "first"), ("b", &"x".repeat(50_000)), ("c", "third")]);
        let source = BufReader::with_capacity(512, io::Cursor::new(&tar));
        let mut reader = TarReader::new(source, Limits::default());
        let mut seen = Vec::new();
        while let Some(mut member) = reader.next_member().unwrap() {
            let (path, offset) = (member.entry.path.clone(), member.offset);
            let mut first = [0];
            member.read_exact(&mut first).unwrap();
            assert_eq!(tar[usize::try_from(offset).unwrap()], first[0]);
            reader.seek_over().unwrap();
            seen.push(path);
        }
        assert_eq!(seen, [b"a", b"b", b"c"]);
    }

    #[test]
    fn a_cut_archive_is_an_error() {
        let tar = tar(&[("a", "first")]);
        let mut reader = TarReader::new(&tar[..514], Limits::default());
        let mut member = reader.next_member().unwrap().unwrap();
        let error = member.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(matches!(reader.next_member(), Err(ReadTarError::Truncated { .. })));
        let mut reader = TarReader::new(&tar[..100], Limits::default());
        assert!(matches!(reader.next_member(), Err(ReadTarError::Truncated { .. })));
    }
}

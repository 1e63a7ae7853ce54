//! The tar parser: blocks in, entries out, no I/O. Start with [`Parser`].
//!
//! The caller feeds 512-byte blocks while [`Parser::block`] answers [`Step::More`]. After [`Step::Entry`] it takes
//! `entry.stored` payload bytes and the padding up to the next block boundary away itself, then feeds the next
//! block. That makes one place, and only one, decide where the next header is: `entry.stored`. Several advisories
//! of 2025 and 2026 (TARmageddon, CVE-2025-62518; RUSTSEC-2026-0068; GHSA-3cv2-h65g-fgmm) came from parsers
//! where a PAX `size` counted for one decision and not for another, or leaked from a PAX header
//! to the extension header behind it. Here it counts for the real entry, wholly, and for nothing else.
//!
//! Where implementations differ, Go's `archive/tar` decides, because Docker unpacks with it: global PAX headers are
//! checked but have no effect, links and devices have no payload, a second extension header replaces the first.

mod error;
mod header;
mod pax;
mod sparse;
#[cfg(test)]
mod tests;

use self::header::Header;
use self::pax::Pax;
use self::sparse::DataMap;
use crate::entry::{Entry, Kind, Mtime, Segment, Xattr};

pub use self::error::ParseError;
pub use self::header::BLOCK;

/// Bounds on what an archive may make us hold in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest name or link target.
    pub name: usize,
    /// Longest PAX header body (Go's limit is the same 1 MiB).
    pub pax: u64,
    /// Most data segments in one sparse file.
    pub sparse_segments: usize,
    /// Most entries in one archive.
    pub entries: u64,
}

impl Limits {
    /// 4095: the kernel's PATH_MAX without its NUL. Ten million entries: more than any image, and what
    /// the unpacker remembers of them still fits in memory.
    pub const DEFAULT: Limits =
        Limits { name: 4095, pax: 1 << 20, sparse_segments: 1 << 18, entries: 10_000_000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What a block led to.
#[derive(Debug)]
pub enum Step {
    /// Feed the next block.
    More,
    /// An entry is complete; its payload comes next.
    Entry(Box<Entry>),
    /// The two zero blocks at the end were seen. What follows is not part of the archive.
    End,
}

/// A state machine over blocks.
#[derive(Debug)]
pub struct Parser {
    limits: Limits,
    state: State,
    entries: u64,
    pax: Option<Pax>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

#[derive(Debug)]
enum State {
    Header,
    /// One zero block seen.
    HalfEnd,
    /// Inside the body of an extension header.
    Extension {
        kind: Extension,
        left: u64,
        body: Vec<u8>,
    },
    /// Inside the continuation blocks of an old GNU sparse map.
    GnuSparse {
        entry: Box<Entry>,
        map: Vec<Segment>,
    },
    /// Inside the map before the data of a PAX 1.0 sparse file.
    DataMap {
        entry: Box<Entry>,
        map: DataMap,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    Pax,
    GlobalPax,
    LongName,
    LongLink,
}

impl Parser {
    /// A parser at the start of an archive.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Header,
            entries: 0,
            pax: None,
            long_name: None,
            long_link: None,
        }
    }

    /// Whether the archive may stop here: between entries, with no extension header waiting for its entry.
    pub fn may_end(&self) -> bool {
        let idle = matches!(self.state, State::Header | State::HalfEnd | State::Ended);
        idle && self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    /// Takes one block.
    pub fn block(&mut self, block: &[u8; BLOCK]) -> Result<Step, ParseError> {
        match std::mem::replace(&mut self.state, State::Header) {
            State::Header => self.header(Header(block)),
            State::HalfEnd if Header(block).is_zero() => {
                self.state = State::Ended;
                Ok(Step::End)
            }
            State::HalfEnd => Err(ParseError::LoneZeroBlock),
            State::Extension { kind, left, body } => self.extension(kind, left, body, block),
            State::GnuSparse { entry, map } => self.gnu_sparse(entry, map, block),
            State::DataMap { entry, map } => self.data_map(entry, map, block),
            State::Ended => {
                self.state = State::Ended;
                Ok(Step::End)
            }
        }
    }

    fn header(&mut self, header: Header<'_>) -> Result<Step, ParseError> {
        if header.is_zero() {
            if !self.may_end() {
                return Err(ParseError::DanglingExtension);
            }
            self.state = State::HalfEnd;
            return Ok(Step::More);
        }
        header.verify_checksum()?;
        match header.typeflag() {
            b'x' => self.start(Extension::Pax, header.size()?, self.limits.pax),
            b'g' => self.start(Extension::GlobalPax, header.size()?, self.limits.pax),
            // One more for the NUL that ends the name, and room for writers that pad to a block.
            b'L' => self.start(Extension::LongName, header.size()?, self.limits.name as u64 + 512),
            b'K' => self.start(Extension::LongLink, header.size()?, self.limits.name as u64 + 512),
            _ => self.member(header),
        }
    }

    fn start(&mut self, kind: Extension, size: u64, limit: u64) -> Result<Step, ParseError> {
        if size > limit {
            return Err(ParseError::ExtensionTooLong { size, limit });
        }
        if size == 0 {
            return self.finish_extension(kind, &[]);
        }
        self.state = State::Extension { kind, left: size, body: Vec::new() };
        Ok(Step::More)
    }

    fn extension(
        &mut self,
        kind: Extension,
        left: u64,
        mut body: Vec<u8>,
        block: &[u8; BLOCK],
    ) -> Result<Step, ParseError> {
        let take = usize::try_from(left).unwrap_or(BLOCK).min(BLOCK);
        body.extend_from_slice(&block[..take]);
        let left = left - take as u64;
        if left == 0 {
            return self.finish_extension(kind, &body);
        }
        self.state = State::Extension { kind, left, body };
        Ok(Step::More)
    }

    fn finish_extension(&mut self, kind: Extension, body: &[u8]) -> Result<Step, ParseError> {
        match kind {
            Extension::Pax => self.pax = Some(Pax::parse(body)?),
            // Docker ignores them; a body that is not even records is still refused.
            Extension::GlobalPax => drop(Pax::parse(body)?),
            Extension::LongName => self.long_name = Some(self.c_string(body)?),
            Extension::LongLink => self.long_link = Some(self.c_string(body)?),
        }
        Ok(Step::More)
    }

    fn c_string(&self, body: &[u8]) -> Result<Vec<u8>, ParseError> {
        let end = body.iter().position(|byte| *byte == 0).unwrap_or(body.len());
        self.name_of_legal_length(body[..end].to_vec())
    }

    fn name_of_legal_length(&self, name: Vec<u8>) -> Result<Vec<u8>, ParseError> {
        if name.len() > self.limits.name {
            return Err(ParseError::NameTooLong { length: name.len(), limit: self.limits.name });
        }
        Ok(name)
    }

    fn member(&mut self, header: Header<'_>) -> Result<Step, ParseError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(ParseError::TooManyEntries { limit: self.limits.entries });
        }
        let pax = self.pax.take().unwrap_or_default();
        let mut entry = Box::new(Entry {
            path: self.path(header, &pax)?,
            link: self.link(header, &pax)?,
            ..Entry::default()
        });
        entry.kind = kind(header.typeflag(), &entry.path)?;
        // Bits above the permissions are a V7 file type: no news.
        entry.mode = u32::try_from(header.mode()? & 0o7777).unwrap_or(0);
        entry.uid = owner(pax.uid, header.uid(), "uid")?;
        entry.gid = owner(pax.gid, header.gid(), "gid")?;
        entry.mtime = match pax.mtime {
            Some(mtime) => mtime,
            None => Mtime { seconds: header.mtime()?, nanos: 0 },
        };
        if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
            entry.device = device(header)?;
        }
        let size = match pax.size {
            Some(size) => size,
            None => header.size()?,
        };
        if entry.kind == Kind::File {
            (entry.size, entry.stored) = (size, size);
        }
        let sparse = pax.sparse;
        let xattrs = pax.xattrs.into_iter();
        entry.xattrs = xattrs.map(|(name, value)| Xattr { name, value }).collect();
        self.sparse(header, entry, sparse)
    }

    fn path(&mut self, header: Header<'_>, pax: &Pax) -> Result<Vec<u8>, ParseError> {
        let long = self.long_name.take();
        let sparse = if pax.sparse.map.is_some() || pax.sparse.major.is_some() {
            pax.sparse.name.clone()
        } else {
            None
        };
        let path = match sparse.or_else(|| pax.path.clone()).or(long) {
            Some(path) => path,
            None => {
                let prefix = header.prefix();
                let slash: &[u8] = if prefix.is_empty() { b"" } else { b"/" };
                [prefix, slash, header.name()].concat()
            }
        };
        self.name_of_legal_length(path)
    }

    fn link(&mut self, header: Header<'_>, pax: &Pax) -> Result<Vec<u8>, ParseError> {
        let long = self.long_link.take();
        let link = pax.link.clone().or(long).unwrap_or_else(|| header.link().to_vec());
        self.name_of_legal_length(link)
    }

    fn sparse(
        &mut self,
        header: Header<'_>,
        mut entry: Box<Entry>,
        pax: pax::PaxSparse,
    ) -> Result<Step, ParseError> {
        if header.typeflag() == b'S' {
            return self.start_gnu_sparse(header, entry);
        }
        let version = (pax.major.as_deref(), pax.minor.as_deref());
        let real_size = pax.size.or(pax.real_size);
        let map = match (version, pax.map) {
            ((None, None), None) => return Ok(Step::Entry(entry)),
            ((None, None) | (Some(b"0"), Some(b"0" | b"1")), Some(map)) => Some(map),
            ((Some(b"1"), Some(b"0")), _) => None,
            _ => return Err(ParseError::SparseVersion),
        };
        if entry.kind != Kind::File {
            return Err(ParseError::SparseMap);
        }
        entry.size = real_size.ok_or(ParseError::SparseMap)?;
        let Some(map) = map else {
            if entry.stored < BLOCK as u64 {
                return Err(ParseError::SparseMap);
            }
            self.state = State::DataMap { entry, map: DataMap::default() };
            return Ok(Step::More);
        };
        let map = sparse::from_numbers(&map, &self.limits)?;
        finish_sparse(entry, map)
    }

    fn start_gnu_sparse(
        &mut self,
        header: Header<'_>,
        mut entry: Box<Entry>,
    ) -> Result<Step, ParseError> {
        let size = header.sparse_real_size()?;
        entry.size = u64::try_from(size).map_err(|_| ParseError::SparseMap)?;
        let mut map = Vec::new();
        sparse::old_gnu_pairs(header.sparse_pairs(), &mut map, &self.limits)?;
        if header.sparse_continues() {
            self.state = State::GnuSparse { entry, map };
            return Ok(Step::More);
        }
        finish_sparse(entry, map)
    }

    fn gnu_sparse(
        &mut self,
        entry: Box<Entry>,
        mut map: Vec<Segment>,
        block: &[u8; BLOCK],
    ) -> Result<Step, ParseError> {
        let before = map.len();
        sparse::old_gnu_pairs(&block[..504], &mut map, &self.limits)?;
        if block[504] != 0 {
            // A continuation that adds nothing and asks for another could go on without end.
            if map.len() == before {
                return Err(ParseError::SparseMap);
            }
            self.state = State::GnuSparse { entry, map };
            return Ok(Step::More);
        }
        finish_sparse(entry, map)
    }

    fn data_map(
        &mut self,
        mut entry: Box<Entry>,
        mut map: DataMap,
        block: &[u8; BLOCK],
    ) -> Result<Step, ParseError> {
        // The map is part of the payload that the header counted.
        entry.stored = entry.stored.checked_sub(BLOCK as u64).ok_or(ParseError::SparseMap)?;
        match map.feed(block, &self.limits)? {
            Some(map) => finish_sparse(entry, map),
            None => {
                self.state = State::DataMap { entry, map };
                Ok(Step::More)
            }
        }
    }
}

fn finish_sparse(mut entry: Box<Entry>, map: Vec<Segment>) -> Result<Step, ParseError> {
    sparse::check(&map, entry.size, entry.stored)?;
    entry.sparse = Some(map);
    Ok(Step::Entry(entry))
}

fn kind(typeflag: u8, path: &[u8]) -> Result<Kind, ParseError> {
    Ok(match typeflag {
        // Before POSIX a directory was a file whose name ends in a slash.
        0 if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' | b'S' => Kind::File,
        b'1' => Kind::HardLink,
        b'2' => Kind::Symlink,
        b'3' => Kind::CharDevice,
        b'4' => Kind::BlockDevice,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        flag => return Err(ParseError::UnknownType { flag: char::from(flag) }),
    })
}

/// An id of the plain header counts only where PAX does not override it: writers put garbage there then.
fn owner(
    pax: Option<u32>,
    header: Result<i64, ParseError>,
    field: &'static str,
) -> Result<u32, ParseError> {
    if let Some(id) = pax {
        return Ok(id);
    }
    let id = u32::try_from(header?).ok();
    // -1 means "leave it" to chown(2).
    id.filter(|id| *id != u32::MAX).ok_or(ParseError::Number { field })
}

fn device(header: Header<'_>) -> Result<(u32, u32), ParseError> {
    let (major, minor) = header.device()?;
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok((major, minor)),
        _ => Err(ParseError::Number { field: "device number" }),
    }
}

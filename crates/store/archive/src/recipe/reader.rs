//! Writes the tar again: recipe and files in, the exact bytes out.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crc32fast::Hasher as Crc;
use ferry_errkind::{ErrorKind, Kinded};
use ferry_oci::Hasher;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::wire::{MAGIC, Op, damaged};
use super::{DIFF, KEPT, RECIPE};
use crate::entry::Segment;
use crate::path::show;

/// Streams the tar of a layer directory. Fills the caller's buffer as far as the tar goes, so large buffers
/// (256 KiB) save calls.
///
/// Every stream is checked against accidents, by the CRC-32 of each file and the length of the whole: it ends
/// without an error only if they are right, else `InvalidData` names the damage. [`RecipeReader::strict`]
/// checks the SHA-256 of the whole, too, which takes several times as long.
pub struct RecipeReader {
    diff: OwnedFd,
    kept: Option<OwnedFd>,
    kept_numbers: HashSet<u64>,
    recipe: zstd::Decoder<'static, BufReader<File>>,
    payloads: u64,
    current: Current,
    position: u64,
    hasher: Option<Hasher>,
}

enum Current {
    /// The next operation has to be read.
    Next,
    Raw {
        left: u64,
    },
    File {
        path: Vec<u8>,
        file: File,
        left: u64,
        sum: Sum,
    },
    Sparse {
        path: Vec<u8>,
        file: File,
        map: std::vec::IntoIter<Segment>,
        segment: Segment,
        sum: Sum,
    },
    Ended,
}

/// A checksum in the making, and what it must come to.
struct Sum {
    crc: Crc,
    wanted: u32,
}

impl Sum {
    fn new(wanted: u32) -> Self {
        Self { crc: Crc::new(), wanted }
    }

    fn check(&self, path: &[u8]) -> io::Result<()> {
        if self.crc.clone().finalize() == self.wanted { Ok(()) } else { Err(changed(path)) }
    }
}

impl std::fmt::Debug for RecipeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecipeReader").field("position", &self.position).finish_non_exhaustive()
    }
}

impl RecipeReader {
    /// Opens the recipe of a layer directory.
    pub fn open(layer: BorrowedFd<'_>) -> Result<Self, OpenRecipeError> {
        let diff = open_directory(layer, DIFF).map_err(OpenRecipeError::OpenDiff)?;
        let kept = match open_directory(layer, KEPT) {
            Ok(kept) => Some(kept),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(OpenRecipeError::OpenKept(error)),
        };
        let kept_numbers = match &kept {
            Some(kept) => list_numbers(kept.as_fd()).map_err(OpenRecipeError::OpenKept)?,
            None => HashSet::new(),
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(layer, RECIPE, flags, Mode::empty());
        let mut file = File::from(file.map_err(|error| OpenRecipeError::Open(error.into()))?);
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(OpenRecipeError::Open)?;
        if magic != *MAGIC {
            return Err(OpenRecipeError::UnknownFormat);
        }
        let recipe = zstd::Decoder::new(file).map_err(OpenRecipeError::Open)?;
        Ok(Self {
            diff,
            kept,
            kept_numbers,
            recipe,
            payloads: 0,
            current: Current::Next,
            position: 0,
            hasher: None,
        })
    }

    /// Checks the digest of the whole stream as well.
    #[must_use]
    pub fn strict(self) -> Self {
        Self { hasher: Some(Hasher::new()), ..self }
    }

    fn advance(&mut self) -> io::Result<()> {
        self.current = match Op::read(&mut self.recipe)? {
            Op::Raw(left) => Current::Raw { left },
            Op::File { path, size, crc } => {
                let file = self.payload(&path, size)?;
                Current::File { path, file, left: size, sum: Sum::new(crc) }
            }
            Op::Sparse { path, size, crc, map } => {
                let file = self.payload(&path, size)?;
                let (map, sum) = (map.into_iter(), Sum::new(crc));
                Current::Sparse { path, file, map, segment: Segment::default(), sum }
            }
            Op::End { size, sha256 } => {
                // Only at its very end is the recipe's own checksum looked at.
                if self.recipe.read(&mut [0])? != 0 {
                    return Err(damaged("recipe goes on behind its end"));
                }
                let actual = self.hasher.take().map(Hasher::finish);
                let same = actual.is_none_or(|actual| *actual.as_bytes() == sha256);
                if size != self.position || !same {
                    return Err(damaged("layer does not add up to its digest: it was changed"));
                }
                Current::Ended
            }
        };
        Ok(())
    }

    /// Opens the file of the next payload: where the unpacker put it, or where it was kept when it was replaced.
    fn payload(&mut self, path: &[u8], size: u64) -> io::Result<File> {
        let number = self.payloads;
        self.payloads += 1;
        let file = match &self.kept {
            Some(kept) if self.kept_numbers.contains(&number) => {
                open_below(kept.as_fd(), number.to_string().as_bytes())
            }
            _ => open_below(self.diff.as_fd(), path),
        };
        let file = file.map_err(|error| about(path, "cannot open", &error.into()))?;
        let stat = rustix::fs::fstat(&file).map_err(|e| about(path, "cannot stat", &e.into()))?;
        // A fifo or device in its place could block us or worse, so look before the first read.
        let regular = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file();
        if !regular || u64::try_from(stat.st_size).ok() != Some(size) {
            return Err(changed(path));
        }
        Ok(File::from(file))
    }

    fn count(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.position += bytes.len() as u64;
    }

    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.current {
            Current::Next | Current::Ended => Ok(0),
            Current::Raw { left } => {
                let wanted = cap(buffer, *left);
                let read = self.recipe.read(&mut buffer[..wanted])?;
                if read == 0 && wanted > 0 {
                    return Err(damaged("recipe ends early"));
                }
                *left -= read as u64;
                if *left == 0 {
                    self.current = Current::Next;
                }
                Ok(read)
            }
            Current::File { path, file, left, sum } => {
                let wanted = cap(buffer, *left);
                let read = file.read(&mut buffer[..wanted])?;
                if read == 0 && wanted > 0 {
                    return Err(changed(path));
                }
                sum.crc.update(&buffer[..read]);
                *left -= read as u64;
                if *left == 0 {
                    sum.check(path)?;
                    self.current = Current::Next;
                }
                Ok(read)
            }
            Current::Sparse { path, file, map, segment, sum } => {
                while segment.length == 0 {
                    match map.next() {
                        Some(next) => *segment = next,
                        None => {
                            sum.check(path)?;
                            self.current = Current::Next;
                            return Ok(0);
                        }
                    }
                }
                let wanted = cap(buffer, segment.length);
                let read = rustix::io::pread(&*file, &mut buffer[..wanted], segment.offset)?;
                if read == 0 && wanted > 0 {
                    return Err(changed(path));
                }
                sum.crc.update(&buffer[..read]);
                segment.offset += read as u64;
                segment.length -= read as u64;
                Ok(read)
            }
        }
    }
}

impl Read for RecipeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut filled, mut counted) = (0, 0);
        while filled < buffer.len() {
            match self.current {
                Current::Ended => break,
                Current::Next => {
                    // The digest must cover what this call gathered before the end can be judged.
                    self.count(&buffer[counted..filled]);
                    counted = filled;
                    self.advance()?;
                }
                _ => filled += self.fill(&mut buffer[filled..])?,
            }
        }
        self.count(&buffer[counted..filled]);
        Ok(filled)
    }
}

fn cap(buffer: &[u8], left: u64) -> usize {
    usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()))
}

fn open_directory(parent: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn open_below(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

fn list_numbers(directory: BorrowedFd<'_>) -> Result<HashSet<u64>, Errno> {
    let mut numbers = HashSet::new();
    for entry in rustix::fs::Dir::read_from(directory)? {
        if let Some(number) = entry?.file_name().to_str().ok().and_then(|name| name.parse().ok()) {
            numbers.insert(number);
        }
    }
    Ok(numbers)
}

fn about(path: &[u8], attempt: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{attempt} {:?} of the layer: {error}", show(path)))
}

fn changed(path: &[u8]) -> io::Error {
    let path = show(path);
    io::Error::new(io::ErrorKind::InvalidData, format!("{path:?} of the layer was changed"))
}

/// Why a recipe cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenRecipeError {
    /// No `diff` directory.
    #[error("cannot open the layer's files")]
    OpenDiff(#[source] Errno),
    /// The `kept` directory cannot be read.
    #[error("cannot open the layer's replaced files")]
    OpenKept(#[source] Errno),
    /// No recipe, or an unreadable one.
    #[error("cannot open the layer's recipe")]
    Open(#[source] io::Error),
    /// Not our magic, or a later version.
    #[error("unknown recipe format")]
    UnknownFormat,
}

impl Kinded for OpenRecipeError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

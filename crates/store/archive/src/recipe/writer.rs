//! Records a recipe while a tar is unpacked.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ferry_oci::Digest;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::wire::{MAGIC, Op};
use super::{KEPT, RECIPE};
use crate::entry::Segment;

/// Raw bytes are gathered up to this before they go to the compressor.
const GATHER: usize = 128 << 10;

/// Writes `recipe` (and `kept/`) into a layer directory.
pub struct RecipeWriter {
    layer: OwnedFd,
    kept: Option<OwnedFd>,
    out: zstd::Encoder<'static, File>,
    raw: Vec<u8>,
    payloads: u64,
}

/// The data of one file in a tar.
pub(crate) struct Payload<'a> {
    /// Clean and free of symlinks.
    pub(crate) path: &'a [u8],
    /// Length of the file.
    pub(crate) size: u64,
    /// CRC-32 of the bytes in the tar.
    pub(crate) crc: u32,
    /// Which parts of the file the tar holds, if not the whole.
    pub(crate) map: Option<&'a [Segment]>,
}

impl std::fmt::Debug for RecipeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecipeWriter").field("payloads", &self.payloads).finish_non_exhaustive()
    }
}

impl RecipeWriter {
    /// Creates the recipe of the layer directory; there must not be one yet.
    pub fn create(layer: BorrowedFd<'_>) -> io::Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(layer, RECIPE, flags, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        file.write_all(MAGIC)?;
        // Level 1: headers shrink thirtyfold already, and this runs beside the unpacking.
        let mut out = zstd::Encoder::new(file, 1)?;
        out.include_checksum(true)?;
        Ok(Self {
            layer: layer.try_clone_to_owned()?,
            kept: None,
            out,
            raw: Vec::with_capacity(GATHER),
            payloads: 0,
        })
    }

    /// Bytes of the tar that are in no file.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.raw.len() + bytes.len() > GATHER {
            self.flush_raw()?;
        }
        if bytes.len() > GATHER {
            Op::Raw(bytes.len() as u64).write(&mut self.out)?;
            return self.out.write_all(bytes);
        }
        self.raw.extend_from_slice(bytes);
        Ok(())
    }

    /// The data of this file came here. Answers the number of this payload.
    pub(crate) fn file(&mut self, payload: &Payload<'_>) -> io::Result<u64> {
        self.flush_raw()?;
        let (path, size, crc) = (payload.path.to_vec(), payload.size, payload.crc);
        let op = match payload.map {
            None => Op::File { path, size, crc },
            Some(map) => Op::Sparse { path, size, crc, map: map.to_vec() },
        };
        op.write(&mut self.out)?;
        self.payloads += 1;
        Ok(self.payloads - 1)
    }

    /// Takes the file `name` in `parent` out of the way because another takes its place, and keeps its data.
    pub(crate) fn keep(
        &mut self,
        payload: u64,
        parent: BorrowedFd<'_>,
        name: &[u8],
    ) -> io::Result<()> {
        let kept = self.kept()?;
        let number = payload.to_string();
        let links = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_nlink;
        if links == 1 {
            return Ok(rustix::fs::renameat(parent, name, kept, number)?);
        }
        // Other names of it stay in the layer, and must not show a link count that counts ours.
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut from = File::from(rustix::fs::openat(parent, name, read, Mode::empty())?);
        let mut to =
            File::from(rustix::fs::openat(kept, number, write, Mode::from_raw_mode(0o600))?);
        io::copy(&mut from, &mut to)?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::empty())?)
    }

    /// Ends the recipe. Not synced: the layer store does that for many layers at once.
    pub(crate) fn finish(mut self, size: u64, diff_id: &Digest) -> io::Result<()> {
        self.flush_raw()?;
        Op::End { size, sha256: *diff_id.as_bytes() }.write(&mut self.out)?;
        self.out.finish()?;
        Ok(())
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        if !self.raw.is_empty() {
            Op::Raw(self.raw.len() as u64).write(&mut self.out)?;
            self.out.write_all(&self.raw)?;
            self.raw.clear();
        }
        Ok(())
    }

    fn kept(&mut self) -> io::Result<&OwnedFd> {
        let kept = match self.kept.take() {
            Some(kept) => kept,
            None => open_kept(self.layer.as_fd())?,
        };
        Ok(self.kept.insert(kept))
    }
}

fn open_kept(layer: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(layer, KEPT, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(layer, KEPT, flags, Mode::empty())?)
}

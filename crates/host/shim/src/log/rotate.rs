//! Files that were written: renamed as Docker does it (`.1` is younger than `.2`), and packed with gzip where that is wanted.
//!
//! A packed file says in its gzip header which file it was (`{"file":"<inode>.<birth>"}`): who follows a log knows by that how far it is.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, bufread::GzDecoder};
use rustix::fs::{AtFlags, StatxFlags, statx};

/// What is read and packed at a time.
const PIECE: usize = 64 << 10;

/// Makes room for a new file at `path`: of `keep` files with it, the oldest goes.
pub(crate) fn rotate(path: &Path, keep: u32, compress: bool) -> io::Result<()> {
    // The oldest goes before the others move up: ext4 takes a rename over a file for an atomic replacement and writes
    // the data out at once, which for a container that talks much means all of it.
    for packed in [false, true] {
        ignore_missing(fs::remove_file(numbered(path, keep - 1, packed)))?;
    }
    for number in (1..keep - 1).rev() {
        // Both are there if packing was interrupted.
        for packed in [false, true] {
            let (from, to) = (numbered(path, number, packed), numbered(path, number + 1, packed));
            ignore_missing(fs::rename(from, to))?;
        }
    }
    let first = numbered(path, 1, false);
    ignore_missing(fs::rename(path, &first))?;
    if compress {
        // A file that could not be packed is kept as it is, and read as it is.
        drop(pack(&first, &numbered(path, 1, true)));
    }
    Ok(())
}

/// The name of a file that was written before.
pub fn numbered(path: &Path, number: u32, packed: bool) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}{}", if packed { ".gz" } else { "" }));
    PathBuf::from(name)
}

/// What tells a log file from every other that was or will be at its place. Inode numbers are used again, times of birth are not.
///
/// # Errors
/// When the kernel cannot say.
pub fn identity(file: &File) -> io::Result<String> {
    let stat = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
    let birth = stat.stx_btime;
    Ok(format!("{}.{}.{}", stat.stx_ino, birth.tv_sec, birth.tv_nsec))
}

/// The identity that a packed file had before.
///
/// # Errors
/// When the file cannot be read, or its head is none of ours.
pub fn packed_identity(file: &File) -> io::Result<String> {
    let decoder = GzDecoder::new(io::BufReader::with_capacity(512, file));
    let extra = decoder.header().and_then(|header| header.extra()).unwrap_or_default();
    let head: serde_json::Value = serde_json::from_slice(extra).unwrap_or_default();
    let text = head["file"].as_str();
    text.map(str::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

/// Packs a file; it goes when the packed one is whole.
fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let extra = serde_json::json!({ "file": identity(&source)? }).to_string();
    let unfinished = to.with_extension("tmp");
    let target =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&unfinished)?;
    // The container waits meanwhile: fast counts for more than small.
    let mut encoder = GzBuilder::new().extra(extra).write(target, Compression::fast());
    let mut piece = vec![0; PIECE];
    loop {
        match source.read(&mut piece)? {
            0 => break,
            count => encoder.write_all(&piece[..count])?,
        }
    }
    encoder.finish()?;
    fs::rename(&unfinished, to)?;
    fs::remove_file(from)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

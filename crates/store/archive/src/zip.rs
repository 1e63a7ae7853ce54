//! Small zip archives, read whole: for what people pack by hand. Files that are stored or deflated; no encryption, no zip64.

use std::io::{self, Read};

use flate2::read::DeflateDecoder;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZipMember {
    /// Its path as it is written: whoever uses it checks it.
    pub path: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// An archive that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadZipError {
    /// The end, a header or content is not where it has to be.
    #[error("not a valid zip archive: {0}")]
    Malformed(&'static str),
    /// A file is packed in a way that this cannot unpack.
    #[error("{path}: {what} is not supported in a zip archive")]
    Unsupported {
        /// The file.
        path: String,
        /// What it has.
        what: &'static str,
    },
    /// There is more in it than the caller takes.
    #[error("the zip archive has more than {0} bytes in it")]
    TooLarge(u64),
    /// Content does not unpack, or not to what its checksum says.
    #[error("{path}: damaged in the zip archive")]
    Damaged {
        /// The file.
        path: String,
        /// Why, when unpacking said so.
        #[source]
        source: Option<io::Error>,
    },
}

/// Signatures of the three structures, as numbers.
const END: u32 = 0x0605_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const LOCAL: u32 = 0x0403_4b50;
/// Lengths of their fixed parts.
const END_LENGTH: usize = 22;
const CENTRAL_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// The files of an archive in its directory's order, with `limit` bytes in them at most. Directories are left out.
///
/// # Errors
/// What is damaged, too large, or packed in a way that is not read here.
pub fn read_zip(archive: &[u8], limit: u64) -> Result<Vec<ZipMember>, ReadZipError> {
    let end = find_end(archive)?;
    let (count, mut at) = (u16_at(archive, end + 10)?, u32_at(archive, end + 16)? as usize);
    let (mut members, mut left) = (Vec::new(), limit);
    for _ in 0..count {
        if u32_at(archive, at)? != CENTRAL {
            return Err(ReadZipError::Malformed("its directory is cut off"));
        }
        let [name, extra, comment] = [28, 30, 32].map(|field| u16_at(archive, at + field));
        let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
        let path = slice(archive, at + CENTRAL_LENGTH, name)?;
        let path = String::from_utf8_lossy(path).into_owned();
        if !path.ends_with('/') {
            let content = content(archive, at, &path, left).map_err(|error| match error {
                ReadZipError::TooLarge(_) => ReadZipError::TooLarge(limit),
                error => error,
            })?;
            left -= content.len() as u64;
            members.push(ZipMember { path, content });
        }
        at += CENTRAL_LENGTH + name + extra + comment;
    }
    Ok(members)
}

/// The last structure, which a comment may follow.
fn find_end(archive: &[u8]) -> Result<usize, ReadZipError> {
    let last = archive.len().checked_sub(END_LENGTH);
    let last = last.ok_or(ReadZipError::Malformed("it is too short"))?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let is_end = |at: &usize| u32_at(archive, *at).is_ok_and(|signature| signature == END);
    (first..=last).rev().find(is_end).ok_or(ReadZipError::Malformed("it has no directory"))
}

/// The content of the file whose entry in the directory is at `entry`.
fn content(archive: &[u8], entry: usize, path: &str, limit: u64) -> Result<Vec<u8>, ReadZipError> {
    let unsupported = |what| ReadZipError::Unsupported { path: path.to_owned(), what };
    let damaged = |source| ReadZipError::Damaged { path: path.to_owned(), source };
    if u16_at(archive, entry + 8)? & 1 != 0 {
        return Err(unsupported("encryption"));
    }
    let (packed, size) = (u32_at(archive, entry + 20)?, u32_at(archive, entry + 24)?);
    if u64::from(size) > limit {
        return Err(ReadZipError::TooLarge(limit));
    }
    let local = u32_at(archive, entry + 42)? as usize;
    if u32_at(archive, local)? != LOCAL {
        return Err(ReadZipError::Malformed("a file is not where its directory says"));
    }
    let before =
        usize::from(u16_at(archive, local + 26)?) + usize::from(u16_at(archive, local + 28)?);
    let packed = slice(archive, local + LOCAL_LENGTH + before, packed as usize)?;
    let content = match u16_at(archive, entry + 10)? {
        0 => packed.to_vec(),
        8 => {
            let mut content = Vec::new();
            // One byte more than it says would show that it lies.
            let mut unpacked = DeflateDecoder::new(packed).take(u64::from(size) + 1);
            unpacked.read_to_end(&mut content).map_err(|error| damaged(Some(error)))?;
            content
        }
        _ => return Err(unsupported("this compression")),
    };
    let fits = content.len() as u64 == u64::from(size)
        && crc32fast::hash(&content) == u32_at(archive, entry + 16)?;
    if fits { Ok(content) } else { Err(damaged(None)) }
}

fn slice(archive: &[u8], at: usize, length: usize) -> Result<&[u8], ReadZipError> {
    let end = at.checked_add(length);
    end.and_then(|end| archive.get(at..end)).ok_or(ReadZipError::Malformed("it is cut off"))
}

fn u16_at(archive: &[u8], at: usize) -> Result<u16, ReadZipError> {
    let bytes = slice(archive, at, 2)?;
    Ok(u16::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

fn u32_at(archive: &[u8], at: usize) -> Result<u32, ReadZipError> {
    let bytes = slice(archive, at, 4)?;
    Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// An archive as any program would write it; `packed` with deflate.
    fn zip(files: &[(&str, &str)], packed: bool) -> Vec<u8> {
        let (mut archive, mut directory) = (Vec::new(), Vec::new());
        for (path, text) in files {
            let content = if packed {
                let mut encoder =
                    flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(text.as_bytes()).unwrap();
                encoder.finish().unwrap()
            } else {
                text.as_bytes().to_vec()
            };
            let at = archive.len() as u32;
            let method = if packed { 8_u16 } else { 0 };
            let mut common = Vec::new();
            for number in [20_u16, 0, method, 0, 0] {
                common.extend(number.to_le_bytes());
            }
            for number in
                [crc32fast::hash(text.as_bytes()), content.len() as u32, text.len() as u32]
            {
                common.extend(number.to_le_bytes());
            }
            common.extend((path.len() as u16).to_le_bytes());
            common.extend(0_u16.to_le_bytes());
            archive.extend(LOCAL.to_le_bytes());
            archive.extend(&common);
            archive.extend(path.as_bytes());
            archive.extend(&content);
            directory.extend(CENTRAL.to_le_bytes());
            directory.extend(20_u16.to_le_bytes());
            directory.extend(&common);
            directory.extend([0; 10]);
            directory.extend(at.to_le_bytes());
            directory.extend(path.as_bytes());
        }
        let (at, count) = (archive.len() as u32, files.len() as u16);
        archive.extend(&directory);
        archive.extend(END.to_le_bytes());
        archive.extend([0; 4]);
        archive.extend(count.to_le_bytes());
        archive.extend(count.to_le_bytes());
        archive.extend((directory.len() as u32).to_le_bytes());
        archive.extend(at.to_le_bytes());
        archive.extend(0_u16.to_le_bytes());
        archive
    }

    const FILES: [(&str, &str); 3] = [("a", "first"), ("dir/", ""), ("dir/b", "second second")];

    #[test]
    fn stored_and_deflated() {
        for packed in [false, true] {
            let members = read_zip(&zip(&FILES, packed), 100).unwrap();
            let seen: Vec<(&str, &[u8])> =
                members.iter().map(|one| (one.path.as_str(), one.content.as_slice())).collect();
            assert_eq!(seen, [("a", &b"first"[..]), ("dir/b", b"second second")]);
        }
    }

    #[test]
    fn what_is_cut_off_or_changed_is_no_archive() {
        let whole = zip(&FILES, true);
        for length in 0..whole.len() {
            assert!(read_zip(&whole[..length], 100).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            // Some bytes do not matter (times, versions); none may be the end of us.
            drop(read_zip(&changed, 100));
        }
        let mut damaged = zip(&FILES, false);
        damaged[31] ^= 1;
        let error = read_zip(&damaged, 100).unwrap_err();
        assert_eq!(error.to_string(), "a: damaged in the zip archive");
    }

    #[test]
    fn no_more_than_the_limit() {
        let error = read_zip(&zip(&FILES, true), 17).unwrap_err();
        assert_eq!(error.to_string(), "the zip archive has more than 17 bytes in it");
        assert!(read_zip(&zip(&FILES, true), 18).is_ok());
    }
}

//! How the layers of an image are compressed on their way out, as exporters of builds are told.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use ferry_archive::compress::{Compression, Encoder};
use ferry_errkind::{ErrorKind, Failure};
use ferry_oci::{Descriptor, Digest, Hasher, media};
use ferry_transfer::Packing;
use rustix::fs::{CWD, Mode, OFlags};

use super::save::descriptor;

/// Bytes of a layer that are compressed at once.
const PIECE: usize = 256 << 10;

/// What `compression`, `compression-level`, `force-compression` and `oci-mediatypes` say; empty is what nobody says.
///
/// # Errors
/// There is no such compression or level.
pub fn packing<'a>(of: impl Fn(&str) -> &'a str) -> Result<Packing, Failure> {
    let invalid = |words: String| Failure::new(ErrorKind::InvalidArgument, words);
    let is = |name: &str| match of(name) {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(invalid(format!("non-bool value {other} specified for {name}"))),
    };
    let (force, oci) = (is("force-compression")?, is("oci-mediatypes")?);
    let level = match of("compression-level") {
        "" => None,
        text => Some(text.parse::<u32>().map_err(|_| {
            invalid(format!("non-integer value {text} specified for compression-level"))
        })?),
    };
    let (compression, most) = match of("compression") {
        "" if level.is_some() => (Some(Compression::Gzip(level)), Compression::MAX_GZIP),
        "" => (None, 0),
        "gzip" => (Some(Compression::Gzip(level)), Compression::MAX_GZIP),
        "zstd" => (Some(Compression::Zstd(level)), Compression::MAX_ZSTD),
        "uncompressed" => (Some(Compression::Plain), u32::MAX),
        other => {
            let words = format!("unsupported layer compression type {other}");
            return Err(invalid(words).with_hint("there are gzip, zstd and uncompressed"));
        }
    };
    if let Some(level) = level.filter(|level| *level > most) {
        return Err(invalid(format!("compression-level {level} is more than {most}")));
    }
    Ok(Packing { compression, force, oci })
}

/// A layer as it goes into an archive.
pub(super) struct Packed {
    /// Media type, digest and size of what is in the file.
    pub(super) descriptor: Descriptor,
    /// Without a name, at its beginning.
    pub(super) file: File,
}

/// Compresses a layer into a file that has no name in `scratch`: an archive says first how long something is.
pub(super) fn pack(
    layer: impl Read,
    compression: Compression,
    scratch: &Path,
) -> io::Result<Packed> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(CWD, scratch, flags, Mode::from(0o600))?);
    let (mut hasher, mut size) = (Hasher::new(), 0_u64);
    let mut encoder = Encoder::new(compression, io::BufReader::with_capacity(PIECE, layer))?;
    let mut piece = vec![0; PIECE];
    loop {
        let read = encoder.read(&mut piece)?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        file.write_all(&piece[..read])?;
        size += read as u64;
    }
    file.rewind()?;
    Ok(Packed { descriptor: descriptor(media_type(compression), hasher.finish(), size), file })
}

fn media_type(compression: Compression) -> &'static str {
    match compression {
        Compression::Plain => media::OCI_LAYER,
        Compression::Gzip(_) => media::OCI_LAYER_GZIP,
        Compression::Zstd(_) => media::OCI_LAYER_ZSTD,
    }
}

/// What a layer is that is not compressed, as it is here.
pub(super) fn plain(diff_id: &Digest, size: u64) -> Descriptor {
    descriptor(media::OCI_LAYER, diff_id.clone(), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exporters_are_told_reads() {
        let read = |compression: &'static str, level: &'static str, force: &'static str| {
            let of = |name: &str| match name {
                "compression" => compression,
                "compression-level" => level,
                "force-compression" => force,
                _ => "",
            };
            packing(of)
                .map(|packing| (packing.compression, packing.force))
                .map_err(|failure| failure.message().to_owned())
        };
        assert_eq!(read("", "", ""), Ok((None, false)));
        assert_eq!(read("zstd", "22", "true"), Ok((Some(Compression::Zstd(Some(22))), true)));
        assert_eq!(read("gzip", "", "0"), Ok((Some(Compression::Gzip(None)), false)));
        assert_eq!(read("uncompressed", "", ""), Ok((Some(Compression::Plain), false)));
        assert!(read("gzip", "10", "").is_err_and(|words| words.contains("10 is more than 9")));
        assert!(read("estargz", "", "").is_err_and(|words| words.contains("estargz")));
        assert!(read("zstd", "x", "").is_err());
        assert!(read("zstd", "", "perhaps").is_err());
    }
}

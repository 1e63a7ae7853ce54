//! Compressed streams, told apart by their first bytes.

use std::io::{self, BufRead, Read};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// gzip, in one or many members.
    Gzip,
    /// zstd, in one or many frames, skippable ones included.
    Zstd,
    /// xz, in one or many streams.
    Xz,
    /// bzip2, in one or many streams.
    Bzip2,
}

/// Kibibytes that reading an xz stream may take: what `xz -9` needs is 64 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// How much of a stream [`Codec::detect`] wants to see, if there is that much.
pub const MAGIC_LENGTH: usize = 6;

impl Codec {
    /// Recognises a codec by the start of the stream. What is not recognised is taken to be plain.
    pub fn detect(start: &[u8]) -> Result<Self, UnsupportedCodec> {
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Ok(Self::Bzip2),
            [0x04, 0x22, 0x4d, 0x18, ..] => Err(UnsupportedCodec { name: "lz4" }),
            [b'L', b'Z', b'I', b'P', ..] => Err(UnsupportedCodec { name: "lzip" }),
            [0x1f, 0x9d, ..] => Err(UnsupportedCodec { name: "compress (.Z)" }),
            [b'P', b'K', 3, 4, ..] => Err(UnsupportedCodec { name: "zip" }),
            _ => Ok(Self::Plain),
        }
    }
}

/// A compression that exists, but not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} compression is not supported: only gzip, zstd, xz, bzip2 and none are")]
pub struct UnsupportedCodec {
    /// Which one.
    pub name: &'static str,
}

/// Reads the plain bytes of a stream. Several members or frames after one another are read to the end of the stream;
/// what follows a member and is no member is an error.
pub struct Decoder<R: BufRead>(Inner<R>);

enum Inner<R: BufRead> {
    Plain(R),
    Gzip(Box<flate2::bufread::MultiGzDecoder<R>>),
    Zstd(Box<zstd::Decoder<'static, R>>),
    Xz(Box<lzma_rust2::XzReader<R>>),
    Bzip2(Box<bzip2::bufread::MultiBzDecoder<R>>),
}

impl<R: BufRead> Decoder<R> {
    /// Decodes a stream of a known codec.
    pub fn new(codec: Codec, stream: R) -> io::Result<Self> {
        Ok(Self(match codec {
            Codec::Plain => Inner::Plain(stream),
            Codec::Gzip => Inner::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(stream))),
            Codec::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(stream)?;
                // 128 MiB, which `zstd --ultra --long` of the registries' tools stays within; a
                // larger window is an attack on our memory.
                decoder.window_log_max(27)?;
                Inner::Zstd(Box::new(decoder))
            }
            Codec::Xz => {
                Inner::Xz(Box::new(lzma_rust2::XzReader::new_mem_limit(stream, true, XZ_MEMORY)))
            }
            Codec::Bzip2 => Inner::Bzip2(Box::new(bzip2::bufread::MultiBzDecoder::new(stream))),
        }))
    }
}

impl<R: BufRead> std::fmt::Debug for Decoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Inner::Plain(_) => "Decoder(plain)",
            Inner::Gzip(_) => "Decoder(gzip)",
            Inner::Zstd(_) => "Decoder(zstd)",
            Inner::Xz(_) => "Decoder(xz)",
            Inner::Bzip2(_) => "Decoder(bzip2)",
        })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(plain) => plain.read(buffer),
            Inner::Gzip(gzip) => gzip.read(buffer),
            Inner::Zstd(zstd) => zstd.read(buffer),
            Inner::Xz(xz) => xz.read(buffer),
            Inner::Bzip2(bzip2) => bzip2.read(buffer),
        }
    }
}

/// Compresses a stream with gzip. The same bytes always give the same bytes: no name and no time is in the header, and the
/// compressor, which looks at what it has and at what room there is, gets as much of both each time.
pub struct Gzip<R: Read> {
    encoder: flate2::bufread::GzEncoder<io::BufReader<Filled<R>>>,
    made: Box<[u8]>,
    /// What of `made` nobody has read yet.
    rest: std::ops::Range<usize>,
}

/// What the compressor gets at once, and the room for what it makes.
const PORTION: usize = 64 << 10;

/// Reads until there is no room or nothing more, in whatever pieces the stream comes.
struct Filled<R>(R);

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl<R: Read> Gzip<R> {
    /// Compresses as well as Docker does.
    pub fn new(plain: R) -> Self {
        Self::at(None, plain)
    }

    /// Compresses at a level.
    fn at(level: Option<u32>, plain: R) -> Self {
        let plain = io::BufReader::with_capacity(PORTION, Filled(plain));
        let level = level.map(|level| flate2::Compression::new(level.min(Compression::MAX_GZIP)));
        let encoder = flate2::GzBuilder::new().buf_read(plain, level.unwrap_or_default());
        Self { encoder, made: vec![0; PORTION].into(), rest: 0..0 }
    }
}

impl<R: Read> std::fmt::Debug for Gzip<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gzip")
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.rest.is_empty() {
            self.rest = 0..self.encoder.read(&mut self.made)?;
        }
        let read = (&self.made[self.rest.clone()]).read(buffer)?;
        self.rest.start += read;
        Ok(read)
    }
}

/// How a stream is to be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// gzip, at a level up to [`Compression::MAX_GZIP`], or at Docker's.
    Gzip(Option<u32>),
    /// zstd, at a level up to [`Compression::MAX_ZSTD`], or at its own.
    Zstd(Option<u32>),
}

impl Compression {
    /// Highest level of gzip.
    pub const MAX_GZIP: u32 = 9;
    /// Highest level of zstd.
    pub const MAX_ZSTD: u32 = 22;
}

/// Compresses a stream. The same bytes give the same bytes, in whatever pieces they come.
pub struct Encoder<R: Read>(Encoding<R>);

enum Encoding<R: Read> {
    Plain(R),
    Gzip(Box<Gzip<R>>),
    Zstd(Box<zstd::stream::read::Encoder<'static, io::BufReader<Filled<R>>>>),
}

impl<R: Read> Encoder<R> {
    /// Compresses a stream in this way.
    pub fn new(compression: Compression, plain: R) -> io::Result<Self> {
        Ok(Self(match compression {
            Compression::Plain => Encoding::Plain(plain),
            Compression::Gzip(level) => Encoding::Gzip(Box::new(Gzip::at(level, plain))),
            Compression::Zstd(level) => {
                let level = level.unwrap_or_default().min(Compression::MAX_ZSTD);
                let level = i32::try_from(level).unwrap_or_default();
                let plain = io::BufReader::with_capacity(PORTION, Filled(plain));
                Encoding::Zstd(Box::new(zstd::stream::read::Encoder::with_buffer(plain, level)?))
            }
        }))
    }
}

impl<R: Read> std::fmt::Debug for Encoder<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encoder")
    }
}

impl<R: Read> Read for Encoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Encoding::Plain(plain) => plain.read(buffer),
            Encoding::Gzip(gzip) => gzip.read(buffer),
            Encoding::Zstd(zstd) => zstd.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what it has in pieces of odd sizes.
    struct Odd<'a>(&'a [u8], usize);

    impl Read for Odd<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1 * 7 % 5003 + 1;
            let some = self.1.min(buffer.len());
            let read = (&self.0[..some.min(self.0.len())]).read(buffer)?;
            self.0 = &self.0[read..];
            Ok(read)
        }
    }

    #[test]
    fn the_same_bytes_in_other_pieces_are_the_same_gzip() {
        let mut number = 1_u32;
        let plain: Vec<u8> = (0..3_000_000_u32)
            .map(|at| {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                // Words of a few letters, as in text and programs.
                if number >> 28 < 6 { (at % 97) as u8 } else { ((number >> 24) & 15) as u8 }
            })
            .collect();
        let mut whole = Vec::new();
        Gzip::new(plain.as_slice()).read_to_end(&mut whole).unwrap();
        for seed in [1, 17, 4999] {
            let mut other = Vec::new();
            let mut gzip = Gzip::new(Odd(&plain, seed));
            let mut piece = [0; 777];
            loop {
                let read = gzip.read(&mut piece).unwrap();
                if read == 0 {
                    break;
                }
                other.extend_from_slice(&piece[..read]);
            }
            assert!(whole == other, "pieces from {seed}");
        }
    }

    #[test]
    fn what_is_compressed_reads_and_is_the_same_in_other_pieces() {
        let plain: Vec<u8> = (0..700_000_u64).map(|at| (at * at / 7 % 251) as u8).collect();
        for compression in [
            Compression::Plain,
            Compression::Gzip(None),
            Compression::Gzip(Some(1)),
            Compression::Zstd(None),
            Compression::Zstd(Some(9)),
        ] {
            let mut made = Vec::new();
            Encoder::new(compression, plain.as_slice()).unwrap().read_to_end(&mut made).unwrap();
            let mut other = Vec::new();
            Encoder::new(compression, Odd(&plain, 5)).unwrap().read_to_end(&mut other).unwrap();
            assert!(made == other, "{compression:?}");
            let codec = Codec::detect(&made).unwrap();
            let mut back = Vec::new();
            Decoder::new(codec, made.as_slice()).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == plain, "{compression:?}");
            assert!(compression == Compression::Plain || made.len() < plain.len());
        }
    }
}

//! Operations of a recipe as bytes: a tag, then LEB128 numbers and byte strings with their length in front.

use std::io::{self, Read, Write};

use crate::entry::Segment;

pub(crate) const MAGIC: &[u8; 9] = b"FERRYRCP\x01";

const END: u64 = 0;
const RAW: u64 = 1;
const FILE: u64 = 2;
const SPARSE: u64 = 3;

/// Longest path in a recipe: the unpacker's names through a few symlinks stay below it.
const MAX_PATH: u64 = 64 << 10;
const MAX_SEGMENTS: u64 = 1 << 24;

/// One step of writing the tar again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// So many bytes follow in the recipe itself.
    Raw(u64),
    /// All bytes of a file, with the CRC-32 of them.
    File { path: Vec<u8>, size: u64, crc: u32 },
    /// These parts of a file of that size, with the CRC-32 of the parts.
    Sparse { path: Vec<u8>, size: u64, crc: u32, map: Vec<Segment> },
    /// Nothing more: length and SHA-256 of what should have come out.
    End { size: u64, sha256: [u8; 32] },
}

impl Op {
    /// Writes the operation; the bytes of [`Op::Raw`] are the caller's to write behind it.
    pub(crate) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        match self {
            Op::Raw(length) => {
                number(out, RAW)?;
                number(out, *length)
            }
            Op::File { path, size, crc } => {
                number(out, FILE)?;
                number(out, *size)?;
                number(out, u64::from(*crc))?;
                bytes(out, path)
            }
            Op::Sparse { path, size, crc, map } => {
                number(out, SPARSE)?;
                number(out, *size)?;
                number(out, u64::from(*crc))?;
                bytes(out, path)?;
                number(out, map.len() as u64)?;
                for segment in map {
                    number(out, segment.offset)?;
                    number(out, segment.length)?;
                }
                Ok(())
            }
            Op::End { size, sha256 } => {
                number(out, END)?;
                number(out, *size)?;
                out.write_all(sha256)
            }
        }
    }

    pub(crate) fn read(from: &mut impl Read) -> io::Result<Self> {
        match read_number(from)? {
            RAW => Ok(Op::Raw(read_number(from)?)),
            FILE => {
                let (size, crc) = (read_number(from)?, read_crc(from)?);
                Ok(Op::File { path: read_bytes(from)?, size, crc })
            }
            SPARSE => {
                let (size, crc) = (read_number(from)?, read_crc(from)?);
                let path = read_bytes(from)?;
                Ok(Op::Sparse { path, size, crc, map: read_map(from)? })
            }
            END => {
                let size = read_number(from)?;
                let mut sha256 = [0; 32];
                from.read_exact(&mut sha256)?;
                Ok(Op::End { size, sha256 })
            }
            _ => Err(damaged("unknown operation in a recipe")),
        }
    }
}

pub(crate) fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number(out: &mut impl Write, mut value: u64) -> io::Result<()> {
    let mut encoded = [0_u8; 10];
    let mut length = 0;
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        encoded[length] = if value == 0 { byte } else { byte | 0x80 };
        length += 1;
        if value == 0 {
            return out.write_all(&encoded[..length]);
        }
    }
}

fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        let part = u64::from(byte[0] & 0x7f);
        if shift == 63 && part > 1 {
            break;
        }
        value |= part << shift;
        if byte[0] & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged("number too long in a recipe"))
}

fn read_crc(from: &mut impl Read) -> io::Result<u32> {
    u32::try_from(read_number(from)?).map_err(|_| damaged("checksum too long in a recipe"))
}

fn bytes(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    number(out, bytes.len() as u64)?;
    out.write_all(bytes)
}

fn read_bytes(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let length = read_number(from)?;
    if length > MAX_PATH {
        return Err(damaged("path too long in a recipe"));
    }
    let mut bytes = vec![0; usize::try_from(length).map_err(|_| damaged("path too long"))?];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_map(from: &mut impl Read) -> io::Result<Vec<Segment>> {
    let count = read_number(from)?;
    if count > MAX_SEGMENTS {
        return Err(damaged("sparse map too long in a recipe"));
    }
    // Grows with what is really there, not with what a damaged count claims.
    let mut map = Vec::new();
    for _ in 0..count {
        map.push(Segment { offset: read_number(from)?, length: read_number(from)? });
    }
    Ok(map)
}

//! An entry as header blocks.

use crate::entry::{Entry, Kind, Mtime};
use crate::parse::BLOCK;

/// The largest numbers of 8- and 12-byte octal fields.
const MAX_7_DIGITS: u64 = 0o7_777_777;
const MAX_11_DIGITS: u64 = 0o77_777_777_777;

/// All header blocks of an entry: a PAX header where one is needed, then the entry's own.
pub(super) fn encode(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    let mut block = [0_u8; BLOCK];
    let name = name(entry);
    match split_name(&name) {
        Some((prefix, name)) => {
            block[..name.len()].copy_from_slice(name);
            block[345..345 + prefix.len()].copy_from_slice(prefix);
        }
        None => {
            record(&mut records, b"path", &name);
            // What a reader without PAX shows: the start of the name.
            block[..100].copy_from_slice(&name[..100]);
        }
    }
    if entry.link.len() > 100 {
        record(&mut records, b"linkpath", &entry.link);
    }
    let link = &entry.link[..entry.link.len().min(100)];
    block[157..157 + link.len()].copy_from_slice(link);
    octal(&mut block[100..108], u64::from(entry.mode & 0o7777));
    for (at, key, id) in [(108, "uid", entry.uid), (116, "gid", entry.gid)] {
        let id = number_or_record(&mut records, key, u64::from(id), MAX_7_DIGITS);
        octal(&mut block[at..at + 8], id);
    }
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    octal(&mut block[124..136], number_or_record(&mut records, "size", size, MAX_11_DIGITS));
    octal(&mut block[136..148], mtime(&mut records, entry.mtime));
    block[156] = typeflag(entry.kind);
    block[257..265].copy_from_slice(b"ustar\x0000");
    if matches!(entry.kind, Kind::CharDevice | Kind::BlockDevice) {
        octal(&mut block[329..337], entry.device.0.into());
        octal(&mut block[337..345], entry.device.1.into());
    }
    for xattr in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", &*xattr.name].concat(), &xattr.value);
    }
    checksum(&mut block);
    let mut blocks = if records.is_empty() { Vec::new() } else { pax(&name, records) };
    blocks.extend_from_slice(&block);
    blocks
}

/// Directories end in a slash, as every writer has them.
fn name(entry: &Entry) -> Vec<u8> {
    let mut name = entry.path.clone();
    if entry.kind == Kind::Directory && !name.ends_with(b"/") {
        name.push(b'/');
    }
    name
}

/// Fits a name into ustar's prefix (155 bytes) and name (100 bytes), which must be split at a slash.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // The last slash that leaves a name behind it (a directory's own final slash does not).
    let first = name.len().saturating_sub(101);
    let slash = (first..name.len().min(156).saturating_sub(1))
        .find(|at| name[*at] == b'/' && *at + 1 < name.len())?;
    (slash > 0).then(|| (&name[..slash], &name[slash + 1..]))
}

fn number_or_record(records: &mut Vec<u8>, key: &str, value: u64, largest: u64) -> u64 {
    if value <= largest {
        return value;
    }
    record(records, key.as_bytes(), value.to_string().as_bytes());
    0
}

fn mtime(records: &mut Vec<u8>, mtime: Mtime) -> u64 {
    let plain = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= MAX_11_DIGITS);
    if plain.is_none() || mtime.nanos != 0 {
        record(records, b"mtime", decimal_time(mtime).as_bytes());
    }
    plain.unwrap_or_default()
}

/// Seconds and a fraction, with the sign in front of both.
fn decimal_time(mtime: Mtime) -> String {
    let total = i128::from(mtime.seconds) * 1_000_000_000 + i128::from(mtime.nanos);
    let sign = if total < 0 { "-" } else { "" };
    let total = total.unsigned_abs();
    let (whole, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').to_owned()
}

fn typeflag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

/// Digits with leading zeros, then a NUL.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    // Only a device number of more than 21 bits is too long, and Linux has none.
    let text = &text.as_bytes()[text.len() - digits..];
    field[..digits].copy_from_slice(text);
    field[digits] = 0;
}

fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut block[148..155], sum);
}

/// One record; its length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn pax(name: &[u8], mut records: Vec<u8>) -> Vec<u8> {
    let mut block = [0_u8; BLOCK];
    // The name is for readers that know no PAX and make a file of it; ours is Go's.
    let base = name.strip_suffix(b"/").unwrap_or(name).rsplit(|byte| *byte == b'/').next();
    let shown = [b"PaxHeaders.0/", base.unwrap_or_default()].concat();
    let shown = &shown[..shown.len().min(100)];
    block[..shown.len()].copy_from_slice(shown);
    for at in [100, 108, 116] {
        octal(&mut block[at..at + 8], 0);
    }
    octal(&mut block[124..136], records.len() as u64);
    octal(&mut block[136..148], 0);
    block[156] = b'x';
    block[257..265].copy_from_slice(b"ustar\x0000");
    checksum(&mut block);
    records.resize(records.len().next_multiple_of(BLOCK), 0);
    [&block[..], &records].concat()
}

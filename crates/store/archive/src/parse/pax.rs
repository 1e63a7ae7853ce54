//! PAX extended headers: `length key=value\n` records that override or extend the next header.

use std::collections::BTreeMap;

use super::ParseError;
use crate::entry::Mtime;

/// What an extended header says, as far as it matters to a layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pax {
    pub(crate) path: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) mtime: Option<Mtime>,
    /// By name; a map, for a header may hold tens of thousands.
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) sparse: PaxSparse,
}

/// The `GNU.sparse.*` keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PaxSparse {
    pub(crate) major: Option<Vec<u8>>,
    pub(crate) minor: Option<Vec<u8>>,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) real_size: Option<u64>,
    /// Offsets and lengths in turn: `GNU.sparse.map` of 0.1, or the repeated keys of 0.0.
    pub(crate) map: Option<Vec<u64>>,
}

const XATTR: &[u8] = b"SCHILY.xattr.";
/// The kernel takes no longer attribute name (`XATTR_NAME_MAX`).
const MAX_XATTR_NAME: usize = 255;

impl Pax {
    /// Parses a whole body. Records must fill it exactly: a parser that skips what it does not understand
    /// disagrees with others about where the next header is.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let mut pax = Self::default();
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value, tail) = record(rest).ok_or(ParseError::PaxRecord)?;
            pax.apply(key, value)?;
            rest = tail;
        }
        if pax.sparse.map.as_ref().is_some_and(|map| !map.len().is_multiple_of(2)) {
            return Err(ParseError::SparseMap);
        }
        Ok(pax)
    }

    fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), ParseError> {
        if let Some(name) = key.strip_prefix(XATTR) {
            return self.apply_xattr(name, value);
        }
        if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
            return self.apply_sparse(key, value);
        }
        // An empty value takes the record back (POSIX), so that the plain header counts again.
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| text(value)).transpose()?,
            b"linkpath" => self.link = given.then(|| text(value)).transpose()?,
            b"size" => self.size = given.then(|| decimal(value, "size")).transpose()?,
            b"uid" => self.uid = given.then(|| id(value, "uid")).transpose()?,
            b"gid" => self.gid = given.then(|| id(value, "gid")).transpose()?,
            b"mtime" => self.mtime = given.then(|| time(value)).transpose()?,
            _ => {}
        }
        Ok(())
    }

    fn apply_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), ParseError> {
        if name.is_empty() || name.len() > MAX_XATTR_NAME {
            return Err(ParseError::PaxValue { key: "SCHILY.xattr" });
        }
        self.xattrs.insert(name.to_vec(), value.to_vec());
        Ok(())
    }

    fn apply_sparse(&mut self, key: &[u8], value: &[u8]) -> Result<(), ParseError> {
        let sparse = &mut self.sparse;
        match key {
            b"major" => sparse.major = Some(value.to_vec()),
            b"minor" => sparse.minor = Some(value.to_vec()),
            b"name" => sparse.name = Some(text(value)?),
            b"size" => sparse.size = Some(decimal(value, "GNU.sparse.size")?),
            b"realsize" => sparse.real_size = Some(decimal(value, "GNU.sparse.realsize")?),
            b"map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|item| !item.is_empty());
                let map: Result<Vec<u64>, _> =
                    numbers.map(|item| decimal(item, "GNU.sparse.map")).collect();
                sparse.map = Some(map?);
            }
            b"offset" | b"numbytes" => {
                let map = sparse.map.get_or_insert_default();
                // The two keys must alternate, offset first.
                if map.len().is_multiple_of(2) != (key == b"offset") {
                    return Err(ParseError::SparseMap);
                }
                map.push(decimal(value, "GNU.sparse")?);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Splits the first record off: key, value, the rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // Twenty digits hold any length; a longer run of digits is an attack on the parser.
    let space = bytes.iter().take(21).position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&bytes[..space])?).ok()?;
    let line = bytes.get(space + 1..length)?;
    let line = line.strip_suffix(b"\n")?;
    let equals = line.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&line[..equals], &line[equals + 1..]);
    if key.is_empty() || key.contains(&0) {
        return None;
    }
    Some((key, value, &bytes[length..]))
}

fn text(value: &[u8]) -> Result<Vec<u8>, ParseError> {
    if value.contains(&0) { Err(ParseError::PaxValue { key: "path" }) } else { Ok(value.to_vec()) }
}

pub(crate) fn digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() || bytes.len() > 20 {
        return None;
    }
    bytes.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// A size or offset: what a kernel can hold in an `off_t`.
fn decimal(value: &[u8], key: &'static str) -> Result<u64, ParseError> {
    let value = digits(value).filter(|value| i64::try_from(*value).is_ok());
    value.ok_or(ParseError::PaxValue { key })
}

fn id(value: &[u8], key: &'static str) -> Result<u32, ParseError> {
    let value = digits(value).and_then(|value| u32::try_from(value).ok());
    value.filter(|id| *id != u32::MAX).ok_or(ParseError::PaxValue { key })
}

/// `-1.5` is half a second before one second before the epoch. Digits beyond nanoseconds are dropped.
fn time(value: &[u8]) -> Result<Mtime, ParseError> {
    parse_time(value).ok_or(ParseError::PaxValue { key: "mtime" })
}

fn parse_time(value: &[u8]) -> Option<Mtime> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &value[..0]),
    };
    let seconds = i64::try_from(digits(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanos = 0_u32;
    for at in 0..9 {
        nanos = nanos * 10 + fraction.get(at).map_or(0, |digit| u32::from(digit - b'0'));
    }
    Some(match (negative, nanos) {
        (false, nanos) => Mtime { seconds, nanos },
        (true, 0) => Mtime { seconds: -seconds, nanos: 0 },
        (true, nanos) => Mtime { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

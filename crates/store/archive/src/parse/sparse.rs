//! Sparse maps: where the stored bytes of a file with holes belong. Old GNU headers, and PAX 0.0, 0.1, 1.0.

use super::header::number;
use super::{Limits, ParseError, pax::digits};
use crate::entry::Segment;

/// Reads `offset, length` pairs of an old GNU map from part of a block. Says whether the map ended there.
pub(crate) fn old_gnu_pairs(
    bytes: &[u8],
    map: &mut Vec<Segment>,
    limits: &Limits,
) -> Result<(), ParseError> {
    for pair in bytes.as_chunks::<24>().0 {
        // GNU and BSD tar end the list at the first empty pair.
        if pair[0] == 0 {
            break;
        }
        if map.len() >= limits.sparse_segments {
            return Err(ParseError::TooManySegments { limit: limits.sparse_segments });
        }
        let value = |bytes: &[u8]| {
            number(bytes).and_then(|value| u64::try_from(value).ok()).ok_or(ParseError::SparseMap)
        };
        map.push(Segment { offset: value(&pair[..12])?, length: value(&pair[12..])? });
    }
    Ok(())
}

/// Pairs up the numbers of a PAX 0.0 or 0.1 map.
pub(crate) fn from_numbers(numbers: &[u64], limits: &Limits) -> Result<Vec<Segment>, ParseError> {
    if numbers.len() / 2 > limits.sparse_segments {
        return Err(ParseError::TooManySegments { limit: limits.sparse_segments });
    }
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ParseError::SparseMap);
    }
    Ok(pairs.iter().map(|[offset, length]| Segment { offset: *offset, length: *length }).collect())
}

/// The map of PAX 1.0, which sits in front of the data: decimal numbers, one a line, filled up to a block.
#[derive(Debug, Default)]
pub(crate) struct DataMap {
    bytes: Vec<u8>,
    newlines: usize,
    /// Lines that make the map whole, once the first line has told.
    wanted: Option<usize>,
}

impl DataMap {
    /// Takes one more block; the finished map once it is whole.
    pub(crate) fn feed(
        &mut self,
        block: &[u8],
        limits: &Limits,
    ) -> Result<Option<Vec<Segment>>, ParseError> {
        self.bytes.extend_from_slice(block);
        self.newlines += block.iter().filter(|byte| **byte == b'\n').count();
        if self.wanted.is_none() && self.newlines > 0 {
            self.wanted = Some(1 + 2 * self.count(limits)?);
        }
        match self.wanted {
            Some(wanted) if self.newlines >= wanted => self.finish(wanted, limits).map(Some),
            // Two 20-digit numbers and their newlines make 42 bytes; what is longer is no map.
            Some(wanted) if self.bytes.len() > wanted * 21 + 2 * block.len() => {
                Err(ParseError::SparseMap)
            }
            None if self.bytes.len() > 2 * block.len() => Err(ParseError::SparseMap),
            _ => Ok(None),
        }
    }

    fn count(&self, limits: &Limits) -> Result<usize, ParseError> {
        let first = self.bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = digits(first).and_then(|count| usize::try_from(count).ok());
        let count = count.ok_or(ParseError::SparseMap)?;
        if count > limits.sparse_segments {
            return Err(ParseError::TooManySegments { limit: limits.sparse_segments });
        }
        Ok(count)
    }

    fn finish(&self, wanted: usize, limits: &Limits) -> Result<Vec<Segment>, ParseError> {
        let lines = self.bytes.split(|byte| *byte == b'\n').take(wanted).skip(1);
        let numbers: Option<Vec<u64>> = lines.map(digits).collect();
        from_numbers(&numbers.ok_or(ParseError::SparseMap)?, limits)
    }
}

/// A map must go forward, stay inside the file, and use the stored bytes up exactly.
pub(crate) fn check(map: &[Segment], size: u64, stored: u64) -> Result<(), ParseError> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for segment in map {
        if segment.offset < end {
            return Err(ParseError::SparseMap);
        }
        end = segment.offset.checked_add(segment.length).ok_or(ParseError::SparseMap)?;
        sum += segment.length;
    }
    if end > size || sum != stored { Err(ParseError::SparseMap) } else { Ok(()) }
}

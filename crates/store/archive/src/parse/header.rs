//! One 512-byte header block: fields at fixed offsets, numbers in octal or base 256, four dialects.

use super::ParseError;

/// Everything in a tar archive is a multiple of this.
pub const BLOCK: usize = 512;

/// A view of one block as a header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a>(pub(crate) &'a [u8; BLOCK]);

/// Who wrote the header; decides what the bytes after the link name mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Before POSIX: no magic.
    V7,
    /// POSIX ustar, also carrying PAX.
    Ustar,
    /// Jörg Schilling's star: a shorter prefix.
    Star,
    /// GNU tar before PAX.
    Gnu,
}

impl<'a> Header<'a> {
    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            b"ustar\x0000" if &self.0[508..512] == b"tar\0" => Dialect::Star,
            b"ustar\x0000" => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// Old tars summed signed bytes; both sums are accepted, as everywhere.
    pub(crate) fn verify_checksum(&self) -> Result<(), ParseError> {
        let wanted = octal(&self.0[148..156]).ok_or(ParseError::Checksum)?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        let wanted = i64::try_from(wanted).map_err(|_| ParseError::Checksum)?;
        if wanted == unsigned || wanted == signed { Ok(()) } else { Err(ParseError::Checksum) }
    }

    pub(crate) fn typeflag(&self) -> u8 {
        self.0[156]
    }

    pub(crate) fn name(&self) -> &'a [u8] {
        text(&self.0[..100])
    }

    pub(crate) fn link(&self) -> &'a [u8] {
        text(&self.0[157..257])
    }

    /// The directory part kept apart from the name, empty where the dialect has none.
    pub(crate) fn prefix(&self) -> &'a [u8] {
        match self.dialect() {
            Dialect::Ustar => text(&self.0[345..500]),
            Dialect::Star => text(&self.0[345..476]),
            Dialect::V7 => b"",
            Dialect::Gnu => self.misplaced_prefix(),
        }
    }

    /// Go's writer before 1.8 (old Docker images) put a ustar prefix where GNU keeps times: what parses
    /// as neither of the two times there is that prefix (golang.org/issue/12594).
    fn misplaced_prefix(&self) -> &'a [u8] {
        let times = [&self.0[345..357], &self.0[357..369]];
        if times.iter().all(|field| number(field).is_some()) {
            return b"";
        }
        let prefix = text(&self.0[345..500]);
        if prefix.is_ascii() { prefix } else { b"" }
    }

    pub(crate) fn mode(&self) -> Result<i64, ParseError> {
        self.field(100..108, "mode")
    }

    pub(crate) fn uid(&self) -> Result<i64, ParseError> {
        self.field(108..116, "uid")
    }

    pub(crate) fn gid(&self) -> Result<i64, ParseError> {
        self.field(116..124, "gid")
    }

    pub(crate) fn size(&self) -> Result<u64, ParseError> {
        let size = self.field(124..136, "size")?;
        u64::try_from(size).map_err(|_| ParseError::Number { field: "size" })
    }

    pub(crate) fn mtime(&self) -> Result<i64, ParseError> {
        self.field(136..148, "mtime")
    }

    pub(crate) fn device(&self) -> Result<(i64, i64), ParseError> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        Ok((self.field(329..337, "device major")?, self.field(337..345, "device minor")?))
    }

    /// The bytes of an old GNU sparse map in the main header: four pairs.
    pub(crate) fn sparse_pairs(&self) -> &'a [u8] {
        &self.0[386..482]
    }

    pub(crate) fn sparse_continues(&self) -> bool {
        self.0[482] != 0
    }

    pub(crate) fn sparse_real_size(&self) -> Result<i64, ParseError> {
        self.field(483..495, "sparse size")
    }

    fn field(&self, at: std::ops::Range<usize>, field: &'static str) -> Result<i64, ParseError> {
        number(&self.0[at]).ok_or(ParseError::Number { field })
    }
}

/// Up to the first NUL.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A numeric field: base 256 (two's complement) when the top bit is set, else octal.
pub(crate) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 == 0 {
        return i64::try_from(octal(field)?).ok();
    }
    let negative = first & 0x40 != 0;
    let mut value: i128 = if negative { -1 } else { 0 };
    for (at, byte) in field.iter().enumerate() {
        // The marker bit of the first byte is not part of the number; copy the sign bit over it.
        let byte = match (at, negative) {
            (0, true) => byte | 0x80,
            (0, false) => byte & 0x7f,
            _ => *byte,
        };
        value = (value << 8) | i128::from(byte);
        if i64::try_from(value).is_err() {
            return None;
        }
    }
    i64::try_from(value).ok()
}

/// Octal digits between optional spaces and NULs; nothing at all is zero, as in every tar.
fn octal(field: &[u8]) -> Option<u64> {
    let padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(padding).unwrap_or(digits.len());
    let mut value = 0_u64;
    for digit in &digits[..end] {
        if !(b'0'..=b'7').contains(digit) {
            return None;
        }
        value = value.checked_mul(8)?.checked_add(u64::from(digit - b'0'))?;
    }
    // `12\0 34` is `12` for C's string functions and for Go; `12 34` is nobody's number.
    let rest = &digits[end..];
    let after = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    rest[..after].iter().all(|byte| *byte == b' ').then_some(value)
}

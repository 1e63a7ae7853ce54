//! Sizes in bytes, as go-units writes and reads them.

/// A text is no size. Docker's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub struct InvalidSize(pub String);

const DECIMAL: [&str; 9] = ["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
const BINARY: [&str; 9] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"];

/// `1.24MB`: powers of 1000, four significant digits (go-units `HumanSize`).
pub fn format_decimal(bytes: u64) -> String {
    format(bytes as f64, 1000.0, &DECIMAL, 4)
}

/// As [`format_decimal`] with the precision that Docker uses for `images` and `ps --size`: three significant digits.
pub fn format_decimal_short(bytes: u64) -> String {
    format(bytes as f64, 1000.0, &DECIMAL, 3)
}

/// `7.629MiB`: powers of 1024, four significant digits (go-units `BytesSize`).
pub fn format_binary(bytes: u64) -> String {
    format(bytes as f64, 1024.0, &BINARY, 4)
}

/// Go's `%.{digits}g` followed by the unit.
fn format(mut value: f64, base: f64, units: &[&str], digits: i32) -> String {
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    format!("{}{}", significant(value, digits), units[unit])
}

/// `%.{digits}g` for numbers from 0 to 10000: trailing zeros go, and a number with more integer digits than `digits` would be
/// written with an exponent.
fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let exponent = value.abs().log10().floor() as i32;
    let rounded = format!("{value:.*e}", usize::try_from(digits - 1).unwrap_or(0));
    let after_rounding =
        rounded.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(exponent);
    if after_rounding >= digits {
        let mantissa = rounded.split_once('e').map_or("", |(mantissa, _)| mantissa);
        return format!("{}e+{after_rounding:02}", trim(mantissa));
    }
    let decimals = usize::try_from(digits - 1 - after_rounding).unwrap_or(0);
    trim(&format!("{value:.decimals$}")).to_owned()
}

fn trim(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Reads `64m`, `1.5g`, `1024`, `2GiB`: powers of 1024 whatever the unit (go-units `RAMInBytes`). `-1` is -1.
///
/// # Errors
/// [`InvalidSize`] with Docker's words.
pub fn parse_bytes(text: &str) -> Result<i64, InvalidSize> {
    let invalid = || InvalidSize(text.to_owned());
    let split = text
        .rfind(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ' '))
        .map(|at| at + 1)
        .ok_or_else(invalid)?;
    let (number, unit) = text.split_at(split);
    // go-units allows one space between the number and its unit.
    let number = number.strip_suffix(' ').unwrap_or(number);
    let value: f64 = number.parse().map_err(|_| invalid())?;
    if !(value.is_finite()
        && number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-')))
    {
        return Err(invalid());
    }
    if value < 0.0 {
        return if value == -1.0 && unit.is_empty() { Ok(-1) } else { Err(invalid()) };
    }
    let power = unit_power(&unit.to_ascii_lowercase()).ok_or_else(invalid)?;
    let bytes = value * 1024_f64.powi(power);
    if bytes > i64::MAX as f64 { Err(invalid()) } else { Ok(bytes as i64) }
}

fn unit_power(unit: &str) -> Option<i32> {
    let (letter, rest) = match unit.chars().next() {
        None => return Some(0),
        Some(letter) => (letter, &unit[letter.len_utf8()..]),
    };
    if letter == 'b' {
        return rest.is_empty().then_some(0);
    }
    if !matches!(rest, "" | "b" | "ib") {
        return None;
    }
    "kmgtp".find(letter).and_then(|at| i32::try_from(at + 1).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_go_units_does() {
        for (bytes, text) in [
            (0, "0B"),
            (1, "1B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.024kB"),
            (1_240_000, "1.24MB"),
            (123_456_789, "123.5MB"),
            (1_000_000_000_000, "1TB"),
        ] {
            assert_eq!(format_decimal(bytes), text);
        }
        assert_eq!(format_decimal_short(4_485_123), "4.49MB");
        assert_eq!(format_decimal_short(187_654_321), "188MB");
        assert_eq!(format_decimal_short(999_999), "1e+03kB");
        assert_eq!(format_binary(8_000_000), "7.629MiB");
        assert_eq!(format_binary(64 << 20), "64MiB");
    }

    #[test]
    fn read_as_go_units_does() {
        for (text, bytes) in [
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32KB", 32 << 10),
            ("32KiB", 32 << 10),
            ("32 mb", 32 << 20),
            ("1.5g", 3 << 29),
            ("0", 0),
            ("-1", -1),
            ("1t", 1 << 40),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in [
            "", "hello", "-32", "32 kib b", "1.5.5k", "k", "32x", "32bb", "inf", "-1k", "1e3",
            "9999999p",
        ] {
            assert_eq!(parse_bytes(text), Err(InvalidSize(text.to_owned())), "{text}");
        }
    }
}

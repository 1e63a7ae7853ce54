//! Checks of flag values, in the words of Go's `strconv` and Docker's option types.

use ferry_stdx::{duration, size};

/// Reads a switch's value as Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// A switch's value.
pub(crate) fn boolean(text: &str) -> Result<(), String> {
    match parse_bool(text) {
        Some(_) => Ok(()),
        None => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}

/// Reads a number as Go's `strconv.ParseInt(text, 0, 64)`; the error is its last word.
pub(crate) fn parse_int(text: &str) -> Result<i64, &'static str> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_magnitude(digits)?;
    let signed = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    i64::try_from(signed).map_err(|_| "value out of range")
}

fn parse_magnitude(digits: &str) -> Result<u64, &'static str> {
    let lower = digits.to_ascii_lowercase();
    let (radix, rest) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let clean = if lower.starts_with('0') { rest.replace('_', "") } else { rest.to_owned() };
    if clean.is_empty() || !clean.chars().all(|c| c.is_digit(radix)) {
        return Err("invalid syntax");
    }
    u64::from_str_radix(&clean, radix).map_err(|_| "value out of range")
}

/// A signed number.
pub(crate) fn int(text: &str) -> Result<(), String> {
    parse_int(text).map(drop).map_err(|why| format!("strconv.ParseInt: parsing {text:?}: {why}"))
}

/// A number that is not negative.
pub(crate) fn uint(text: &str) -> Result<(), String> {
    parse_magnitude(text)
        .map(drop)
        .map_err(|why| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

/// A number of 16 bits.
pub(crate) fn uint16(text: &str) -> Result<(), String> {
    let number = parse_magnitude(text).and_then(|number| {
        if number > u64::from(u16::MAX) { Err("value out of range") } else { Ok(()) }
    });
    number.map_err(|why| format!("strconv.ParseUint: parsing {text:?}: {why}"))
}

/// A filter.
pub(crate) fn filter(text: &str) -> Result<(), String> {
    if text.is_empty() || text.contains('=') {
        return Ok(());
    }
    Err("bad format of filter (expected name=value)".to_owned())
}

/// A size.
pub(crate) fn bytes(text: &str) -> Result<(), String> {
    size::parse_bytes(text).map(drop).map_err(|error| error.to_string())
}

/// A size, or -1 for no limit.
pub(crate) fn bytes_or_unlimited(text: &str) -> Result<(), String> {
    if text == "-1" { Ok(()) } else { bytes(text) }
}

/// A duration.
pub(crate) fn duration(text: &str) -> Result<(), String> {
    duration::parse_go(text).map(drop).map_err(|error| error.to_string())
}

/// A number of processors.
pub(crate) fn decimal(text: &str) -> Result<(), String> {
    nano(text).map(drop)
}

/// Reads a number of processors into billionths, in the words of Docker's `NanoCPUs`.
pub(crate) fn nano(text: &str) -> Result<i64, String> {
    let unreadable = || format!("failed to parse {text} as a rational number");
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(unreadable());
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > 9 {
        return Err("value is too precise".to_owned());
    }
    let number = format!("{whole}{fraction:0<9}");
    let number: i64 = number.parse().map_err(|_| unreadable())?;
    Ok(if negative { -number } else { number })
}

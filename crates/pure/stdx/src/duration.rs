//! Durations, as go-units and Go's `time` package write and read them.

use std::{fmt::Write as _, time::Duration};

/// A text is no duration. Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("time: invalid duration \"{0}\"")]
pub struct InvalidDuration(pub String);

/// `Less than a second`, `5 seconds`, `About a minute`, `2 hours` (go-units `HumanDuration`).
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match (seconds, minutes) {
        (0, _) => "Less than a second".to_owned(),
        (1, _) => "1 second".to_owned(),
        (2..60, _) => format!("{seconds} seconds"),
        (_, 1) => "About a minute".to_owned(),
        (_, 2..60) => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// Reads Go's notation, `1h2m3.5s`, `-10ms`; nanoseconds.
///
/// # Errors
/// [`InvalidDuration`] with Go's words.
pub fn parse_go(text: &str) -> Result<i64, InvalidDuration> {
    let invalid = || InvalidDuration(text.to_owned());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
            .ok_or_else(invalid)?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        total += nanoseconds(number, unit).ok_or_else(invalid)?;
        if total > i128::from(i64::MAX) {
            return Err(invalid());
        }
        rest = tail;
    }
    let total = i64::try_from(total).map_err(|_| invalid())?;
    Ok(if negative { -total } else { total })
}

fn nanoseconds(number: &str, unit: &str) -> Option<i128> {
    let scale: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 || fraction.contains('.') {
        return None;
    }
    let mut total: i128 = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? * scale };
    let mut part = scale;
    for digit in fraction.bytes().take(18) {
        part /= 10;
        total += i128::from(digit - b'0') * part;
    }
    Some(total)
}

/// Writes Go's notation: `1h2m3.5s`, `1.5ms`, `0s`.
pub fn format_go(nanoseconds: i64) -> String {
    let mut text = String::new();
    if nanoseconds < 0 {
        text.push('-');
    }
    let total = nanoseconds.unsigned_abs();
    match total {
        0 => text.push_str("0s"),
        1..1_000 => write_scaled(&mut text, total, 1, "ns"),
        1_000..1_000_000 => write_scaled(&mut text, total, 1_000, "µs"),
        1_000_000..1_000_000_000 => write_scaled(&mut text, total, 1_000_000, "ms"),
        _ => {
            let seconds = total / 1_000_000_000;
            // Writing to a String cannot fail.
            if seconds >= 3600 {
                write!(text, "{}h", seconds / 3600).ok();
            }
            if seconds >= 60 {
                write!(text, "{}m", seconds / 60 % 60).ok();
            }
            write_scaled(&mut text, total % 60_000_000_000, 1_000_000_000, "s");
        }
    }
    text
}

fn write_scaled(text: &mut String, value: u64, scale: u64, unit: &str) {
    write!(text, "{}", value / scale).ok();
    let rest = value % scale;
    if rest > 0 {
        let width = scale.ilog10() as usize;
        let digits = format!("{rest:0width$}");
        write!(text, ".{}", digits.trim_end_matches('0')).ok();
    }
    text.push_str(unit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        const DAY: u64 = 86_400;
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (45, "45 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (2 * DAY, "2 days"),
            (13 * DAY, "13 days"),
            (14 * DAY, "2 weeks"),
            (60 * DAY, "2 months"),
            (729 * DAY, "24 months"),
            (731 * DAY, "2 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn gos_notation_both_ways() {
        for (text, nanoseconds) in [
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("1m0s", 60_000_000_000),
            ("1h0m0.5s", 3_600_500_000_000),
            ("1.5ms", 1_500_000),
            ("-2µs", -2_000),
            ("7ns", 7),
        ] {
            assert_eq!(parse_go(text), Ok(nanoseconds), "{text}");
            assert_eq!(format_go(nanoseconds), text);
        }
        assert_eq!(parse_go("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(parse_go(".5s"), Ok(500_000_000));
        for text in ["", "5", "s", "1x", "1.2.3s", "-", "9999999999h", "1s2"] {
            assert!(parse_go(text).is_err(), "{text}");
        }
    }
}

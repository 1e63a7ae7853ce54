//! Times, sizes and identifiers, as docker's tables show them.

use std::time::SystemTime;

use ferry_stdx::{duration, size, time::Timestamp};

/// The first of January of the year one, Go's zero time, in seconds since 1970.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;

/// Now: the command line is the only part of the product that compares with the user's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// `2 hours ago`.
pub(crate) fn ago(seconds: i64) -> String {
    ago_of(Timestamp::from_seconds(seconds))
}

/// `2 hours ago`.
pub(crate) fn ago_of(time: Timestamp) -> String {
    format!("{} ago", duration::human(now().since(time)))
}

/// Whether seconds since 1970 are Go's zero time, the first of January of the year one.
pub(crate) fn is_zero_time(seconds: i64) -> bool {
    seconds == ZERO_TIME_SECONDS
}

/// `2026-11-21 04:00:00 +0000 UTC`, from seconds since 1970.
pub(crate) fn go_time(seconds: i64) -> String {
    if is_zero_time(seconds) {
        return "0001-01-01 00:00:00 +0000 UTC".to_owned();
    }
    Timestamp::from_seconds(seconds).format_go_string()
}

/// As [`go_time`], from RFC 3339, with decimals if there are any.
pub(crate) fn go_time_of(text: &str) -> String {
    match Timestamp::parse_rfc3339(text) {
        Some(time) => {
            let text = time.format_rfc3339_nano();
            format!("{} +0000 UTC", text.trim_end_matches('Z').replacen('T', " ", 1))
        }
        None => go_time(ZERO_TIME_SECONDS),
    }
}

/// `Tue Sep 15 11:02:57 2026`, from RFC 3339.
pub(crate) fn ansi_date(text: &str) -> Option<String> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = Timestamp::parse_rfc3339(text)?;
    let whole = Timestamp::from_seconds(time.seconds()).format_rfc3339_nano();
    let (date, clock) = whole.trim_end_matches('Z').split_once('T')?;
    let (year, rest) = date.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let weekday = usize::try_from(time.seconds().div_euclid(86_400).rem_euclid(7)).ok()?;
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    let day = day.trim_start_matches('0');
    Some(format!("{} {month} {day:>2} {clock} {year}", DAYS.get(weekday)?))
}

/// `1.24MB`, three digits.
pub(crate) fn short_size(bytes: i64) -> String {
    signed(bytes, size::format_decimal_short)
}

/// `1.235MB`, four digits.
pub(crate) fn long_size(bytes: i64) -> String {
    signed(bytes, size::format_decimal)
}

fn signed(bytes: i64, format: fn(u64) -> String) -> String {
    // go-units does not scale what is negative.
    if bytes < 0 { format!("{bytes}B") } else { format(bytes.unsigned_abs()) }
}

/// The first twelve digits, without `sha256:`.
pub(crate) fn short(id: &str) -> &str {
    let id = id.split_once(':').map_or(id, |(_, digits)| digits);
    id.get(..12).unwrap_or(id)
}

/// At most `length` characters, the last of them `…` if some are missing.
pub(crate) fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept: String = text.chars().take(length.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `k=v,k2=v2`, sorted.
pub(crate) fn labels<'l>(
    labels: Option<impl IntoIterator<Item = (&'l String, &'l String)>>,
) -> String {
    let mut pairs: Vec<String> =
        labels.into_iter().flatten().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

/// A key by which `a9` stands before `a80`: numbers as numbers, the rest as text.
pub(crate) fn natural(text: &str) -> Vec<(String, Option<u64>)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let words = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(words);
        let digits = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        let (number, behind) = behind.split_at(digits);
        // What is longer than any number comes last.
        let number = (!number.is_empty()).then(|| number.parse().unwrap_or(u64::MAX));
        parts.push((word.to_owned(), number));
        rest = behind;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gos() {
        assert_eq!(ansi_date("2026-09-05T11:02:57.5Z").unwrap(), "Sat Sep  5 11:02:57 2026");
        assert_eq!(ansi_date("1970-01-01T00:00:00Z").unwrap(), "Thu Jan  1 00:00:00 1970");
        assert_eq!(ansi_date("yesterday"), None);
        assert_eq!(go_time_of("2026-09-05T11:02:57.500Z"), "2026-09-05 11:02:57.5 +0000 UTC");
        assert_eq!(go_time_of("0001-01-01T00:00:00Z"), "0001-01-01 00:00:00 +0000 UTC");
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let mut names = ["a10", "a9", "b", "a", "10", "9"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["9", "10", "a", "a9", "a10", "b"]);
    }

    #[test]
    fn what_is_too_long_ends_in_dots() {
        assert_eq!(ellipsis("abcdef", 6), "abcdef");
        assert_eq!(ellipsis("abcdefg", 6), "abcde…");
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(long_size(-1), "-1B");
    }
}

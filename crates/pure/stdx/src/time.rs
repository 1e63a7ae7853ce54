//! Points in time, in the notations of the Docker API: RFC 3339 and seconds since 1970.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

const NANOS: i64 = 1_000_000_000;

/// Nanoseconds since 1970, UTC. Reaches from 1677 to 2262.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A text is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse value as time or duration: \"{0}\"")]
pub struct InvalidTime(pub String);

impl Timestamp {
    /// From nanoseconds since 1970.
    pub const fn from_nanos(nanos: i64) -> Self {
        Timestamp(nanos)
    }

    /// From seconds since 1970; what does not fit becomes the nearest that does.
    pub const fn from_seconds(seconds: i64) -> Self {
        Timestamp(seconds.saturating_mul(NANOS))
    }

    /// From the system's clock reading, which is the caller's.
    pub fn from_system(time: std::time::SystemTime) -> Self {
        match time.duration_since(std::time::UNIX_EPOCH) {
            Ok(after) => Timestamp(i64::try_from(after.as_nanos()).unwrap_or(i64::MAX)),
            Err(before) => {
                Timestamp(i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n))
            }
        }
    }

    /// Nanoseconds since 1970.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS)
    }

    /// Nanoseconds within the second.
    pub const fn subsec_nanos(self) -> u32 {
        self.0.rem_euclid(NANOS) as u32
    }

    /// How long after `earlier`; zero if it is not after.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// So much later.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Reads RFC 3339, with any offset and up to nine decimals.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        let (date, time) = text.split_once(['T', 't', ' '])?;
        let days = parse_date(date)?;
        let offset_at = time.find(['Z', 'z', '+', '-'])?;
        let (clock, offset) = time.split_at(offset_at);
        let nanos = parse_clock(clock)?;
        let offset = parse_offset(offset)?;
        let seconds = days.checked_mul(86_400)?.checked_sub(offset)?;
        seconds.checked_mul(NANOS)?.checked_add(nanos).map(Timestamp)
    }

    /// Reads what `--since` and `--until` take: RFC 3339, a date, a date and time without offset (UTC), seconds since 1970 with
    /// decimals, or a Go duration that counts back from `now` (moby `api/types/time.GetTimestamp`).
    ///
    /// # Errors
    /// [`InvalidTime`].
    pub fn parse_user(text: &str, now: Timestamp) -> Result<Timestamp, InvalidTime> {
        if let Ok(back) = crate::duration::parse_go(text)
            && text != "0"
        {
            return Ok(Timestamp(now.0.saturating_sub(back)));
        }
        Timestamp::parse_rfc3339(text)
            .or_else(|| Timestamp::parse_unix(text))
            .or_else(|| parse_local(text))
            .ok_or_else(|| InvalidTime(text.to_owned()))
    }

    /// Reads seconds since 1970, with up to nine decimals.
    pub fn parse_unix(text: &str) -> Option<Timestamp> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
        let whole: i64 = seconds.parse().ok()?;
        let nanos = parse_fraction(fraction)?;
        whole.checked_mul(NANOS)?.checked_add(nanos).map(Timestamp)
    }

    /// `2026-11-21T04:00:00.123456789Z`, without trailing zeros in the fraction, as Go's `time.RFC3339Nano`.
    pub fn format_rfc3339_nano(self) -> String {
        let mut text = self.date_and_clock();
        let nanos = self.subsec_nanos();
        if nanos > 0 {
            let digits = format!("{nanos:09}");
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text.push('Z');
        text
    }

    /// `2026-11-21T04:00:00.123456789Z`, always with nine decimals: Docker's log time stamps.
    pub fn format_fixed(self) -> String {
        format!("{}.{:09}Z", self.date_and_clock(), self.subsec_nanos())
    }

    /// `2026-11-21 04:00:00 +0000 UTC`, as Go's `time.Time.String`.
    pub fn format_go_string(self) -> String {
        format!("{} +0000 UTC", self.date_and_clock().replace('T', " "))
    }

    fn date_and_clock(self) -> String {
        let seconds = self.seconds();
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let clock = seconds.rem_euclid(86_400);
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            clock / 3600,
            clock / 60 % 60,
            clock % 60
        )
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format_rfc3339_nano())
    }
}

fn parse_local(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let clock = match clock.matches(':').count() {
        0 => format!("{clock}:00:00"),
        1 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let seconds = parse_date(date)?.checked_mul(86_400)?;
    seconds.checked_mul(NANOS)?.checked_add(parse_clock(&clock)?).map(Timestamp)
}

fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let (year, month, day) =
        (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    ((1..=12).contains(&month) && (1..=last).contains(&day)).then(|| days(year, month, day))
}

/// Nanoseconds since midnight.
fn parse_clock(text: &str) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) =
        (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second) * NANOS + parse_fraction(fraction)?)
}

fn parse_fraction(text: &str) -> Option<i64> {
    if text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    format!("{text:0<9}").parse().ok()
}

fn parse_offset(text: &str) -> Option<i64> {
    if matches!(text, "Z" | "z") {
        return Some(0);
    }
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let seconds = digits(hours, 2)? * 3600 + digits(minutes, 2)? * 60;
    Some(if text.starts_with('-') { -seconds } else { seconds })
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Days since 1970 of a date of the Gregorian calendar: Howard Hinnant's `days_from_civil`.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of a day since 1970: Howard Hinnant's `civil_from_days`.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc3339_both_ways() {
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2026-11-21T04:00:00.123456789Z", 1_795_233_600_123_456_789),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500_000_000),
            ("1969-12-31T23:59:59Z", -1_000_000_000),
        ] {
            let time = Timestamp::parse_rfc3339(text).unwrap();
            assert_eq!(time.nanos(), nanos, "{text}");
            assert_eq!(time.format_rfc3339_nano(), text);
        }
        let east = Timestamp::parse_rfc3339("2026-11-21T13:00:00+09:00").unwrap();
        assert_eq!(east.format_rfc3339_nano(), "2026-11-21T04:00:00Z");
        for text in [
            "",
            "2026",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.1234567890Z",
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn what_since_takes() {
        let now = Timestamp::from_seconds(1_000_000);
        for (text, seconds) in [
            ("10m", 999_400),
            ("1h", 996_400),
            ("1234.5", 1234),
            ("0", 0),
            ("1970-01-02", 86_400),
            ("1970-01-02T01:00", 90_000),
            ("1970-01-02T00:00:01", 86_401),
        ] {
            assert_eq!(Timestamp::parse_user(text, now).unwrap().seconds(), seconds, "{text}");
        }
        assert!(Timestamp::parse_user("yesterday", now).is_err());
    }

    #[test]
    fn fixed_width_for_logs() {
        assert_eq!(Timestamp::from_nanos(100).format_fixed(), "1970-01-01T00:00:00.000000100Z");
    }
}

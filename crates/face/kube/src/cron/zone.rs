//! Time zones as the system's files have them (RFC 9636): changes in the past, and a rule for the years to come.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ferry_stdx::time::{civil, days};

const DAY: i64 = 86_400;

/// Longest file of a zone.
pub(crate) const MAX_BYTES: u64 = 64 << 10;

/// How far a zone is from UTC, and when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Zone {
    /// From then on, so many seconds east.
    changes: Vec<(i64, i64)>,
    first: i64,
    rule: Option<Rule>,
}

/// Standard time, and summer time with its begin and end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    standard: i64,
    summer: Option<(i64, Turn, Turn)>,
}

/// A day of a year, and the second of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Month, week (5 is the last) and day of the week.
    Week(i64, i64, i64, i64),
    /// Day of the year from zero; `true` leaves out the 29th of February and counts from one.
    Day(i64, bool, i64),
}

impl Zone {
    /// UTC.
    pub(crate) fn utc() -> Self {
        Zone::default()
    }

    /// Reads a file of a zone, as base64.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        Zone::of_file(&STANDARD.decode(text).ok()?)
    }

    /// Reads a file of a zone.
    pub(crate) fn of_file(bytes: &[u8]) -> Option<Self> {
        let first = Head::read(bytes)?;
        if first.version < b'2' {
            return first.zone(4).map(|(zone, _)| zone);
        }
        // The same once more, with longer numbers.
        let second = Head::read(bytes.get(Head::SIZE + first.length(4)?..)?)?;
        let (mut zone, rest) = second.zone(8)?;
        let footer = std::str::from_utf8(rest).ok()?.trim_matches('\n');
        if !footer.is_empty() {
            zone.rule = Some(Rule::parse(footer)?);
        }
        Some(zone)
    }

    /// A zone that is a rule only.
    #[cfg(test)]
    pub(crate) fn of_rule(text: &str) -> Option<Self> {
        Some(Zone { rule: Some(Rule::parse(text)?), ..Zone::default() })
    }

    /// Seconds east of UTC at a time.
    pub(crate) fn offset(&self, at: i64) -> i64 {
        let count = self.changes.partition_point(|(from, _)| *from <= at);
        match (&self.rule, count.checked_sub(1).and_then(|index| self.changes.get(index))) {
            (Some(rule), _) if count == self.changes.len() => rule.offset(at),
            (_, Some((_, offset))) => *offset,
            (_, None) => self.first,
        }
    }
}

/// The head of a file, or of its second part.
struct Head<'b> {
    version: u8,
    /// `isutc`, `isstd`, leap seconds, transitions, types, characters.
    counts: [usize; 6],
    rest: &'b [u8],
}

impl<'b> Head<'b> {
    const SIZE: usize = 44;

    fn read(bytes: &'b [u8]) -> Option<Self> {
        let head = bytes.get(..Self::SIZE)?;
        let mut counts = [0; 6];
        for (count, bytes) in counts.iter_mut().zip(head.get(20..)?.chunks_exact(4)) {
            *count = usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()?;
        }
        let rest = bytes.get(Self::SIZE..)?;
        (head.starts_with(b"TZif")).then_some(Head { version: *head.get(4)?, counts, rest })
    }

    /// Bytes that follow, with numbers of `size` bytes.
    fn length(&self, size: usize) -> Option<usize> {
        let [utc, standard, leap, times, types, characters] = self.counts;
        let parts = [
            (times, size + 1),
            (types, 6),
            (characters, 1),
            (leap, size + 4),
            (standard, 1),
            (utc, 1),
        ];
        parts
            .iter()
            .try_fold(0_usize, |sum, (count, size)| sum.checked_add(count.checked_mul(*size)?))
    }

    /// The zone, and what follows it.
    fn zone(&self, size: usize) -> Option<(Zone, &'b [u8])> {
        let [.., times, types, _] = self.counts;
        let (body, rest) = self.rest.split_at_checked(self.length(size)?)?;
        let (moments, body) = body.split_at_checked(times * size)?;
        let (kinds, body) = body.split_at_checked(times)?;
        let kind = |index: usize| {
            if index >= types {
                return None;
            }
            let bytes = body.get(index * 6..index * 6 + 4)?;
            Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?)))
        };
        let mut changes = Vec::with_capacity(times);
        for (moment, index) in moments.chunks_exact(size).zip(kinds) {
            let at = match moment.try_into() {
                Ok(bytes) => i64::from_be_bytes(bytes),
                Err(_) => i64::from(i32::from_be_bytes(moment.try_into().ok()?)),
            };
            changes.push((at, kind(usize::from(*index))?));
        }
        changes.is_sorted().then_some(())?;
        Some((Zone { changes, first: kind(0)?, rule: None }, rest))
    }
}

impl Rule {
    /// A rule such as `CET-1CEST,M3.5.0,M10.5.0/3`.
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = named(text)?;
        let (standard, rest) = clock(rest)?;
        if name.is_empty() {
            return None;
        }
        if rest.is_empty() {
            return Some(Rule { standard: -standard, summer: None });
        }
        let (_, rest) = named(rest)?;
        let (summer, rest) = match rest.strip_prefix(',') {
            Some(rest) => (standard - 3600, rest),
            None => {
                let (summer, rest) = clock(rest)?;
                (summer, rest.strip_prefix(',')?)
            }
        };
        let (begin, end) = rest.split_once(',')?;
        let summer = Some((-summer, Turn::parse(begin)?, Turn::parse(end)?));
        Some(Rule { standard: -standard, summer })
    }

    fn offset(&self, at: i64) -> i64 {
        let Some((summer, begin, end)) = self.summer else { return self.standard };
        let (year, ..) = civil((at + self.standard).div_euclid(DAY));
        let begin = begin.of(year) - self.standard;
        let end = end.of(year) - summer;
        // In the south summer lies over the turn of the year.
        let is_summer =
            if begin < end { (begin..end).contains(&at) } else { !(end..begin).contains(&at) };
        if is_summer { summer } else { self.standard }
    }
}

/// The name of a time, and the rest.
fn named(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>'),
        None => {
            let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
            text.split_at_checked(end)
        }
    }
}

/// `[+-]hh[:mm[:ss]]` in seconds, and the rest.
fn clock(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !matches!(c, '0'..='9' | ':' | '+' | '-')).unwrap_or(text.len());
    let (words, rest) = text.split_at_checked(end)?;
    let (sign, digits) = match words.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, words.strip_prefix('+').unwrap_or(words)),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        let number: i64 = part.parse::<u16>().ok().filter(|number| *number <= 167)?.into();
        seconds += number * unit;
        unit /= 60;
    }
    Some((sign * seconds, rest))
}

impl Turn {
    fn parse(text: &str) -> Option<Self> {
        let (day, second) = match text.split_once('/') {
            Some((day, time)) => (day, clock(time).filter(|(_, rest)| rest.is_empty())?.0),
            None => (text, 7200),
        };
        if let Some(parts) = day.strip_prefix('M') {
            let numbers: Vec<i64> =
                parts.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let [month @ 1..=12, week @ 1..=5, day @ 0..=6] = numbers[..] else { return None };
            return Some(Turn::Week(month, week, day, second));
        }
        let (is_julian, number) = match day.strip_prefix('J') {
            Some(number) => (true, number),
            None => (false, day),
        };
        let number = number.parse().ok().filter(|number| (0..=365).contains(number))?;
        Some(Turn::Day(number, is_julian, second))
    }

    /// Seconds since 1970, by the clock on the wall.
    fn of(self, year: i64) -> i64 {
        let (day, second) = match self {
            Turn::Week(month, week, weekday, second) => {
                let first = days(year, month, 1);
                let next =
                    if month == 12 { days(year + 1, 1, 1) } else { days(year, month + 1, 1) };
                let mut day = first + (weekday - (first + 4)).rem_euclid(7) + (week - 1) * 7;
                while day >= next {
                    day -= 7;
                }
                (day, second)
            }
            Turn::Day(number, false, second) => (days(year, 1, 1) + number, second),
            Turn::Day(number, true, second) => {
                let leap = days(year, 3, 1) - days(year, 2, 1) == 29 && number >= 60;
                (days(year, 1, 1) + number - 1 + i64::from(leap), second)
            }
        };
        day * DAY + second
    }
}

#[cfg(test)]
mod tests {
    use ferry_stdx::time::Timestamp;

    use super::*;

    fn at(text: &str) -> i64 {
        Timestamp::parse_rfc3339(text).unwrap().seconds()
    }

    #[test]
    fn rules() {
        let hours = |rule: &str, time: &str| Zone::of_rule(rule).unwrap().offset(at(time)) / 60;
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(hours(berlin, "2026-03-29T00:59:59Z"), 60);
        assert_eq!(hours(berlin, "2026-03-29T01:00:00Z"), 120);
        assert_eq!(hours(berlin, "2026-10-25T00:59:59Z"), 120);
        assert_eq!(hours(berlin, "2026-10-25T01:00:00Z"), 60);
        let sydney = "AEST-10AEDT,M10.1.0,M4.1.0/3";
        assert_eq!(hours(sydney, "2026-01-01T00:00:00Z"), 660);
        assert_eq!(hours(sydney, "2026-07-01T00:00:00Z"), 600);
        assert_eq!(hours("<+0545>-5:45", "2026-07-01T00:00:00Z"), 345);
        assert_eq!(hours("EST5EDT,J60/0,J300/0", "2026-03-01T05:00:00Z"), -240);
        for wrong in ["", "5", "CET-1CEST", "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,M3.5.0"] {
            assert_eq!(Zone::of_rule(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn files() {
        // One of version 1: three hours before 1970, four after it.
        let mut file = b"TZif".to_vec();
        file.extend([0; 16]);
        for count in [0_u32, 0, 0, 1, 2, 4] {
            file.extend(count.to_be_bytes());
        }
        file.extend(0_i32.to_be_bytes());
        file.push(1);
        for offset in [10_800_i32, 14_400] {
            file.extend(offset.to_be_bytes());
            file.extend([0, 0]);
        }
        file.extend(b"ABC\0");
        let zone = Zone::of_file(&file).unwrap();
        assert_eq!((zone.offset(-1), zone.offset(0)), (10_800, 14_400));
        // Of version 2: the first part counts for nothing, and there is a rule.
        let mut new = file.clone();
        new[4] = b'2';
        let mut second = new.clone();
        second.splice(44..48, 0_i64.to_be_bytes());
        new.extend(second);
        new.extend(b"\nABC-2\n");
        let zone = Zone::of_file(&new).unwrap();
        assert_eq!((zone.offset(-1), zone.offset(0)), (10_800, 7_200));
        for cut in 0..new.len() - 7 {
            assert_eq!(Zone::of_file(&new[..cut]), None, "{cut}");
        }
    }
}

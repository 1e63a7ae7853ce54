//! Schedules as cron has them: five fields, or a word for them. Pure: time is an argument.

use super::zone::Zone;

/// How far ahead the next time is looked for: a schedule such as the 30th of February has none.
const HORIZON: i64 = 5 * 366 * DAY;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// When something is to happen, to the minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both fields of days are restricted: either is enough.
    either: bool,
}

impl Schedule {
    /// Reads a schedule.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("\"{text}\" is no schedule: {why}");
        let text_of = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        if text_of.contains("TZ=") {
            return Err(wrong("say timeZone instead of TZ"));
        }
        let words: Vec<&str> = text_of.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = words.as_slice() else {
            return Err(wrong("it has five fields"));
        };
        let read = |word: &str, range: (u32, u32), names: &[&str]| {
            field(word, range, names).ok_or_else(|| wrong(&format!("\"{word}\"")))
        };
        let (days, any_day) = read(day, (1, 31), &[])?;
        let (weekdays, any_weekday) = read(weekday, (0, 7), &DAYS)?;
        Ok(Schedule {
            minutes: read(minute, (0, 59), &[])?.0,
            hours: read(hour, (0, 23), &[])?.0,
            days,
            months: read(month, (1, 12), &MONTHS)?.0,
            // Sunday has two numbers.
            weekdays: weekdays | (weekdays >> 7),
            either: !any_day && !any_weekday,
        })
    }

    /// The first time after `after`, in seconds since 1970.
    pub(crate) fn next(&self, after: i64, zone: &Zone) -> Option<i64> {
        let mut at = after - after.rem_euclid(MINUTE) + MINUTE;
        let end = after.saturating_add(HORIZON);
        while at <= end {
            let local = at + zone.offset(at);
            let (day, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
            if !self.has_day(day) || !has(self.hours, second / HOUR) {
                // No further than to the next hour, so that a day of 23 hours is not stepped over.
                at += HOUR - second.rem_euclid(HOUR);
            } else if !has(self.minutes, second % HOUR / MINUTE) {
                at += MINUTE;
            } else {
                return Some(at);
            }
        }
        None
    }

    fn has_day(&self, days: i64) -> bool {
        let (_, month, day) = ferry_stdx::time::civil(days);
        // 1970 began with a Thursday.
        let (of_month, of_week) =
            (has(self.days, day), has(self.weekdays, (days + 4).rem_euclid(7)));
        let day = if self.either { of_month || of_week } else { of_month && of_week };
        has(self.months, month) && day
    }
}

fn has(set: u64, number: i64) -> bool {
    u32::try_from(number)
        .is_ok_and(|number| set.checked_shr(number).is_some_and(|rest| rest & 1 == 1))
}

/// A field: the numbers in it as bits, and whether it is any.
fn field(text: &str, (low, high): (u32, u32), names: &[&str]) -> Option<(u64, bool)> {
    let (mut set, mut any) = (0, false);
    let number = |text: &str| {
        let name = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        // Months are counted from one, days from zero: as their fields are.
        let number = match name {
            Some(index) => low + u32::try_from(index).ok()?,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (low..=high).contains(&number).then_some(number)
    };
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, Some(step.parse::<u32>().ok().filter(|step| *step > 0)?))
            }
            None => (part, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => {
                any |= step.is_none_or(|step| step == 1);
                (low, high)
            }
            Some((first, last)) => (number(first)?, number(last)?),
            // "5/10" is from five on.
            None => (number(range)?, if step.is_some() { high } else { number(range)? }),
        };
        if first > last {
            return None;
        }
        let step = usize::try_from(step.unwrap_or(1)).ok()?;
        set = (first..=last).step_by(step).fold(set, |set, number| set | 1 << number);
    }
    Some((set, any))
}

#[cfg(test)]
mod tests {
    use ferry_stdx::time::Timestamp;

    use super::*;

    fn next(schedule: &str, after: &str, zone: &Zone) -> Option<String> {
        let after = Timestamp::parse_rfc3339(after).unwrap().seconds();
        let at = Schedule::parse(schedule).unwrap().next(after, zone)?;
        Some(Timestamp::from_seconds(at).format_rfc3339_nano())
    }

    #[test]
    fn the_next_time() {
        let utc = Zone::utc();
        for (schedule, after, expected) in [
            ("* * * * *", "2026-11-22T08:00:00Z", "2026-11-22T08:01:00Z"),
            ("*/15 * * * *", "2026-11-22T08:01:30Z", "2026-11-22T08:15:00Z"),
            ("5/20 * * * *", "2026-11-22T08:05:00Z", "2026-11-22T08:25:00Z"),
            ("30 3 * * *", "2026-11-22T08:00:00Z", "2026-11-23T03:30:00Z"),
            ("0 0 29 2 *", "2026-11-22T08:00:00Z", "2028-02-29T00:00:00Z"),
            ("0 9 * * mon-fri", "2026-11-22T08:00:00Z", "2026-11-23T09:00:00Z"),
            ("0 9 * * 7", "2026-11-22T10:00:00Z", "2026-11-29T09:00:00Z"),
            ("0 0 1 jan,JUL ?", "2026-11-22T08:00:00Z", "2027-01-01T00:00:00Z"),
            // Either the 24th or a Tuesday.
            ("0 0 25 * tue", "2026-11-22T08:00:00Z", "2026-11-24T00:00:00Z"),
            ("0 0 23 * tue", "2026-11-22T08:00:00Z", "2026-11-23T00:00:00Z"),
            ("@hourly", "2026-11-22T08:59:59Z", "2026-11-22T09:00:00Z"),
            ("@yearly", "2026-11-22T08:59:59Z", "2027-01-01T00:00:00Z"),
        ] {
            assert_eq!(next(schedule, after, &utc).as_deref(), Some(expected), "{schedule}");
        }
        assert_eq!(next("0 0 30 2 *", "2026-11-22T08:00:00Z", &utc), None);
    }

    #[test]
    fn in_a_zone_with_summer_time() {
        let berlin = Zone::of_rule("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let at = |schedule: &str, after: &str| next(schedule, after, &berlin).unwrap();
        assert_eq!(at("0 9 * * *", "2026-11-22T08:00:00Z"), "2026-11-23T08:00:00Z");
        assert_eq!(at("0 9 * * *", "2026-07-01T08:00:00Z"), "2026-07-02T07:00:00Z");
        // 02:30 is not there on the day when clocks go forward.
        assert_eq!(at("30 2 * * *", "2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z");
        assert_eq!(at("0 0 * * *", "2026-03-29T12:00:00Z"), "2026-03-29T22:00:00Z");
    }

    #[test]
    fn what_is_no_schedule() {
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "a * * * *",
            "@often",
            "TZ=UTC * * * *",
            "1- * * * *",
            ", * * * *",
            "+1 * * * *",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
    }
}

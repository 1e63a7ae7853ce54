//! When a cron job starts a job. Pure: time is an argument.

pub(crate) mod schedule;
pub(crate) mod zone;

use self::{schedule::Schedule, zone::Zone};

/// Times that are looked through for the last one that was missed.
const MAX_MISSED: usize = 100;

/// What a moment asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing until then, if there is a next time at all.
    Later(Option<i64>),
    /// A job, for this time.
    Now(i64),
    /// Times that are too long ago, up to this one.
    Missed(i64),
}

/// What is due `now`, after `last`; `patience` is how late a start may be.
pub(crate) fn due(
    schedule: &Schedule,
    zone: &Zone,
    last: i64,
    now: i64,
    patience: Option<i64>,
) -> Due {
    // Nobody looks through years of minutes: what is older than the patience counts for nothing anyway.
    let from = patience.map_or(last, |patience| last.max(now - patience - 1));
    let Some(mut at) = schedule.next(from, zone) else { return Due::Later(None) };
    if at > now {
        return if from > last && schedule.next(last, zone).is_some_and(|missed| missed <= from) {
            Due::Missed(from)
        } else {
            Due::Later(Some(at))
        };
    }
    for _ in 0..MAX_MISSED {
        match schedule.next(at, zone) {
            Some(next) if next <= now => at = next,
            _ => return Due::Now(at),
        }
    }
    // As a cluster does it: after so many nobody knows what is wanted.
    Due::Missed(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_missed_time_counts() {
        let (hourly, zone) = (Schedule::parse("@hourly").unwrap(), Zone::utc());
        let at = |last, now, patience| due(&hourly, &zone, last, now, patience);
        assert_eq!(at(0, 3599, None), Due::Later(Some(3600)));
        assert_eq!(at(0, 3600, None), Due::Now(3600));
        assert_eq!(at(0, 3 * 3600 + 5, None), Due::Now(3 * 3600));
        assert_eq!(at(3600, 3600, None), Due::Later(Some(7200)));
        // Late, and too late.
        assert_eq!(at(0, 3630, Some(60)), Due::Now(3600));
        assert_eq!(at(0, 3700, Some(60)), Due::Missed(3639));
        assert_eq!(at(3639, 3700, Some(60)), Due::Later(Some(7200)));
        assert_eq!(at(0, 200 * 3600, None), Due::Missed(200 * 3600));
        let never = Schedule::parse("0 0 30 2 *").unwrap();
        assert_eq!(due(&never, &zone, 0, 10, None), Due::Later(None));
    }
}

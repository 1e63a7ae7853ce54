//! Signals by name and number, as `kill` and `--stop-signal` take them.

use ferry_errkind::{ErrorKind, Failure};

pub(crate) const KILL: i32 = 9;
pub(crate) const TERM: i32 = 15;

/// signal(7), x86 and ARM numbers.
const NAMES: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The largest signal number, SIGRTMAX.
const LAST: i32 = 64;
/// The first real-time signal that programs may use, with glibc's and musl's threads.
const RTMIN: i32 = 34;

/// Reads `TERM`, `SIGTERM`, `15` or `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<i32, Failure> {
    let invalid = || Failure::new(ErrorKind::InvalidArgument, format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) { Ok(number) } else { Err(invalid()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Ok(*number);
    }
    let offset = |rest: &str| if rest.is_empty() { Some(0) } else { rest.get(1..)?.parse().ok() };
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) if rest.is_empty() || rest.starts_with('+') => {
            offset(rest).map(|by: i32| RTMIN + by)
        }
        (_, Some(rest)) if rest.is_empty() || rest.starts_with('-') => {
            offset(rest).map(|by: i32| LAST - by)
        }
        _ => None,
    };
    number.filter(|number| (RTMIN..=LAST).contains(number)).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("9", 9),
            ("KILL", 9),
            ("sigterm", 15),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("RTMAX-1", 63),
        ] {
            assert_eq!(parse(text).ok(), Some(number), "{text}");
        }
        for text in ["", "0", "65", "-1", "NOPE", "RTMIN+99", "RTMIN-1", "SIG"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

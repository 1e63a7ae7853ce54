//! Signals by name and number.

use ferry_errkind::Failure;

use crate::report::invalid;

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The first and the last real-time signal, as the C library has them.
const REAL_TIME: (i32, i32) = (34, 64);

/// `SIGTERM`, `term`, `15`, `RTMIN+1`, …
pub(crate) fn parse(text: &str) -> Result<i32, Failure> {
    let unknown = || invalid(format!("unknown signal {text:?}"));
    if let Ok(number) = text.parse::<i32>() {
        return if (0..=REAL_TIME.1).contains(&number) { Ok(number) } else { Err(unknown()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(index + 1).map_err(|_| unknown());
    }
    let offset = |text: &str, sign: char| match text.strip_prefix(sign) {
        Some(number) => number.parse::<i32>().ok(),
        None if text.is_empty() => Some(0),
        None => None,
    };
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        offset(rest, '+').map(|offset| REAL_TIME.0.saturating_add(offset))
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        offset(rest, '-').map(|offset| REAL_TIME.1.saturating_sub(offset))
    } else {
        None
    };
    number.filter(|number| (REAL_TIME.0..=REAL_TIME.1).contains(number)).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in
            [("TERM", 15), ("sigkill", 9), ("9", 9), ("SYS", 31), ("RTMIN", 34), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for wrong in ["FOO", "65", "-1", "RTMIN+99", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

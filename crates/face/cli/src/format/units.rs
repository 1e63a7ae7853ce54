//! Times and identifiers, as docker's tables show them.

use std::time::{Duration, SystemTime};

use ferry_stdx::{duration, time::Timestamp};

/// Now: the command line is the only part of the product that compares with the user's clock.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

/// `2 hours ago`; `N/A` for what never was.
pub(crate) fn ago(time: Option<Timestamp>) -> String {
    match time {
        Some(time) => format!("{} ago", duration::human(now().since(time))),
        None => "N/A".to_owned(),
    }
}

/// A span as docker words it.
pub(crate) fn span(seconds: u64) -> String {
    duration::human(Duration::from_secs(seconds))
}

/// The first twelve digits, without `sha256:`.
pub(crate) fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
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
pub(crate) fn labels<'l>(labels: impl Iterator<Item = (&'l String, &'l String)>) -> String {
    let mut pairs: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

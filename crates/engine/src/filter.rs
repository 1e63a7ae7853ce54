//! Filters that several nouns share: labels, and what a `prune` may take.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_stdx::time::Timestamp;

/// Which things a `prune` may take.
#[derive(Debug)]
pub(crate) struct Prune<'a> {
    until: Option<Timestamp>,
    labels: &'a [String],
    without: &'a [String],
}

impl<'a> Prune<'a> {
    pub(crate) fn read(
        filters: &'a BTreeMap<String, Vec<String>>,
        now: Timestamp,
    ) -> Result<Self, Failure> {
        let values = |key: &str| filters.get(key).map(Vec::as_slice).unwrap_or_default();
        let until = match values("until") {
            [] => None,
            [text] => Some(
                Timestamp::parse_user(text, now)
                    .map_err(|error| Failure::new(ErrorKind::InvalidArgument, error.to_string()))?,
            ),
            _ => {
                let words = "more than one until filter specified";
                return Err(Failure::new(ErrorKind::InvalidArgument, words));
            }
        };
        Ok(Prune { until, labels: values("label"), without: values("label!") })
    }

    pub(crate) fn accepts(&self, created: Timestamp, labels: &BTreeMap<String, String>) -> bool {
        self.until.is_none_or(|until| created < until)
            && self.labels.iter().all(|wanted| has_label(labels, wanted))
            && !self.without.iter().any(|unwanted| has_label(labels, unwanted))
    }
}

/// `key` or `key=value`.
pub(crate) fn has_label(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|own| own == value),
        None => labels.contains_key(wanted),
    }
}

/// Go's `ParseBool`, for filters such as `dangling`.
pub(crate) fn flag(name: &str, text: &str) -> Result<bool, Failure> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(Failure::new(
            ErrorKind::InvalidArgument,
            format!("invalid filter '{name}=[{text}]'"),
        )),
    }
}

/// Docker takes a regular expression here; what people write is a part of the name, perhaps anchored.
pub(crate) fn name_matches(own: &str, wanted: &str) -> bool {
    let (wanted, start) = match wanted.strip_prefix('^') {
        Some(rest) => (rest, true),
        None => (wanted, false),
    };
    let (wanted, end) = match wanted.strip_suffix('$') {
        Some(rest) => (rest, true),
        None => (wanted, false),
    };
    let wanted = wanted.strip_prefix('/').unwrap_or(wanted);
    match (start, end) {
        (true, true) => own == wanted,
        (true, false) => own.starts_with(wanted),
        (false, true) => own.ends_with(wanted),
        (false, false) => own.contains(wanted),
    }
}

//! Filters that several nouns share: labels, and what a `prune` may take.

use std::collections::BTreeMap;

use ferry_errkind::{ErrorKind, Failure};
use ferry_stdx::time::Timestamp;
use regex_automata::nfa::thompson::{NFA, pikevm::PikeVM};

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

/// A filter that is a flag and can be given once.
pub(crate) fn one_flag(name: &str, values: &[String]) -> Result<bool, Failure> {
    match values {
        [one] => flag(name, one),
        _ => flag(name, &values.join(" ")),
    }
}

/// Longest regular expression that is taken, and what it may grow to.
const MAX_PATTERN: usize = 1024;
const MAX_SIZE: usize = 1 << 20;

/// The `name` filter: regular expressions, one of which is found in the name.
#[derive(Debug)]
pub(crate) struct Names(Option<Vec<Name>>);

#[derive(Debug)]
enum Name {
    /// What people write: a part of the name, perhaps anchored.
    Literal {
        text: String,
        start: bool,
        end: bool,
    },
    Pattern(Box<PikeVM>),
    /// What does not read finds nothing, as in Docker, unless it is the whole name.
    Whole(String),
}

impl Names {
    /// Without the filter every name matches.
    pub(crate) fn read(values: Option<&Vec<String>>) -> Names {
        Names(values.map(|values| values.iter().map(|text| Name::read(text)).collect()))
    }

    /// A container's name is found with and without the slash that Docker writes before it.
    pub(crate) fn matches(&self, own: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.iter().any(|name| name.matches(own)))
    }
}

impl Name {
    fn read(text: &str) -> Name {
        let (inner, start) = text.strip_prefix('^').map_or((text, false), |rest| (rest, true));
        let (inner, end) = inner.strip_suffix('$').map_or((inner, false), |rest| (rest, true));
        let inner = inner.strip_prefix('/').unwrap_or(inner);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if inner.bytes().all(is_plain) {
            return Name::Literal { text: inner.to_owned(), start, end };
        }
        let config = NFA::config().nfa_size_limit(Some(MAX_SIZE));
        let machine = PikeVM::builder().thompson(config).build(text);
        match machine {
            Ok(machine) if text.len() <= MAX_PATTERN => Name::Pattern(Box::new(machine)),
            _ => Name::Whole(text.to_owned()),
        }
    }

    fn matches(&self, own: &str) -> bool {
        match self {
            Name::Literal { text, start: true, end: true } => own == text,
            Name::Literal { text, start: true, .. } => own.starts_with(text),
            Name::Literal { text, end: true, .. } => own.ends_with(text),
            Name::Literal { text, .. } => own.contains(text.as_str()),
            Name::Pattern(machine) => {
                let mut cache = machine.create_cache();
                machine.is_match(&mut cache, own)
                    || machine.is_match(&mut cache, format!("/{own}").as_str())
            }
            Name::Whole(text) => own == text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, own: &str) -> bool {
        Names::read(Some(&vec![pattern.to_owned()])).matches(own)
    }

    #[test]
    fn names_by_part_and_anchors() {
        assert!(found("web", "my-web") && found("^web", "web2") && found("b2$", "web2"));
        assert!(found("^/web$", "web") && !found("^web$", "web2"));
        assert!(Names::read(None).matches("web"));
        assert!(!Names::read(Some(&Vec::new())).matches("web"));
    }

    #[test]
    fn names_by_regular_expressions() {
        assert!(found("^w.b$", "web") && !found("^w.b$", "weeb"));
        assert!(found("shop_(web|db)-[0-9]+$", "shop_db-12") && !found("(web|db)$", "cache"));
        assert!(found("^/we.$", "web") && found("a.b", "a.b"));
        // Not to be read, and not to be kept.
        assert!(!found("[", "web") && !found("(((a{1000}){1000}){1000})", "a"));
        assert!(!found(&format!("{}.", "a?".repeat(600)), "a"));
    }
}

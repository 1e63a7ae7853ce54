//! Rules as the user writes them.

use std::{str::FromStr, time::Duration};

use ferry_oci::Reference;
use ferry_registry_store::{Pattern, seconds};

use crate::proxy::Address;

/// How often a mirror looks when the rule does not say.
const EVERY: Duration = Duration::from_secs(3600);

/// `[PREFIX=]https://HOST/REPOSITORY[:TAG][,every=1h][,delete]`.
#[derive(Debug, Clone)]
pub(crate) struct MirrorRule {
    pub(crate) text: String,
    /// The registry, and what all names here begin with.
    pub(crate) address: Address,
    /// Of their names, with `*`.
    pub(crate) repository: String,
    pub(crate) pattern: Pattern,
    pub(crate) every: Duration,
    /// Tags that they have no longer go here, too.
    pub(crate) delete: bool,
}

/// `REPOSITORY[:TAG]=https://HOST[/PREFIX][,delete]`.
#[derive(Debug, Clone)]
pub(crate) struct ReplicateRule {
    pub(crate) text: String,
    pub(crate) pattern: Pattern,
    /// The registry, and what all names there begin with.
    pub(crate) address: Address,
    /// Tags that we have no longer go there, too.
    pub(crate) delete: bool,
}

impl FromStr for MirrorRule {
    type Err = String;

    fn from_str(text: &str) -> Result<MirrorRule, String> {
        let invalid = |why: &str| format!("invalid mirror rule {text:?}: {why}");
        let mut parts = text.split(',');
        let place = parts.next().unwrap_or_default();
        let form = "write [PREFIX=]https://HOST/REPOSITORY[:TAG][,every=1h][,delete]";
        let (scheme, rest) = place.split_once("://").ok_or_else(|| invalid(form))?;
        let (host, path) = rest.split_once('/').ok_or_else(|| invalid(form))?;
        let (repository, _) = path.split_once(':').unwrap_or((path, "*"));
        if !is_pattern(repository) {
            return Err(invalid("it has no valid name of a repository"));
        }
        let mut rule = MirrorRule {
            text: text.to_owned(),
            address: format!("{scheme}://{host}").parse()?,
            repository: repository.to_owned(),
            pattern: Pattern::new(path),
            every: EVERY,
            delete: false,
        };
        for part in parts {
            match part.split_once('=') {
                None if part == "delete" => rule.delete = true,
                Some(("every", value)) => {
                    let every = seconds(value).filter(|every| *every > 0);
                    let every =
                        every.ok_or_else(|| invalid("every is a number with s, m, h or d"))?;
                    rule.every = Duration::from_secs(every);
                }
                _ => return Err(invalid(&format!("nothing is called {part} there"))),
            }
        }
        Ok(rule)
    }
}

impl FromStr for ReplicateRule {
    type Err = String;

    fn from_str(text: &str) -> Result<ReplicateRule, String> {
        let invalid = |why: &str| format!("invalid replicate rule {text:?}: {why}");
        let mut parts = text.split(',');
        let form = "write REPOSITORY[:TAG]=https://HOST[/PREFIX][,delete]";
        let (pattern, url) =
            parts.next().and_then(|place| place.split_once('=')).ok_or_else(|| invalid(form))?;
        let (repository, _) = pattern.split_once(':').unwrap_or((pattern, "*"));
        if !is_pattern(repository) {
            return Err(invalid("it has no valid name of a repository"));
        }
        let mut rule = ReplicateRule {
            text: text.to_owned(),
            pattern: Pattern::new(pattern),
            address: url.parse()?,
            delete: false,
        };
        for part in parts {
            match part {
                "delete" => rule.delete = true,
                _ => return Err(invalid(&format!("nothing is called {part} there"))),
            }
        }
        Ok(rule)
    }
}

/// A repository's name, in which `*` may stand for any characters.
fn is_pattern(text: &str) -> bool {
    text == "*" || Reference::is_repository(&text.replace('*', "x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let mirror = |text: &str| text.parse::<MirrorRule>();
        let rule = mirror("hub=https://docker.io/library/alpine:3.*,every=10m,delete").unwrap();
        assert_eq!(
            (rule.address.prefix.as_str(), rule.address.domain.as_str()),
            ("hub", "docker.io")
        );
        assert_eq!(
            (rule.repository.as_str(), rule.every.as_secs(), rule.delete),
            ("library/alpine", 600, true)
        );
        assert!(
            rule.pattern.matches("library/alpine", "3.20")
                && !rule.pattern.matches("library/alpine", "2")
        );
        let rule = mirror("http://127.0.0.1:5000/team/*").unwrap();
        assert_eq!((rule.repository.as_str(), rule.every), ("team/*", EVERY));
        for wrong in [
            "https://host",
            "https://host/",
            "host/a",
            "https://host/a,often",
            "https://host/a,every=0s",
            "https://host/A",
            "",
        ] {
            assert!(mirror(wrong).is_err(), "{wrong}");
        }
        let replicate = |text: &str| text.parse::<ReplicateRule>();
        let rule = replicate("team/*:v*=https://other.example.com/copies,delete").unwrap();
        assert!(
            rule.pattern.matches("team/a", "v1")
                && !rule.pattern.matches("team/a", "w")
                && rule.delete
        );
        assert_eq!(rule.address.below, "copies");
        for wrong in
            ["team", "team=host", "=https://host", "A=https://host", "a=https://host,every=1h"]
        {
            assert!(replicate(wrong).is_err(), "{wrong}");
        }
    }
}

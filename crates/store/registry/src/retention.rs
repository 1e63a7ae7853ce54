//! Which tags stay and which go: patterns, immutable tags, rules of retention.

use std::str::FromStr;

use ferry_db::Batch;
use ferry_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Store, StoreError,
    records::{TAGS, TagRecord, key},
    store::now,
};

/// `repository:tag`, where `*` stands for any characters. Without a colon, any tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    repository: String,
    tag: String,
}

impl Pattern {
    /// Reads it.
    pub fn new(text: &str) -> Pattern {
        let (repository, tag) = text.split_once(':').unwrap_or((text, "*"));
        Pattern { repository: repository.to_owned(), tag: tag.to_owned() }
    }

    /// Whether it may mean tags of this repository.
    pub fn means(&self, repository: &str) -> bool {
        fits(&self.repository, repository)
    }

    /// Whether it means this tag.
    pub fn matches(&self, repository: &str, tag: &str) -> bool {
        fits(&self.repository, repository) && fits(&self.tag, tag)
    }
}

/// Whether `text` fits a pattern with `*`. In time proportional to the product of the lengths at worst.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut in_text) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, in_text));
            at += 1;
        } else if pattern.get(at) == text.get(in_text) {
            at += 1;
            in_text += 1;
        } else if let Some((star_at, taken)) = star {
            star = Some((star_at, taken + 1));
            at = star_at + 1;
            in_text = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Of the tags that a pattern means, those go that are not among the newest `keep` and are older than `older` seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which tags it is about.
    pub pattern: Pattern,
    /// So many of a repository stay, the newest.
    pub keep: Option<usize>,
    /// Younger ones stay, in seconds.
    pub older: Option<u64>,
}

/// A text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid retention rule \"{0}\": write REPOSITORY[:TAG] and ,keep=N or ,older=30d (s, m, h, d) or both"
)]
pub struct InvalidRule(String);

impl FromStr for Rule {
    type Err = InvalidRule;

    /// `ci/*:pr-*,keep=5,older=30d`.
    fn from_str(text: &str) -> Result<Rule, InvalidRule> {
        let invalid = || InvalidRule(text.to_owned());
        let mut parts = text.split(',');
        let pattern = parts.next().filter(|part| !part.is_empty()).ok_or_else(invalid)?;
        let mut rule = Rule { pattern: Pattern::new(pattern), keep: None, older: None };
        for part in parts {
            let (name, value) = part.split_once('=').ok_or_else(invalid)?;
            match name {
                "keep" => rule.keep = Some(value.parse().map_err(|_| invalid())?),
                "older" => rule.older = Some(seconds(value).ok_or_else(invalid)?),
                _ => return Err(invalid()),
            }
        }
        // A rule that would take everything away is a mistake.
        if rule.keep.is_none() && rule.older.is_none() { Err(invalid()) } else { Ok(rule) }
    }
}

/// Reads `90`, `90s`, `5m`, `12h`, `30d`.
pub fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (_, digit) if digit.is_ascii_digit() => (text, 1),
        (at, 's') => (text.get(..at)?, 1),
        (at, 'm') => (text.get(..at)?, 60),
        (at, 'h') => (text.get(..at)?, 3600),
        (at, 'd') => (text.get(..at)?, 86400),
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A tag that a rule took away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// Of which repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// Where it pointed.
    pub digest: Digest,
}

impl Rule {
    /// Which of a repository's tags go.
    fn expired(&self, repository: &str, tags: &[(String, TagRecord)], now: u64) -> Vec<Expired> {
        let mut meant: Vec<&(String, TagRecord)> =
            tags.iter().filter(|(tag, _)| self.pattern.matches(repository, tag)).collect();
        meant.sort_by(|(one, a), (other, b)| b.at.cmp(&a.at).then_with(|| other.cmp(one)));
        meant
            .into_iter()
            .skip(self.keep.unwrap_or(0))
            .filter(|(_, record)| {
                self.older.is_none_or(|older| record.at < now.saturating_sub(older))
            })
            .map(|(tag, record)| Expired {
                repository: repository.to_owned(),
                tag: tag.clone(),
                digest: record.digest.clone(),
            })
            .collect()
    }
}

impl Store {
    /// Takes the tags away that rules do not keep. Immutable ones stay, and so does one that was pushed again meanwhile. With
    /// `dry`, only says which.
    ///
    /// # Errors
    /// When the records cannot be used.
    pub fn expire(&self, rules: &[Rule], dry: bool) -> Result<Vec<Expired>, StoreError> {
        let mut gone = Vec::new();
        for repository in self.repositories("", usize::MAX)? {
            let mut tags = self.tag_records(&repository, "", usize::MAX)?;
            // They stay anyway, and are not counted among those that are kept.
            tags.retain(|(tag, _)| !self.is_immutable(&repository, tag));
            for rule in rules {
                for expired in rule.expired(&repository, &tags, now()) {
                    if gone.contains(&expired) {
                        continue;
                    }
                    if dry || self.remove_expired(&expired, &tags)? {
                        gone.push(expired);
                    }
                }
            }
        }
        Ok(gone)
    }

    fn remove_expired(
        &self,
        expired: &Expired,
        seen: &[(String, TagRecord)],
    ) -> Result<bool, StoreError> {
        let records = self.records();
        let name = key(&expired.repository, &expired.tag);
        let found = records.db.get(&TAGS, &name)?;
        let same =
            seen.iter().any(|(tag, record)| *tag == expired.tag && Some(record) == found.as_ref());
        if same {
            let mut batch = Batch::new();
            batch.delete(&TAGS, &name);
            records.db.write(batch)?;
        }
        Ok(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, repository, tag, fit) in [
            ("app", "app", "1", true),
            ("app", "apps", "1", false),
            ("ci/*", "ci/a/b", "x", true),
            ("*:v*", "a", "v1", true),
            ("*:v*", "a", "1v", false),
            ("a*b*c:*", "axxbyyc", "", true),
            ("a*b*c:*", "axxbyy", "", false),
            ("*", "", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(repository, tag), fit, "{pattern}");
        }
    }

    #[test]
    fn rules_keep_the_newest_and_the_young() {
        let digest = Digest::sha256_of(b"");
        let tag = |name: &str, at| (name.to_owned(), TagRecord { digest: digest.clone(), at });
        let tags = [tag("a", 10), tag("b", 20), tag("c", 30), tag("d", 40)];
        let gone = |rule: &str| -> Vec<String> {
            let rule: Rule = rule.parse().unwrap();
            rule.expired("r", &tags, 50).into_iter().map(|expired| expired.tag).collect()
        };
        assert_eq!(gone("r,keep=2"), ["b", "a"]);
        assert_eq!(gone("r,older=15"), ["c", "b", "a"]);
        assert_eq!(gone("r,keep=2,older=35"), ["a"]);
        assert!(gone("other,keep=0").is_empty());
        assert_eq!("r,older=2d".parse::<Rule>().unwrap().older, Some(172_800));
        for bad in ["", "r", "r,keep", "r,keep=x", "r,what=1", "r,older=1y", "r,older=d"] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }
}

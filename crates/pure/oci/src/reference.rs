//! Image names: `nginx`, `ghcr.io/org/app:1.2@sha256:…`, and what Docker completes them to (distribution/reference).

use std::{fmt, str::FromStr};

use crate::{Digest, DigestError};

const DEFAULT_DOMAIN: &str = "docker.io";
const OLD_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";

/// Longest path of a repository. The domain does not count (as of distribution/reference 0.6).
const MAX_NAME: usize = 255;
/// Longest tag.
const MAX_TAG: usize = 128;
/// Longer texts are refused unread.
const MAX_TEXT: usize = 4096;

/// An image's name, complete: the domain and the path are always there, tag and digest may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text is no image name. The words are distribution/reference's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It does not read.
    #[error("invalid reference format")]
    Format,
    /// The repository has upper-case letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Nothing is left of it.
    #[error("repository name must have at least one component")]
    Empty,
    /// It is too long.
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    /// 64 hexadecimal digits are an id, not a name.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Id(String),
    /// The digest does not read or cannot be checked.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Reads a name as a user writes it and completes it: `nginx` is `docker.io/library/nginx`.
    ///
    /// # Errors
    /// [`ReferenceError`], with Docker's words.
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(ReferenceError::Format);
        }
        if is_hex64(text) {
            return Err(ReferenceError::Id(text.to_owned()));
        }
        let (domain, rest) = split_domain(text);
        let (remote, _) = rest.split_once('@').unwrap_or((&rest, ""));
        let remote_name = match remote.rfind(':') {
            Some(at) if !remote[at..].contains('/') => &remote[..at],
            _ => remote,
        };
        if remote_name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::Uppercase(remote_name.to_owned()));
        }
        parse_complete(&domain, &rest)
    }

    /// Whether `text` can be a repository's path within a registry: `org/app`.
    pub fn is_repository(text: &str) -> bool {
        text.len() <= MAX_NAME && text.split('/').all(is_component)
    }

    /// Whether `text` can be a tag.
    pub fn is_tag(text: &str) -> bool {
        is_tag(text)
    }

    /// The registry: host and perhaps port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// With `latest` when it has neither tag nor digest.
    #[must_use]
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_owned());
        }
        self
    }

    /// With this tag and no digest.
    ///
    /// # Errors
    /// When `tag` is none.
    pub fn with_tag(mut self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Format);
        }
        self.tag = Some(tag.to_owned());
        self.digest = None;
        Ok(self)
    }

    /// With this digest and no tag.
    #[must_use]
    pub fn with_digest(mut self, digest: Digest) -> Reference {
        self.tag = None;
        self.digest = Some(digest);
        self
    }

    /// Without its tag.
    #[must_use]
    pub fn without_tag(mut self) -> Reference {
        self.tag = None;
        self
    }

    /// Without tag and digest.
    #[must_use]
    pub fn without_tag_and_digest(mut self) -> Reference {
        self.tag = None;
        self.digest = None;
        self
    }

    /// The complete name: `docker.io/library/nginx:latest`.
    pub fn canonical(&self) -> String {
        self.suffixed(format!("{}/{}", self.domain, self.path))
    }

    /// The name as Docker shows it: `nginx:latest`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_name())
    }

    /// As [`Reference::familiar`], without tag and digest.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return format!("{}/{}", self.domain, self.path);
        }
        match self.path.strip_prefix(OFFICIAL) {
            Some(short) if !short.contains('/') => short.to_owned(),
            _ => self.path.clone(),
        }
    }

    fn suffixed(&self, mut name: String) -> String {
        if let Some(tag) = &self.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            name.push('@');
            name.push_str(&digest.to_string());
        }
        name
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Reference::parse(text)
    }
}

/// What stands before the first slash is a domain if it looks like one: it has a dot or a port, is `localhost`, or has upper-case
/// letters, which no repository has.
fn split_domain(text: &str) -> (String, String) {
    let (domain, rest) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == OLD_DEFAULT_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let remote = rest.split(['@', ':']).next().unwrap_or(rest);
    if domain == DEFAULT_DOMAIN && !remote.contains('/') {
        return (domain.to_owned(), format!("{OFFICIAL}{rest}"));
    }
    (domain.to_owned(), rest.to_owned())
}

fn parse_complete(domain: &str, rest: &str) -> Result<Reference, ReferenceError> {
    let (named, digest) = match rest.split_once('@') {
        Some((named, digest)) => (named, Some(parse_digest(digest)?)),
        None => (rest, None),
    };
    let (path, tag) = match named.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (named, None),
    };
    if path.is_empty() || path == OFFICIAL {
        return Err(ReferenceError::Format);
    }
    if !is_domain(domain) || !path.split('/').all(is_component) || !tag.is_none_or(is_tag) {
        return Err(ReferenceError::Format);
    }
    if path.len() > MAX_NAME {
        return Err(ReferenceError::TooLong);
    }
    Ok(Reference {
        domain: domain.to_owned(),
        path: path.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

/// What does not look like a digest is no reference at all; what does may still be of an unknown algorithm or length.
fn parse_digest(text: &str) -> Result<Digest, ReferenceError> {
    const SHORTEST: usize = 32;
    match text.split_once(':') {
        Some((_, hex))
            if hex.len() >= SHORTEST && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
        {
            Ok(text.parse()?)
        }
        _ => Err(ReferenceError::Format),
    }
}

/// `(component(.component)* | [ipv6])(:port)?`
fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            let digits = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
            if address.is_empty() || !address.bytes().all(digits) {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => return is_port(port),
                None => return port.is_empty(),
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        },
    };
    let label = |label: &str| {
        let bytes = label.as_bytes();
        matches!((bytes.first(), bytes.last()), (Some(first), Some(last))
            if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) if alphanumeric(first) && alphanumeric(last) => {}
        _ => return false,
    }
    bytes.split(alphanumeric).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
    })
}

/// `[\w][\w.-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    match tag.as_bytes() {
        [first, rest @ ..] => {
            word(first)
                && rest.len() < MAX_TAG
                && rest.iter().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
        }
        [] => false,
    }
}

fn is_hex64(text: &str) -> bool {
    text.len() == 64
        && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn completed_and_shown() {
        for (text, canonical, familiar) in [
            ("nginx", "docker.io/library/nginx", "nginx"),
            ("nginx:1.2", "docker.io/library/nginx:1.2", "nginx:1.2"),
            ("org/app", "docker.io/org/app", "org/app"),
            ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx", "nginx"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("ghcr.io/o/p", "ghcr.io/o/p", "ghcr.io/o/p"),
            ("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x"),
            ("a__b-c/e--f.g", "docker.io/a__b-c/e--f.g", "a__b-c/e--f.g"),
            ("Reg/x", "Reg/x", "Reg/x"),
            ("x:T_1.2-3", "docker.io/library/x:T_1.2-3", "x:T_1.2-3"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.canonical(), canonical, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(Reference::parse(&reference.canonical()).unwrap(), reference);
        }
    }

    #[test]
    fn tag_and_digest() {
        let text = format!("nginx:1@sha256:{HEX}");
        let reference = Reference::parse(&text).unwrap();
        assert_eq!(reference.tag(), Some("1"));
        assert_eq!(reference.digest().unwrap().hex(), HEX);
        assert_eq!(reference.with_default_tag().familiar(), text);
        let plain = Reference::parse("x").unwrap();
        assert_eq!(plain.with_default_tag().familiar(), "x:latest");
    }

    #[test]
    fn the_domain_does_not_count_for_the_length() {
        let path = format!("{}/b", "a".repeat(MAX_NAME - 2));
        let reference = Reference::parse(&format!("registry.example:5000/{path}")).unwrap();
        assert_eq!(reference.path(), path);
        let longer = format!("registry.example:5000/{path}b");
        assert_eq!(Reference::parse(&longer), Err(ReferenceError::TooLong));
        // What a name is completed by does count: Docker measures the complete name's path.
        let official = "a".repeat(MAX_NAME - OFFICIAL.len() + 1);
        assert_eq!(Reference::parse(&official), Err(ReferenceError::TooLong));
    }

    #[test]
    fn what_is_no_name() {
        let long = "a/".repeat(140) + "a";
        let upper = ReferenceError::Uppercase("library/Nginx".into());
        let short = format!("x@sha256:{}", &HEX[..40]);
        for (text, error) in [
            ("", ReferenceError::Format),
            ("Nginx", upper),
            (":tag", ReferenceError::Format),
            ("a:", ReferenceError::Format),
            ("a/-b", ReferenceError::Format),
            ("a..b/c", ReferenceError::Format),
            ("a___b", ReferenceError::Format),
            ("x:.t", ReferenceError::Format),
            ("a b", ReferenceError::Format),
            ("http://x/y", ReferenceError::Format),
            ("x@sha256:12", ReferenceError::Format),
            (short.as_str(), ReferenceError::Digest(DigestError::Length)),
            (HEX, ReferenceError::Id(HEX.into())),
            (long.as_str(), ReferenceError::TooLong),
        ] {
            assert_eq!(Reference::parse(text), Err(error), "{text}");
        }
    }
}

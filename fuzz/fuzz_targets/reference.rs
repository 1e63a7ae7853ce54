//! Image references: accepted is exactly what the published grammar accepts (distribution/reference, `reference.go`), and a
//! name that was completed reads as the same name.
#![no_main]

use std::sync::LazyLock;

use ferry_oci::{Digest, Platform, Reference, ReferenceError};
use libfuzzer_sys::fuzz_target;
use regex::Regex;

/// Longest path, and longest text that we read at all.
const LIMITS: (usize, usize) = (255, 4096);

/// Domain, path, tag and digest of a complete name. Only digests that we can check count.
static GRAMMAR: LazyLock<Regex> = LazyLock::new(|| {
    let label = "(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)";
    let host = format!(r"(?:{label}(?:\.{label})*|\[[0-9a-fA-F:]+\])");
    let component = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*";
    let path = format!("{component}(?:/{component})*");
    let tag = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
    let digest = "sha256:[0-9a-f]{64}";
    let whole = format!("^({host}(?::[0-9]+)?)/({path})(?::({tag}))?(?:@({digest}))?$");
    Regex::new(&whole).expect("a regular expression")
});

/// What a user's text is completed to, before anyone looks whether it is a name.
fn completed(text: &str) -> String {
    let (domain, rest) = match text.split_once('/') {
        Some(("index.docker.io", rest)) => ("docker.io", rest),
        Some((domain, rest))
            if domain == "localhost"
                || domain.contains(['.', ':'])
                || domain.chars().any(|c| c.is_ascii_uppercase()) =>
        {
            (domain, rest)
        }
        _ => ("docker.io", text),
    };
    let official = if domain == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    format!("{domain}/{official}{rest}")
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn compare(text: &str) -> Option<Reference> {
    let completed = completed(text);
    let expected = GRAMMAR
        .captures(&completed)
        .filter(|_| !is_id(text) && !text.is_empty() && text.len() <= LIMITS.1)
        .filter(|parts| parts[2].len() <= LIMITS.0);
    match (Reference::parse(text), expected) {
        (Ok(reference), Some(parts)) => {
            assert_eq!(reference.domain(), &parts[1], "{text:?}");
            assert_eq!(reference.path(), &parts[2], "{text:?}");
            assert_eq!(reference.tag(), parts.get(3).map(|tag| tag.as_str()), "{text:?}");
            let digest = reference.digest().map(Digest::to_string);
            assert_eq!(digest.as_deref(), parts.get(4).map(|digest| digest.as_str()), "{text:?}");
            Some(reference)
        }
        (Err(error), None) => {
            assert!(!error.to_string().is_empty());
            None
        }
        (ours, theirs) => panic!("{text:?}: {ours:?}, the grammar says {}", theirs.is_some()),
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(platform) = text.parse::<Platform>() {
        assert_eq!(platform.to_string().parse().as_ref(), Ok(&platform), "{text:?}");
        assert!(platform.fitness(&platform) > 0, "{text:?}");
    }
    let Some(reference) = compare(text) else { return };
    assert_eq!(Reference::parse(&reference.canonical()).as_ref(), Ok(&reference), "{text:?}");
    let tagged = reference.clone().with_default_tag();
    assert!(tagged.tag().is_some() || tagged.digest().is_some());
    assert_eq!(Reference::parse(&tagged.canonical()), Ok(tagged));
    // What Docker shows may read as another name: if it is an id, or begins like a domain.
    let like_a_domain = reference.path().split('/').next().is_some_and(|part| part.contains('.'));
    match Reference::parse(&reference.familiar()) {
        _ if like_a_domain => {}
        Ok(again) => assert_eq!(again.familiar(), reference.familiar(), "{text:?}"),
        Err(ReferenceError::Id(_)) => {}
        Err(error) => panic!("{text:?} is shown as {}: {error}", reference.familiar()),
    }
});

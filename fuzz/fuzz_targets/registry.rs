//! What clients send to a registry of ours: paths, queries, ranges, scopes, tokens, manifests; what is in its files: accounts, htpasswd, rules.
//! No panic; ranges lie within their blob; nobody's token but our own is taken.
#![no_main]

use ferry_access::{Grant, Policy, Scope, Signer};
use ferry_registry_store::{Pattern, Rule, references};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, data)) = data.split_first() else { return };
    let Ok(text) = str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (path, query, range) = (next(), next(), next());
    assert!(ferry_registry::reads_well(path, query, range, u64::from(*size)));
    assert!(ferry_registry::reads_well(path, query, range, u64::MAX));
    drop(Scope::parse(text));
    assert!(Signer::new(b"a key that is not in the corpus").check(text, 0).is_err());
    let mut policy: Policy = serde_json::from_str(text).unwrap_or_default();
    policy.add_htpasswd(text);
    drop(text.parse::<Grant>());
    drop(text.parse::<Rule>());
    Pattern::new(path).matches(query, range);
    // A manifest that is pushed; the first line says what it is said to be.
    drop(references(data, path));
    for kind in ["manifest", "index"] {
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        let most = 10_000 + 1;
        assert!(references(data, &kind).map_or(0, |all| all.len()) <= most);
    }
});

//! What a registry sends as `WWW-Authenticate`: no panic, within the limits, and a proper header reads as what it says.
#![no_main]

use ferry_transfer::{Challenge, parse_challenges};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 32;

/// As the standard wants it: all values quoted.
fn written(challenges: &[Challenge]) -> String {
    let one = |challenge: &Challenge| {
        let parameters: Vec<String> = challenge
            .parameters
            .iter()
            .map(|(name, value)| {
                let value = value.replace('\\', "\\\\").replace('"', "\\\"");
                format!("{name}=\"{value}\"")
            })
            .collect();
        format!("{} {}", challenge.scheme, parameters.join(","))
    };
    challenges.iter().map(one).collect::<Vec<_>>().join(", ")
}

fuzz_target!(|data: &[u8]| {
    let Ok(header) = str::from_utf8(data) else { return };
    let challenges = parse_challenges(header);
    assert!(challenges.len() <= MOST);
    for challenge in &challenges {
        assert!(challenge.parameters.len() <= MOST && !challenge.scheme.is_empty());
        assert!(!challenge.scheme.bytes().any(|byte| byte.is_ascii_uppercase()));
        for (name, _) in &challenge.parameters {
            assert!(challenge.parameter(name).is_some());
        }
    }
    let proper = written(&challenges);
    if proper.len() <= 8 << 10 {
        assert_eq!(parse_challenges(&proper), challenges, "{proper:?}");
    }
});

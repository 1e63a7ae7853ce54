//! Dockerfiles, words with variables, and ignore patterns of any shape: no panic, no endless run.
#![no_main]

use ferry_dockerfile::{FileMode, IgnoreFile, expand, parse, path_matches};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    drop(parse(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let value_of = |name: &str| (name.len() % 2 == 1).then(|| format!("{name}.tar.gz"));
    drop(expand(text, '\\', &value_of));
    let (patterns, path) = text.split_once('\0').unwrap_or((text, "a/b"));
    if let Ok(ignore) = IgnoreFile::parse(patterns) {
        ignore.ignores(path);
    }
    path_matches(patterns, path);
    if let Some(mode) = FileMode::parse(text) {
        assert!(mode.apply(0o644, text.len() % 2 == 0) <= 0o7777);
    }
});

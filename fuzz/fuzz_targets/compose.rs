//! Compose files of any shape: no panic, no endless run, no other file is opened, and a canonical form reads back.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    drop(ferry_compose::variables(text));
    let environment: BTreeMap<String, String> =
        [("A", "a"), ("B", ""), ("N", "3"), ("D", "$A ${B:-x}")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
    let Ok(first) = ferry_compose::canonical(text, environment) else { return };
    // Compose doubles dollars in names, too, where they are not read as variables.
    // A name may have colons of its own.
    if first.lines().any(|line| line.rsplit_once(": ").map_or(line, |(name, _)| name).contains('$')) {
        return;
    }
    let again = |text: &str| match ferry_compose::canonical(text, BTreeMap::new()) {
        Ok(again) => again,
        Err(why) => panic!("{why}\n{text}"),
    };
    // Once more, because Compose's form leaves out `create_host_path: false`, which is not the default.
    let second = again(&first);
    assert_eq!(second, again(&second));
});

//! What a plugin prints and what an administrator writes: a result with at least one address or none at all, which reads back the same
//! from the record; a configuration list whose plugins are names of files.
#![no_main]

use ferry_cni::{Attached, ConfList};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(first) = Attached::read("fuzz", data) {
        assert!(!first.addresses.is_empty());
        let again = Attached::read("fuzz", first.result.as_bytes()).expect("it was one");
        assert_eq!(first, again);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(list) = ConfList::parse(text)
    {
        assert!(!list.name.is_empty() && !list.name.contains('/'), "{:?}", list.name);
        assert_eq!(ConfList::parse(list.text()), Ok(list));
    }
});

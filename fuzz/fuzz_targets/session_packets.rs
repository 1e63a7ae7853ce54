//! A client that tells of its directory: whatever it sends, no entry of the tree that is believed leads out of it, comes before its
//! parent, or comes twice. The input is packets, each after its length as one byte.
#![no_main]

use ferry_buildkit::Listing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut listing = Listing::default();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (packet, next) = after.split_at(usize::from(*length).min(after.len()));
        rest = next;
        if listing.packet(packet).unwrap_or(true) {
            break;
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for path in listing.paths() {
        assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{path:?}");
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        assert!(parent.is_none_or(|parent| seen.contains(parent)), "{path:?}");
        assert!(seen.insert(path), "{path:?}");
    }
});

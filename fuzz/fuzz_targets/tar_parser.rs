//! The tar parser: no panic, no endless loop, no entry outside the limits.
#![no_main]

use ferry_archive::{BLOCK, Limits, Parser, Step};
use ferry_fuzz::tar::with_checksums;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { name: 300, pax: 4096, sparse_segments: 64, entries: 50 };
    let data = with_checksums(data);
    let mut parser = Parser::new(limits);
    let mut at = 0;
    while let Some(block) = data[at.min(data.len())..].first_chunk::<BLOCK>() {
        at += BLOCK;
        match parser.block(block) {
            Ok(Step::More) => {}
            Ok(Step::Entry(entry)) => {
                assert!(entry.path.len() <= limits.name && entry.link.len() <= limits.name);
                assert!(entry.mode <= 0o7777 && entry.uid != u32::MAX && entry.gid != u32::MAX);
                assert!(entry.mtime.nanos < 1_000_000_000);
                if let Some(map) = &entry.sparse {
                    let sum: u64 = map.iter().map(|segment| segment.length).sum();
                    assert!(map.len() <= limits.sparse_segments && sum == entry.stored);
                } else {
                    assert_eq!(entry.size, entry.stored);
                }
                let payload = usize::try_from(entry.stored).unwrap_or(usize::MAX);
                at = at.saturating_add(payload.checked_next_multiple_of(BLOCK).unwrap_or(payload));
            }
            Ok(Step::End) => {
                assert!(parser.may_end());
                return;
            }
            Err(_) => return,
        }
    }
});

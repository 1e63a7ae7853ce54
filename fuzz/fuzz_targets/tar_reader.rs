//! The reader of members: it reads all payloads or skips them, in pieces of any size, and sees the same members.
#![no_main]

use std::io::{BufReader, Read};

use ferry_archive::{Entry, Limits, TarReader};
use ferry_fuzz::tar::with_checksums;
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits { name: 300, pax: 4096, sparse_segments: 64, entries: 50 };

/// Members and how it ended.
type Seen = (Vec<(Entry, u64)>, Result<(), String>);

fn members(mut tar: TarReader<impl std::io::BufRead>, archive: Option<&[u8]>) -> Seen {
    let mut seen = Vec::new();
    loop {
        let mut member = match tar.next_member() {
            Ok(Some(member)) => member,
            Ok(None) => return (seen, Ok(())),
            Err(error) => return (seen, Err(error.to_string())),
        };
        seen.push((member.entry.clone(), member.offset));
        let Some(archive) = archive else { continue };
        let (stored, offset) = (member.entry.stored, member.offset);
        let mut payload = Vec::new();
        // A payload that is cut short is the next member's error, too.
        if member.read_to_end(&mut payload).is_ok() {
            assert_eq!(payload.len() as u64, stored);
        }
        let offset = usize::try_from(offset).expect("it was in memory");
        assert!(archive[offset..].starts_with(&payload), "not the bytes that stand there");
    }
}

fuzz_target!(|data: &[u8]| {
    let archive = with_checksums(data);
    let (read, end) = members(TarReader::new(&archive[..], LIMITS), Some(&archive));
    let small = BufReader::with_capacity(7, &archive[..]);
    let (skipped, other_end) = members(TarReader::new(small, LIMITS), None);
    assert_eq!(read, skipped);
    assert_eq!(end.is_ok(), other_end.is_ok(), "{end:?} {other_end:?}");
});

//! Logs as they lie on disk after a crash, or after somebody edited them: no panic, valid lines read as what their JSON says,
//! and the last lines are the end of all lines.
#![no_main]

use std::fs;
use std::path::Path;

use ferry_fuzz::scratch::{self, SCRATCH};
use ferry_logs::{Framing, ReadOptions, decode, read};
use libfuzzer_sys::fuzz_target;

const OPTIONS: ReadOptions = ReadOptions {
    stdout: true,
    stderr: true,
    since: None,
    until: None,
    tail: None,
    timestamps: false,
    details: false,
    framing: Framing::Raw,
};

fn lines_mean_what_their_json_says(log: &[u8]) -> bool {
    let mut valid = true;
    for line in log.split(|byte| *byte == b'\n') {
        let record = decode(line);
        valid &= record.is_some();
        if let Some(record) = &record {
            record.timestamp();
        }
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
        let field = |name: &str| json.get(name).and_then(|value| value.as_str());
        let Some(record) = record else {
            assert!(field("stream").is_none() || field("time").is_none());
            continue;
        };
        assert_eq!(record.text, field("log").unwrap_or("").as_bytes());
        assert_eq!(Some(&*record.time), field("time"));
        assert_eq!(record.stderr, field("stream") == Some("stderr"));
    }
    valid
}

fn everything(path: &Path, options: &ReadOptions) -> Vec<u8> {
    let mut all = Vec::new();
    let mut sink = |piece: Vec<u8>| {
        all.extend_from_slice(&piece);
        true
    };
    read(path, options, None, &mut sink).expect("a log that is there");
    all
}

fuzz_target!(init: scratch::enter(), |data: &[u8]| {
    let [head, log @ ..] = data else { return };
    let tail = u64::from(head & 7);
    let valid = lines_mean_what_their_json_says(log);
    // Two files, as after a rotation, wherever it happened.
    let cut = log.len() * usize::from(head >> 4) / 15;
    let path = Path::new(SCRATCH).join("log");
    fs::write(Path::new(SCRATCH).join("log.1"), &log[..cut]).expect("a file");
    fs::write(&path, &log[cut..]).expect("a file");
    let all = everything(&path, &OPTIONS);
    let last = everything(&path, &ReadOptions { tail: Some(tail), ..OPTIONS });
    assert!(all.ends_with(&last), "the tail is no tail");
    if valid && head >> 4 == 0 {
        let text = |line: &&[u8]| decode(line).map(|record| record.text).unwrap_or_default();
        let lines: Vec<&[u8]> = log.split(|byte| *byte == b'\n').collect();
        let from = lines.len().saturating_sub(usize::from(head & 7));
        let expected: Vec<u8> = lines[from..].iter().flat_map(text).collect();
        assert_eq!(last, expected, "another number of lines");
    }
    if head & 8 != 0 {
        let framed = ReadOptions {
            framing: Framing::Multiplexed, timestamps: true, details: true, ..OPTIONS
        };
        everything(&path, &framed);
    }
});

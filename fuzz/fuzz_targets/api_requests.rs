//! What a client asks for: method, path with or without version, query string, and the body of older versions. No panic; a
//! path that finds a row has a value for each of its parameters; a body that reads becomes a container's settings or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "DELETE", "HEAD"];

fuzz_target!(|data: &[u8]| {
    let Some((method, data)) = data.split_first() else { return };
    // The first line is the target, the rest the body.
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (target, body) = data.split_at(end);
    let Ok(target) = str::from_utf8(target) else { return };
    let method = METHODS[usize::from(*method) % METHODS.len()];
    ferry_server::fuzzing::request(method.as_bytes(), target, body.get(1..).unwrap_or_default());
});

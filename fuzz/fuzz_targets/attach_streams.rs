//! What a client sends once it is attached: keys among which may be those to leave by, whole and in pieces, and WebSocket frames.
//! No panic; nothing is passed on that was not typed.
#![no_main]

use ferry_server::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    if kind & 1 != 0 {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(fuzzing::websocket(data));
        return;
    }
    // The first line names the keys, the rest is typed.
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(keys) = str::from_utf8(&data[..end]) else { return };
    let input = data.get(end + 1..).unwrap_or_default();
    fuzzing::detach(keys, input, usize::from(kind >> 1));
});

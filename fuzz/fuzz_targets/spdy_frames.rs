//! What a client of exec, attach or port forward may send: frames within their limits, or an error; never more than was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(ferry_cri::fuzzing::frames(data));
});

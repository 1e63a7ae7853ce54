//! Kubernetes' manifests of any shape: no panic, no endless run, the same plan each time, and every container that is planned is a request
//! that the API can read.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        ferry_kube::planned(text).ok();
    }
});

//! What a kubelet may send: requests for pods, containers and limits are refused or converted, and read back from their records; a record
//! may hold anything. The first byte says how much of the rest is the pod's.
#![no_main]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let (pod, container) = rest.split_at(usize::from(*first).min(rest.len()));
    ferry_cri::fuzzing::requests(pod, container, first % 2 == 0);
    ferry_cri::fuzzing::limits(rest);
    for is_container in [false, true] {
        ferry_cri::fuzzing::record_of(&STANDARD.encode(rest), is_container);
    }
});

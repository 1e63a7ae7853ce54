//! What clients send to the API: bodies, filters, versions, multiplexed streams. No panic; what was read is written so that
//! it reads the same; a stream's payload does not depend on the pieces that it comes in.
#![no_main]

use ferry_docker_api::stream::{Demultiplexer, StreamKind};
use ferry_docker_api::{
    ApiVersion, AuthConfig, ContainerCreateRequest, ExecConfig, Filters, HostConfig,
    NetworkConnectRequest, NetworkCreateRequest, VolumeCreateRequest,
};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

fn body<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(json: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(json) else { return };
    let written = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(again, value);
}

fn filters(json: &[u8]) {
    let Ok(text) = str::from_utf8(json) else { return };
    if let Ok(filters) = Filters::parse(text) {
        assert_eq!(Filters::parse(&filters.to_json()), Ok(filters));
    }
    if let Ok(version) = text.parse::<ApiVersion>() {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
}

/// Payload by stream, and whether the stream is one.
fn demultiplex(input: &[u8], piece: usize) -> (Vec<(StreamKind, u8)>, bool) {
    let mut demultiplexer = Demultiplexer::default();
    let mut payload = Vec::new();
    for mut piece in input.chunks(piece) {
        loop {
            match demultiplexer.next(&mut piece) {
                Ok(Some((kind, bytes))) => payload.extend(bytes.iter().map(|byte| (kind, *byte))),
                Ok(None) => break,
                Err(_) => return (payload, false),
            }
        }
    }
    (payload, demultiplexer.is_at_boundary())
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    match kind & 15 {
        0..8 => body::<ContainerCreateRequest>(data),
        8 => body::<HostConfig>(data),
        9 => body::<NetworkCreateRequest>(data),
        10 => body::<NetworkConnectRequest>(data),
        11 => body::<VolumeCreateRequest>(data),
        12 => body::<ExecConfig>(data),
        13 => body::<AuthConfig>(data),
        14 => filters(data),
        _ => {
            let whole = demultiplex(data, data.len().max(1));
            assert_eq!(whole, demultiplex(data, 1));
            assert_eq!(whole, demultiplex(data, 5));
        }
    }
});

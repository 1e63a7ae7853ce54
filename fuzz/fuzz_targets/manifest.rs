//! Manifests, indexes and image configurations: no panic, within the limits, and what was read is written so that it reads
//! the same.
#![no_main]

use ferry_oci::{Document, ImageConfig, Platform, media};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};

const TYPES: [&str; 8] = [
    "",
    media::OCI_INDEX,
    media::OCI_MANIFEST,
    media::DOCKER_INDEX,
    media::DOCKER_MANIFEST,
    "application/json; charset=utf-8",
    media::DOCKER_SCHEMA1,
    "text/html",
];
const MOST_ENTRIES: usize = 4096;

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let json = serde_json::to_vec(value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(&again, value);
}

fuzz_target!(|data: &[u8]| {
    let Some((head, json)) = data.split_first() else { return };
    match Document::parse(json, TYPES[usize::from(head & 7)]) {
        Ok(Document::Manifest(manifest)) => {
            assert!(manifest.layers.len() <= MOST_ENTRIES);
            comes_back(&manifest);
        }
        Ok(Document::Index(index)) => {
            assert!(index.manifests.len() <= MOST_ENTRIES);
            assert!(index.platforms().len() <= index.manifests.len());
            comes_back(&index);
            // Every platform that is offered is a wish that can be granted.
            for wanted in index.manifests.iter().filter_map(|entry| entry.platform.as_ref()) {
                let best = index.best(wanted).and_then(|best| best.platform.as_ref());
                assert!(best.is_some_and(|best| best.fitness(wanted) >= wanted.fitness(wanted)));
            }
            let host = Platform::host();
            let best = index.best(&host).and_then(|best| best.platform.as_ref());
            assert!(best.is_none_or(|best| best.fitness(&host) > 0));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    if let Ok(config) = ImageConfig::parse(json) {
        comes_back(&config);
    }
});

//! The unpacker on any bytes: nothing outside the layer changes, and what was unpacked gives the same tar again.
#![no_main]

use ferry_archive::Options;
use ferry_fuzz::{layer, scratch, tar};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: scratch::enter(), |data: &[u8]| {
    layer::check(&tar::with_checksums(data), &Options::default());
});

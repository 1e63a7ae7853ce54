//! Sequences of leases and returns of addresses: what the lease book says is what a plain list says.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/domain/network/tests/ipam_model/mod.rs"]
mod ipam_model;

fuzz_target!(|data: &[u8]| ipam_model::check(data));

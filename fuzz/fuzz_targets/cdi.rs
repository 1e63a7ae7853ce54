//! A vendor's device file is refused or read, whatever its bytes are; what it says goes into a specification without a panic, and a
//! device that it names can be resolved. A program's head is read to the same rule.
#![no_main]

use ferry_container::{HostDevice, cdi::{CdiRegistry, read_cdi}, why::read_program};
use ferry_oci::runtime::{Linux, Process, Spec};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    read_program("/x", 0o755, false, data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = read_cdi(text) else { return };
    let registry = CdiRegistry::new(vec![(0, file)]);
    for name in registry.names() {
        let mut spec = Spec {
            process: Some(Process::default()),
            linux: Some(Linux::default()),
            ..Spec::default()
        };
        let device = |path: &str| {
            Ok(HostDevice { path: path.to_owned(), kind: 'c', major: 1, minor: 3, mode: 0o666, uid: 0, gid: 0 })
        };
        registry.inject(&[name], &mut spec, &device).expect("it has a name");
    }
});

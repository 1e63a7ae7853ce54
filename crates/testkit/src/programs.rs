//! Real programs to test with. In CI all of them are there; at the desk a test whose program is missing says so and is passed
//! over.

use std::path::{Path, PathBuf};

/// Where a program is. `None` after a line that says what is missing; with `FERRY_TESTS_COMPLETE` set, as `scripts/test.sh`
/// does, nothing may be missing.
#[track_caller]
pub fn find(name: &str) -> Option<PathBuf> {
    let unpacked = crate::sandbox::target_dir().join("peers/usr/bin").join(name);
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"])
        .map(|directory| Path::new(directory).join(name))
        .chain([unpacked])
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        may_be_missing(name);
        eprintln!("SKIPPED: {name} is not installed (scripts/test.sh installs everything)");
    }
    found
}

/// The directory with Debian's CNI plugins: unpacked from its unstable release, which knows the newest version, or where the package
/// puts them.
#[track_caller]
pub fn plugins() -> Option<PathBuf> {
    let unpacked = crate::sandbox::target_dir().join("peers/usr/lib/cni");
    let mut places = [unpacked, PathBuf::from("/usr/lib/cni")].into_iter();
    let found = places.find(|place| place.join("bridge").exists());
    if found.is_none() {
        may_be_missing("containernetworking-plugins");
        eprintln!("SKIPPED: Debian's containernetworking-plugins are not here");
    }
    found
}

/// What `scripts/test.sh` made below the target directory: a path relative to its `peers`.
pub fn made(path: &str) -> Option<PathBuf> {
    Some(crate::sandbox::target_dir().join("peers").join(path)).filter(|path| path.exists())
}

/// Panics if `scripts/test.sh` says that everything is there, and does not name this in `FERRY_TESTS_WITHOUT`.
#[track_caller]
pub fn may_be_missing(name: &str) {
    let without = std::env::var("FERRY_TESTS_WITHOUT").unwrap_or_default();
    assert!(
        std::env::var_os("FERRY_TESTS_COMPLETE").is_none()
            || without.split(' ').any(|other| other == name),
        "{name} is missing, and FERRY_TESTS_COMPLETE says that nothing is"
    );
}

/// All of these, or none.
#[track_caller]
pub fn all<const N: usize>(names: [&str; N]) -> Option<[PathBuf; N]> {
    let found: Vec<PathBuf> = names.iter().filter_map(|name| find(name)).collect();
    found.try_into().ok()
}

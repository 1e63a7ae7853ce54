//! Programs of the machine that the engine runs where they are installed.

use std::path::PathBuf;

/// Where they are, besides `PATH`.
const SYSTEM_PATHS: [&str; 3] = ["/sbin", "/usr/sbin", "/usr/local/sbin"];

/// A program by its name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

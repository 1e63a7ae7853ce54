//! `cargo xtask stress`: the loads that want the machine to themselves (`crates/ferry/tests/scenarios/load.rs`), with a release build.

use std::path::Path;

use crate::check::{Environment, step_with};

const USAGE: &str = "usage: cargo xtask stress [--debug]

Five hundred containers at a time, then two hundred clients for a minute. Needs root and about five minutes.

  --debug   the debug build: what goes wrong counts, how long it takes does not";

/// Builds, and runs both loads one after the other.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let release = match arguments {
        [] => true,
        [flag] if flag == "--debug" => false,
        _ => return Err(USAGE.to_owned()),
    };
    let binary = root.join("target/release/ferry");
    let mut environment: Environment<'_> = Vec::new();
    if release {
        step_with("release build", root, "cargo", &["build", "--release", "-p", "ferry"], &[])?;
        environment.push(("FERRY_BINARY", binary.as_os_str()));
    }
    let tests = [
        "test",
        "-p",
        "ferry",
        "--test",
        "scenarios",
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
        "load::",
    ];
    step_with("loads", root, "cargo", &tests, &environment)
}

//! `cargo xtask desktop`: builds the web desktop's page from its TypeScript and puts it, compressed, into the crate that embeds it.
//!
//! What comes of it is checked in, so that nobody needs node to build Ferry. A test of `ferry-desktop` says when it is older than its
//! sources.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Installs exactly the packages of the lock file, checks the types, builds.
pub fn run(root: &Path) -> Result<(), String> {
    let folder = root.join("desktop");
    for arguments in [&["ci", "--no-audit", "--no-fund"][..], &["run", "check"], &["run", "build"]]
    {
        let status = Command::new("npm")
            .args(arguments)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .status()
            .map_err(|error| format!("cannot run npm (Debian: apt-get install npm): {error}"))?;
        if !status.success() {
            return Err(format!("npm {} failed ({status})", arguments.join(" ")));
        }
    }
    Ok(())
}

//! `cargo xtask buildkit-proto`: writes `crates/face/buildkit/src/proto` anew from the proto files beside it.
//!
//! The generator is a workspace of its own (`xtask/buildkit-proto`), so that a usual build needs nothing of it.

use std::{fs, path::Path, process::Command};

/// What the generated files begin with: lints do not concern them, and they are tables (see `tidy.rs`).
const HEAD: &str =
    "// tidy: table. Written by `cargo xtask buildkit-proto` from the proto files; do not edit.\n";

/// Generates the files.
pub fn run(root: &Path) -> Result<(), String> {
    let face = root.join("crates/face/buildkit");
    let out = face.join("src/proto");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    fs::create_dir_all(&out).map_err(|error| failed("make the output folder", error))?;
    let done = Command::new("cargo")
        .args(["run", "--quiet", "--manifest-path"])
        .arg(root.join("xtask/buildkit-proto/Cargo.toml"))
        .args(["--target-dir".as_ref(), root.join("target/buildkit-proto").as_os_str()])
        .arg("--")
        .args([face.join("proto"), out.clone()])
        .status()
        .map_err(|error| failed("start the generator", error))?;
    if !done.success() {
        return Err(format!("the generator ended with {done}"));
    }
    for entry in fs::read_dir(&out).map_err(|error| failed("list what was generated", error))? {
        let path = entry.map_err(|error| failed("list what was generated", error))?.path();
        let text =
            fs::read_to_string(&path).map_err(|error| failed("read what was generated", error))?;
        fs::write(&path, format!("{HEAD}{}", text.trim_start_matches(HEAD)))
            .map_err(|error| failed("mark what was generated", error))?;
    }
    Ok(())
}

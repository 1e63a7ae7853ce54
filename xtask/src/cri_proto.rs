//! `cargo xtask cri-proto`: writes `crates/face/cri/src/api.rs` anew from the proto file beside it.
//!
//! The generator is a workspace of its own (`xtask/cri-proto`), so that a usual build needs nothing of it.

use std::{fs, path::Path, process::Command};

/// What the generated file begins with: lints do not concern it, and it is a table (see `tidy.rs`).
const HEAD: &str =
    "// tidy: table. Written by `cargo xtask cri-proto` from proto/api.proto; do not edit.\n";

/// Generates the file.
pub fn run(root: &Path) -> Result<(), String> {
    let face = root.join("crates/face/cri");
    let generator = root.join("xtask/cri-proto");
    let out = root.join("target/cri-proto-out");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    fs::create_dir_all(&out).map_err(|error| failed("make the output folder", error))?;
    let done = Command::new("cargo")
        .args(["run", "--quiet", "--manifest-path"])
        .arg(generator.join("Cargo.toml"))
        .args(["--target-dir".as_ref(), root.join("target/cri-proto").as_os_str()])
        .arg("--")
        .args([face.join("proto/api.proto"), out.clone()])
        .status()
        .map_err(|error| failed("start the generator", error))?;
    if !done.success() {
        return Err(format!("the generator ended with {done}"));
    }
    let text = fs::read_to_string(out.join("runtime.v1.rs"))
        .map_err(|error| failed("read what was generated", error))?;
    fs::write(face.join("src/api.rs"), format!("{HEAD}{text}"))
        .map_err(|error| failed("write api.rs", error))
}

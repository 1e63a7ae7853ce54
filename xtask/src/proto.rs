//! `cargo xtask buildkit-proto`, `cargo xtask cri-proto`: writes `src/proto` of a face anew from its proto files.
//!
//! The generator is a workspace of its own (`xtask/proto`), so that a usual build needs nothing of it.

use std::{fs, path::Path, process::Command};

/// A face whose messages are generated.
#[derive(Debug)]
pub struct Face {
    /// The command that does it, which the files name.
    pub command: &'static str,
    /// The crate's folder, which has the proto files in `proto`.
    pub folder: &'static str,
    /// Packages whose fields of bytes are shared and not copied.
    pub shared_bytes: &'static [&'static str],
}

/// What the two commands generate.
pub const FACES: [Face; 2] = [
    Face {
        command: "buildkit-proto",
        folder: "crates/face/buildkit",
        shared_bytes: &[".fsutil", ".moby.filesync", ".containerd"],
    },
    Face { command: "cri-proto", folder: "crates/face/cri", shared_bytes: &[] },
];

/// Generates the files.
pub fn run(root: &Path, face: &Face) -> Result<(), String> {
    let folder = root.join(face.folder);
    let out = folder.join("src/proto");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what}: {error}");
    fs::create_dir_all(&out).map_err(|error| failed("make the output folder", error))?;
    let done = Command::new("cargo")
        .args(["run", "--quiet", "--manifest-path"])
        .arg(root.join("xtask/proto/Cargo.toml"))
        .args(["--target-dir".as_ref(), root.join("target/proto").as_os_str()])
        .arg("--")
        .args([folder.join("proto"), out.clone()])
        .args(face.shared_bytes)
        .status()
        .map_err(|error| failed("start the generator", error))?;
    if !done.success() {
        return Err(format!("the generator ended with {done}"));
    }
    // Lints do not concern what is generated, and it is a table (see `tidy.rs`).
    let command = face.command;
    let head = format!(
        "// tidy: table. Written by `cargo xtask {command}` from the proto files; do not edit.\n"
    );
    for entry in fs::read_dir(&out).map_err(|error| failed("list what was generated", error))? {
        let path = entry.map_err(|error| failed("list what was generated", error))?.path();
        let text =
            fs::read_to_string(&path).map_err(|error| failed("read what was generated", error))?;
        fs::write(&path, format!("{head}{}", text.trim_start_matches(&head)))
            .map_err(|error| failed("mark what was generated", error))?;
    }
    Ok(())
}

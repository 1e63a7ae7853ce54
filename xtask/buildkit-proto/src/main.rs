//! Compiles `crates/face/buildkit/proto/*.proto` to `crates/face/buildkit/src/proto/*.rs`, without protoc.
//!
//! Usage: `buildkit-proto PROTO_DIR OUT_DIR`. What a field means is said by BuildKit: the proto files here name and number only.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out] = arguments.as_slice() else {
        return Err("usage: buildkit-proto PROTO_DIR OUT_DIR".into());
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(Path::new(folder))? {
        files.push(entry?.path());
    }
    files.sort();
    let set = protox::compile(&files, [folder])?;
    let mut config = prost_build::Config::new();
    config.disable_comments(["."]).btree_map(["."]).bytes([".fsutil", ".moby.filesync"]);
    config.include_file("mod.rs");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .generate_default_stubs(true)
        .out_dir(out)
        .compile_fds_with_config(set, config)?;
    Ok(())
}

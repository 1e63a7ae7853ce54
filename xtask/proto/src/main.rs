//! Compiles the proto files of a folder to Rust, without protoc.
//!
//! Usage: `proto PROTO_DIR OUT_DIR [PACKAGE…]`. Fields of bytes of the packages are `Bytes`. Comments stay in the proto files: there is
//! the place to read what a field means.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, out, shared_bytes @ ..] = arguments.as_slice() else {
        return Err("usage: proto PROTO_DIR OUT_DIR [PACKAGE…]".into());
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(Path::new(folder))? {
        files.push(entry?.path());
    }
    files.sort();
    let set = protox::compile(&files, [folder])?;
    let mut config = prost_build::Config::new();
    config.disable_comments(["."]).btree_map(["."]).bytes(shared_bytes);
    config.include_file("mod.rs");
    tonic_prost_build::configure()
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .generate_default_stubs(true)
        .out_dir(out)
        .compile_fds_with_config(set, config)?;
    Ok(())
}

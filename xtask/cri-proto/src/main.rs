//! Compiles `crates/face/cri/proto/api.proto` to `crates/face/cri/src/api.rs`, without protoc.
//!
//! Usage: `cri-proto PROTO OUT_DIR`. The proto file's comments stay there: it is the place to read what a field means.

use std::{error::Error, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [proto, out] = arguments.as_slice() else {
        return Err("usage: cri-proto PROTO OUT_DIR".into());
    };
    let proto = Path::new(proto);
    let folder = proto.parent().ok_or("the proto file is in no folder")?;
    let set = protox::compile([proto], [folder])?;
    let mut config = prost_build::Config::new();
    config.disable_comments(["."]).btree_map(["."]);
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        .emit_rerun_if_changed(false)
        .out_dir(out)
        .compile_fds_with_config(set, config)?;
    Ok(())
}

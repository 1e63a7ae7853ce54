//! Project chores, in Rust so that nothing else must be installed: `cargo xtask check|tidy|bench|bench-cri|bench-network|registries|stress|desktop|buildkit-proto|cri-proto`.

mod bench;
mod bench_cri;
mod bench_network;
mod check;
mod desktop;
mod proto;
mod registries;
mod stress;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "usage: cargo xtask <command>

  check   everything that a change must pass: format, clippy, tidy, tests, docs
  tidy    the layer rule, crate heads, no stray markers
  bench   times ferry beside another docker-compatible engine: cargo xtask bench --help
  bench-cri      pods beside Debian's containerd: cargo xtask bench-cri --help
  bench-network  networks, ports, throughput and names beside another engine: cargo xtask bench-network --help
  registries     times the registry beside Debian's docker-registry: cargo xtask registries --help
  stress  five hundred containers, then two hundred clients: cargo xtask stress --help
  desktop builds the web desktop's page from desktop/ (needs npm) and puts it where the crate embeds it from
  buildkit-proto  writes crates/face/buildkit/src/proto anew from the proto files beside it
  cri-proto  writes crates/face/cri/src/proto anew from Kubernetes' proto file";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.first().map(String::as_str) {
        Some("check") => check::run(&root(), &arguments[1..]),
        Some("tidy") => tidy::run(&root()),
        Some("desktop") => desktop::run(&root()),
        Some("bench") => bench::run(&arguments[1..]),
        Some("bench-cri") => bench_cri::run(&root(), &arguments[1..]),
        Some("bench-network") => bench_network::run(&arguments[1..]),
        Some("dns-load") => bench_network::dns_load(&arguments[1..]),
        Some("registries") => registries::run(&root(), &arguments[1..]),
        Some("stress") => stress::run(&root(), &arguments[1..]),
        other => match proto::FACES.iter().find(|face| other == Some(face.command)) {
            Some(face) => proto::run(&root(), face),
            None => Err(USAGE.to_owned()),
        },
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder: the one above xtask's.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_owned)
}

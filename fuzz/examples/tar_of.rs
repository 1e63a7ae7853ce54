//! Prints the archive that a script of `unpack_entries` says: `cargo run --example tar_of <artifact> | tar tv`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let path = std::env::args_os().nth(1).expect("an artifact");
    let script = std::fs::read(path)?;
    let tar = ferry_fuzz::tar::archive(script.get(1..).unwrap_or_default());
    std::io::stdout().write_all(&tar)
}

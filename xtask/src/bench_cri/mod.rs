//! `cargo xtask bench-cri`: pods of ferry beside those of Debian's containerd with runc, in one run, with one client for both.
//!
//! What it needs to speak CRI is compiled only when it is asked for.

#[cfg(feature = "cri")]
mod cases;
#[cfg(feature = "cri")]
mod client;
#[cfg(feature = "cri")]
mod floor;
#[cfg(feature = "cri")]
mod memory;

use std::path::Path;

const USAGE: &str = "usage: cargo xtask bench-cri --ferry PROGRAM [--runs N] [--pods N] [--containers N] [--only starts,lists,parallel,memory]

  e.g. cargo build --release -p ferry && cargo xtask bench-cri --ferry target/release/ferry
  containerd, its shim, runc and the CNI plugins are those of Debian's packages (scripts/test.sh unpacks them below target/peers). Root.";

/// What to measure.
#[derive(Debug)]
struct Plan {
    runs: usize,
    pods: usize,
    containers: usize,
    /// The parts that are wanted; all if none is named.
    only: Vec<String>,
}

/// Names of the parts.
const PARTS: [&str; 4] = ["starts", "lists", "parallel", "memory"];

/// Runs everything and prints a table.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let mut plan = Plan { runs: 15, pods: 50, containers: 200, only: Vec::new() };
    let mut ferry = None;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(USAGE)?;
        let number = || value.parse().ok().filter(|number| *number > 0).ok_or(USAGE);
        match word.as_str() {
            "--ferry" => ferry = Some(root.join(value)),
            "--runs" => plan.runs = number()?,
            "--pods" => plan.pods = number()?,
            "--containers" => plan.containers = number()?,
            "--only" => {
                plan.only = value.split(',').map(str::to_owned).collect();
                if !plan.only.iter().all(|part| PARTS.contains(&part.as_str())) {
                    return Err(USAGE.to_owned());
                }
            }
            _ => return Err(USAGE.to_owned()),
        }
    }
    let ferry = ferry.ok_or(USAGE)?;
    measure(root, &ferry, &plan, arguments)
}

#[cfg(feature = "cri")]
fn measure(_: &Path, ferry: &Path, plan: &Plan, _: &[String]) -> Result<(), String> {
    cases::run(ferry, plan)
}

/// The same program with its client, optimised: what is timed should be the runtimes.
#[cfg(not(feature = "cri"))]
fn measure(root: &Path, ferry: &Path, _: &Plan, arguments: &[String]) -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(cargo);
    command.current_dir(root).args(["run", "--quiet", "--release", "--package", "xtask"]);
    command.args(["--features", "cri", "--", "bench-cri"]).args(arguments);
    let status = command.env("FERRY_BINARY", ferry).status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err("the benchmark did not end well".to_owned()) }
}

//! `cargo xtask check`: what a change must pass, the same at the desk and in CI.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// Runs every step in order and stops at the first that fails. `--no-scenarios` leaves out the end-to-end tests, which need root.
pub fn run(root: &Path, arguments: &[String]) -> Result<(), String> {
    let scenarios = match arguments {
        [] => true,
        [flag] if flag == "--no-scenarios" => false,
        _ => return Err("usage: cargo xtask check [--no-scenarios]".to_owned()),
    };
    step("format", root, "cargo", &["fmt", "--all", "--check"])?;
    crate::tidy::run(root)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
    step("clippy", root, "cargo", &clippy)?;
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output();
    if nextest.is_ok_and(|output| output.status.success()) {
        let mut tests = vec!["nextest", "run", "--workspace", "--profile", "ci"];
        if !scenarios {
            tests.extend(["-E", "not binary(scenarios)"]);
        }
        step("tests", root, "cargo", &tests)?;
    } else {
        // The same tests, several to a process.
        let mut tests = vec!["test", "--workspace", "--no-fail-fast", "--quiet", "--all-targets"];
        if !scenarios {
            tests.extend(["--exclude", "ferry"]);
        }
        step("tests", root, "cargo", &tests)?;
    }
    step("doc tests", root, "cargo", &["test", "--doc", "--workspace", "--quiet"])?;
    step("docs", root, "cargo", &["doc", "--workspace", "--no-deps", "--quiet"])
}

/// Variables of a step, beside ours.
pub type Environment<'a> = Vec<(&'a str, &'a OsStr)>;

fn step(name: &str, root: &Path, program: &str, arguments: &[&str]) -> Result<(), String> {
    step_with(name, root, program, arguments, &[])
}

/// Runs a step that has variables of its own.
pub fn step_with(
    name: &str,
    root: &Path,
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &OsStr)],
) -> Result<(), String> {
    let started = Instant::now();
    println!("== {name}: {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .env("RUSTDOCFLAGS", "-D warnings")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("{name}: cannot run {program}: {error}"))?;
    if !status.success() {
        return Err(format!("{name} failed ({status})"));
    }
    println!("== {name}: passed in {:.0} s", started.elapsed().as_secs_f32());
    Ok(())
}

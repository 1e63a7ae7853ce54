//! `cargo xtask bench`: times ferry beside another docker-compatible engine, interleaved, and prints a table of ratios.
//!
//! It needs an image called `busybox` in both engines. Every figure is a median of whole commands as a user types them.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const USAGE: &str = "usage: cargo xtask bench [--runs N] NAME='command' [NAME='command' …]

  The first engine is the one that the others are compared with, e.g.
    cargo xtask bench docker='docker -H unix:///var/run/docker.sock' ferry='target/release/ferry'
  Both need an image called busybox.";

/// A case: what is timed, and what is done before and after without being timed.
struct Case {
    name: &'static str,
    before: &'static [&'static str],
    timed: &'static [&'static str],
    after: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case { name: "run", before: &[], timed: &["run", "--rm", "busybox", "true"], after: &[] },
    Case {
        name: "run_none",
        before: &[],
        timed: &["run", "--rm", "--network", "none", "busybox", "true"],
        after: &[],
    },
    Case {
        name: "run_publish",
        before: &[],
        timed: &["run", "--rm", "-p", "127.0.0.1::80", "busybox", "true"],
        after: &[],
    },
    Case {
        name: "run_limits",
        before: &[],
        timed: &[
            "run",
            "--rm",
            "-m",
            "64m",
            "--cpus",
            "1",
            "--pids-limit",
            "50",
            "busybox",
            "true",
        ],
        after: &[],
    },
    Case {
        name: "exec",
        before: &["run", "-d", "--name", "ferry-bench", "busybox", "sleep", "600"],
        timed: &["exec", "ferry-bench", "true"],
        after: &["rm", "-f", "ferry-bench"],
    },
    Case {
        name: "start",
        before: &["create", "--name", "ferry-bench", "busybox", "sleep", "600"],
        timed: &["start", "ferry-bench"],
        after: &["rm", "-f", "ferry-bench"],
    },
    Case { name: "ps", before: &[], timed: &["ps", "-a"], after: &[] },
];

struct Engine {
    name: String,
    command: Vec<String>,
}

/// Runs all cases.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let (runs, engines) = parse(arguments)?;
    print!("{:14}", "case");
    for engine in &engines {
        print!("{:>14}", engine.name);
    }
    println!("  ratio to {}", engines[0].name);
    for case in &CASES {
        let medians = measure(case, runs, &engines)?;
        print!("{:14}", case.name);
        for median in &medians {
            print!("{:>11.2} ms", median.as_secs_f64() * 1e3);
        }
        for median in &medians[1..] {
            print!("  {:.1}x", medians[0].as_secs_f64() / median.as_secs_f64());
        }
        println!();
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<(usize, Vec<Engine>), String> {
    let mut runs = 15;
    let mut engines = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--runs" {
            runs = arguments.next().and_then(|text| text.parse().ok()).ok_or(USAGE)?;
            continue;
        }
        let (name, command) = argument.split_once('=').ok_or(USAGE)?;
        let command: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if command.is_empty() {
            return Err(USAGE.to_owned());
        }
        engines.push(Engine { name: name.to_owned(), command });
    }
    if engines.is_empty() || runs == 0 { Err(USAGE.to_owned()) } else { Ok((runs, engines)) }
}

/// Medians by engine. One round that does not count warms everything up.
fn measure(case: &Case, runs: usize, engines: &[Engine]) -> Result<Vec<Duration>, String> {
    let mut times = vec![Vec::with_capacity(runs); engines.len()];
    for round in 0..=runs {
        for (engine, times) in engines.iter().zip(&mut times) {
            call(engine, case.before)?;
            let started = Instant::now();
            call(engine, case.timed)?;
            let took = started.elapsed();
            call(engine, case.after)?;
            if round > 0 {
                times.push(took);
            }
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times| {
            times.sort();
            times[times.len() / 2]
        })
        .collect())
}

fn call(engine: &Engine, arguments: &[&str]) -> Result<(), String> {
    if arguments.is_empty() {
        return Ok(());
    }
    let status = Command::new(&engine.command[0])
        .args(&engine.command[1..])
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("{}: {error}", engine.command[0]))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{}: `{}` failed ({status})", engine.name, arguments.join(" ")))
    }
}

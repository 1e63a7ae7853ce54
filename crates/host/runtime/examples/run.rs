//! `run ROOTFS command…`: starts a container like Docker's on an overlay over ROOTFS and exits as it does. With
//! `RUNS=200` it does so that often, quietly, and tells how long it took; `LIMITS=1` adds limits, `FILTER=file` a
//! seccomp profile, `NOCG=1` leaves cgroups out, `INIT=1` runs the built-in init,
//! `EXECS=100` runs `true` in the container that often.

#[path = "../tests/bed/mod.rs"]
mod bed;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferry_cgroup::{Cgroup, Hierarchy};
use ferry_oci::runtime::{LinuxCpu, LinuxMemory, LinuxPids};
use ferry_runtime::{Bundle, Stdio, StdioRequest, seccomp};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let rootfs = PathBuf::from(args.next().ok_or("usage: run ROOTFS command…")?);
    let command: Vec<String> = args.collect();
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut spec = bed::spec(&words);
    if std::env::var_os("VOLATILE").is_some() {
        spec.annotations.insert(ferry_runtime::VOLATILE_ANNOTATION.into(), "true".into());
    }
    let filter = match std::env::var("FILTER") {
        Ok(file) => {
            let profile = serde_json::from_slice(&std::fs::read(file)?)?;
            let clock = Instant::now();
            let program = seccomp::compile(&profile, seccomp::Arch::host())?;
            eprintln!("{} instructions in {:?}", program.len() / 8, clock.elapsed());
            Some(program)
        }
        Err(_) => None,
    };
    let runs: usize = std::env::var("RUNS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let dir = std::env::temp_dir().join(format!("ferry-example-{}", std::process::id()));
    let mut times = Vec::with_capacity(runs);
    let mut code = 0;
    let quiet = runs > 1;
    for run in 0..runs {
        let started = Instant::now();
        code = once(&spec, &rootfs, &dir.join(run.to_string()), filter.as_deref(), run)?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    std::fs::remove_dir_all(&dir)?;
    if quiet {
        times.sort_by(f64::total_cmp);
        let at = |part: usize| times[times.len() * part / 100];
        println!(
            "min {:.2} median {:.2} p95 {:.2} max {:.2} ms",
            times[0],
            at(50),
            at(95),
            times[times.len() - 1]
        );
    }
    std::process::exit(code)
}

fn once(
    spec: &ferry_oci::runtime::Spec,
    lower: &Path,
    dir: &Path,
    filter: Option<&[u8]>,
    run: usize,
) -> Result<i32, Box<dyn std::error::Error>> {
    let mut resources = bed::resources();
    if std::env::var_os("LIMITS").is_some() {
        let limit = Some(128 << 20);
        resources.memory = Some(LinuxMemory { limit, swap: limit, ..LinuxMemory::default() });
        let (quota, period) = (Some(50_000), Some(100_000));
        resources.cpu = Some(LinuxCpu { quota, period, ..LinuxCpu::default() });
        resources.pids = Some(LinuxPids { limit: 100 });
    }
    let id = format!("example-{}-{run}", std::process::id());
    let cgroup = match std::env::var_os("NOCG") {
        Some(_) => None,
        None => {
            let hierarchy = Hierarchy::detect()?;
            Some(Cgroup::create(&hierarchy, &format!("ferry-{id}"), &resources)?)
        }
    };
    let rootfs = bed::overlay(dir, vec![lower.to_owned()]);
    let bundle = Bundle {
        id: &id,
        spec,
        rootfs: &rootfs,
        filter,
        cgroup: cgroup.as_ref(),
        init: std::env::var_os("INIT").is_some(),
        bundle_dir: dir,
        gate: None,
        preserve_fds: 0,
    };
    let stdio = StdioRequest::Files(Stdio {
        stdin: std::io::stdin().as_fd().try_clone_to_owned()?,
        stdout: std::io::stdout().as_fd().try_clone_to_owned()?,
        stderr: std::io::stderr().as_fd().try_clone_to_owned()?,
    });
    let verbose = std::env::var_os("TIMES").is_some();
    let clock = Instant::now();
    let mut created = ferry_runtime::create(&bundle, stdio)?;
    let forked = clock.elapsed();
    created.ready()?;
    let ready = clock.elapsed();
    let running = created.start()?;
    let started = clock.elapsed();
    for warning in &running.warnings {
        eprintln!("warning: {warning}");
    }
    if let Some(count) = std::env::var("EXECS").ok().and_then(|count| count.parse().ok()) {
        execs(count, &bundle, &running)?;
        ferry_sys::pidfd::send_signal(running.pidfd.as_fd(), libc::SIGKILL)?;
    }
    let ended = ferry_sys::pidfd::wait(running.pidfd.as_fd())?;
    let reaped = clock.elapsed();
    if std::env::var_os("TALLY").is_some() {
        let us = |d: std::time::Duration| d.as_micros();
        println!(
            "T {} {} {} {}",
            us(forked),
            us(ready - forked),
            us(started - ready),
            us(reaped - started)
        );
    }
    if let Some(cgroup) = &cgroup {
        cgroup.delete()?;
    }
    if verbose {
        let deleted = clock.elapsed();
        eprintln!(
            "forked {forked:?} ready {ready:?} started {started:?} reaped {reaped:?} cgroup gone {deleted:?}"
        );
    }
    Ok(ended.code())
}

/// Runs `true` in a container again and again.
fn execs(
    count: usize,
    bundle: &Bundle<'_>,
    running: &ferry_runtime::Running,
) -> Result<(), Box<dyn std::error::Error>> {
    let process = ferry_oci::runtime::Process {
        args: vec!["true".to_owned()],
        ..bundle.spec.process.clone().unwrap_or_default()
    };
    let request = ferry_runtime::ExecRequest {
        target: running.pidfd.as_fd(),
        target_pid: running.pid,
        spec: bundle.spec,
        process: &process,
        filter: bundle.filter,
        cgroup: bundle.cgroup,
        preserve_fds: 0,
    };
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let stdio = StdioRequest::Files(Stdio {
            stdin: std::io::stdin().as_fd().try_clone_to_owned()?,
            stdout: std::io::stdout().as_fd().try_clone_to_owned()?,
            stderr: std::io::stderr().as_fd().try_clone_to_owned()?,
        });
        let clock = Instant::now();
        let child = ferry_runtime::exec(&request, stdio)?;
        ferry_sys::pidfd::wait(child.pidfd.as_fd())?;
        times.push(clock.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    println!("exec: min {:.2} median {:.2} ms", times[0], times[times.len() / 2]);
    Ok(())
}

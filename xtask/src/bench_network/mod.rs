//! `cargo xtask bench-network`: networks, published ports, throughput and names of ferry beside another docker-compatible engine, by their
//! sockets, in one run.

mod api;
mod dns;
mod throughput;

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use self::api::Engine;

pub(crate) use dns::load as dns_load;

const USAGE: &str = "usage: cargo xtask bench-network [--rounds N] [--seconds N] [--only CASE,…] NAME=SOCKET [NAME=SOCKET …]

  The first engine is the one that the others are compared with, e.g.
    cargo xtask bench-network docker=/var/run/docker.sock ferry=/run/ferry/ferry.sock
  Both need an image called busybox; throughput needs iperf3, names need nsenter. Root.
  Throughput is the median of five rounds of --seconds each, the engines in turn.
  Cases: networks, connect, ports, throughput, names";

/// Containers, and ports of each, of the case of many ports.
const CONTAINERS: usize = 50;
const PORTS: usize = 20;
/// Starts at the same time.
const STARTERS: usize = 8;
/// The first host port of that case.
const FIRST_PORT: usize = 20_000;
/// Between one engine's networks and the other's.
const QUIET: Duration = Duration::from_millis(200);
/// Look-ups a second.
const LOOK_UPS: &str = "20000";

struct Options {
    rounds: usize,
    seconds: u64,
    only: Option<Vec<String>>,
    engines: Vec<Engine>,
}

/// Runs all cases.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let options = parse(arguments)?;
    for engine in &options.engines {
        println!("{} is {}", engine.name, engine.version()?);
    }
    type Case = (&'static str, fn(&Options) -> Result<(), String>);
    let cases: [Case; 5] = [
        ("networks", networks),
        ("connect", connect),
        ("ports", ports),
        ("throughput", throughput::case),
        ("names", names),
    ];
    for (name, case) in cases {
        if options.only.as_ref().is_none_or(|only| only.iter().any(|own| own == name)) {
            case(&options)?;
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let mut options = Options { rounds: 20, seconds: 3, only: None, engines: Vec::new() };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| USAGE.to_owned());
        match argument.as_str() {
            "--rounds" => options.rounds = value()?.parse().map_err(|_| USAGE)?,
            "--seconds" => options.seconds = value()?.parse().map_err(|_| USAGE)?,
            "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
            engine => options.engines.push(Engine::parse(engine).ok_or(USAGE)?),
        }
    }
    if options.engines.is_empty() || options.rounds == 0 || options.seconds == 0 {
        return Err(USAGE.to_owned());
    }
    Ok(options)
}

/// A line of the table: a figure of each engine, and how many times the first one's the others are. `better` is true where more is better.
fn line(what: &str, unit: &str, engines: &[Engine], figures: &[f64], better: bool) {
    print!("{what:28}");
    for (engine, figure) in engines.iter().zip(figures) {
        print!("  {} {figure:.2} {unit}", engine.name);
    }
    for figure in figures.iter().skip(1) {
        let ratio = if better { figure / figures[0] } else { figures[0] / figure };
        print!("  {ratio:.1}x");
    }
    println!();
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

fn sleeper() -> Value {
    json!({"Image": "busybox", "Cmd": ["sleep", "3600"], "StopSignal": "SIGKILL"})
}

fn networks(options: &Options) -> Result<(), String> {
    // Nobody pays for what the other has left the kernel to do.
    networks_after(options, "network create + rm", QUIET)?;
    // Each pays for what it has left itself.
    let many = options.engines.iter().map(|engine| {
        let begun = Instant::now();
        for _ in 0..options.rounds {
            engine.post("/networks/create", &json!({"Name": "ferry-bench"}))?;
            engine.delete("/networks/ferry-bench")?;
        }
        Ok(begun.elapsed().as_secs_f64() * 1e3 / options.rounds as f64)
    });
    let many = many.collect::<Result<Vec<f64>, String>>()?;
    line("the same, without a pause", "ms", &options.engines, &many, false);
    Ok(())
}

fn networks_after(options: &Options, what: &str, pause: Duration) -> Result<(), String> {
    let mut times = vec![Vec::new(); options.engines.len()];
    for round in 0..=options.rounds {
        for (engine, times) in options.engines.iter().zip(&mut times) {
            thread::sleep(pause);
            let begun = Instant::now();
            engine.post("/networks/create", &json!({"Name": "ferry-bench"}))?;
            engine.delete("/networks/ferry-bench")?;
            if round > 0 {
                times.push(begun.elapsed());
            }
        }
    }
    let figures: Vec<f64> = times.into_iter().map(median).collect();
    line(what, "ms", &options.engines, &figures, false);
    Ok(())
}

fn connect(options: &Options) -> Result<(), String> {
    let (mut joined, mut left) = (Vec::new(), Vec::new());
    for engine in &options.engines {
        engine.delete("/networks/ferry-bench").ok();
        let id = engine.container("ferry-bench", sleeper())?;
        engine.start(&id)?;
        engine.post("/networks/create", &json!({"Name": "ferry-bench"}))?;
        let (mut ins, mut outs) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            let begun = Instant::now();
            engine.post("/networks/ferry-bench/connect", &json!({"Container": id}))?;
            let between = Instant::now();
            engine.post("/networks/ferry-bench/disconnect", &json!({"Container": id}))?;
            if round > 0 {
                ins.push(between - begun);
                outs.push(between.elapsed());
            }
        }
        engine.remove(&id);
        engine.delete("/networks/ferry-bench")?;
        joined.push(median(ins));
        left.push(median(outs));
    }
    line("network connect", "ms", &options.engines, &joined, false);
    line("network disconnect", "ms", &options.engines, &left, false);
    Ok(())
}

fn ports(options: &Options) -> Result<(), String> {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for engine in &options.engines {
        without.push(start_many(engine, 0)?);
        with.push(start_many(engine, PORTS)?);
    }
    let all = CONTAINERS * PORTS;
    line(&format!("{CONTAINERS} starts"), "ms", &options.engines, &without, false);
    line(&format!("{CONTAINERS} starts, {all} ports"), "ms", &options.engines, &with, false);
    let ports: Vec<f64> = with.iter().zip(&without).map(|(with, bare)| with - bare).collect();
    line(&format!("of that the {all} ports"), "ms", &options.engines, &ports, false);
    Ok(())
}

/// How long it takes to start all containers of the case, in milliseconds.
fn start_many(engine: &Engine, ports: usize) -> Result<f64, String> {
    let mut ids = Vec::new();
    for index in 0..CONTAINERS {
        let mut body = sleeper();
        for port in 0..ports {
            let host = FIRST_PORT + index * ports + port;
            let key = format!("{}/tcp", 1000 + port);
            body["ExposedPorts"][&key] = json!({});
            body["HostConfig"]["PortBindings"][&key] = json!([{"HostPort": host.to_string()}]);
        }
        ids.push(engine.container(&format!("ferry-bench-{index}"), body)?);
    }
    let begun = Instant::now();
    let started: Result<(), String> = thread::scope(|scope| {
        let work: Vec<_> = (0..STARTERS)
            .map(|starter| {
                let own = ids.iter().skip(starter).step_by(STARTERS);
                scope.spawn(move || own.map(|id| engine.start(id)).collect::<Result<Vec<_>, _>>())
            })
            .collect();
        work.into_iter()
            .try_for_each(|work| work.join().map_err(|_| "a starter ended".to_owned())?.map(drop))
    });
    let took = begun.elapsed();
    for id in &ids {
        engine.remove(id);
    }
    started.map(|()| took.as_secs_f64() * 1e3)
}

/// The daemon's process, as the kernel knows who listens on its socket.
fn daemon_of(engine: &Engine) -> Option<u32> {
    let shown = Command::new("ss").args(["-xlpH"]).output().ok()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let socket = engine.socket.to_string_lossy().into_owned();
    let line = shown.lines().find(|line| line.split_whitespace().any(|word| word == socket))?;
    line.split_once("pid=")?.1.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

fn names(options: &Options) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    for engine in &options.engines {
        engine.delete("/networks/ferry-bench").ok();
        engine.post("/networks/create", &json!({"Name": "ferry-bench"}))?;
        let mut body = sleeper();
        body["HostConfig"]["NetworkMode"] = "ferry-bench".into();
        let asked = engine.container("ferry-bench-db", body.clone())?;
        let asking = engine.container("ferry-bench-web", body)?;
        engine.start(&asked)?;
        engine.start(&asking)?;
        let measured = (|| {
            let (pid, _) = engine.place(&asking, "ferry-bench")?;
            let daemon = daemon_of(engine);
            let before = daemon.and_then(processor_time);
            let begun = Instant::now();
            let output = Command::new("nsenter")
                .args(["-t", &pid.to_string(), "-n"])
                .arg(&own)
                .args(["dns-load", "127.0.0.11:53", "ferry-bench-db", LOOK_UPS])
                .arg(options.seconds.to_string())
                .output()
                .map_err(|error| format!("nsenter: {error}"))?;
            let took = begun.elapsed().as_secs_f64();
            let after = daemon.and_then(processor_time);
            let cores = before.zip(after).map(|(before, after)| (after - before) / took);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let why = String::from_utf8_lossy(&output.stderr).into_owned();
            Ok::<_, String>((text, why, cores))
        })();
        engine.remove(&asking);
        engine.remove(&asked);
        engine.delete("/networks/ferry-bench").ok();
        let (text, why, cores) = measured?;
        let figures: Vec<&str> = text.split_whitespace().collect();
        let [sent, answered, rate, p50, p99, p999] = figures.as_slice() else {
            return Err(format!("{}: no figures of names: {why}", engine.name));
        };
        let cores = cores.map_or_else(|| "?".to_owned(), |cores| format!("{cores:.2}"));
        println!(
            "{:28}  {} asked {sent} at {rate}/s, answered {answered}; p50 {p50} ms, p99 {p99} ms, p99.9 {p999} ms; the daemon had {cores} cores",
            "names", engine.name
        );
    }
    Ok(())
}
